//! Open files in use (Linux's `struct file`): what a descriptor refers to.

use std::cell::Cell;
use std::rc::Rc;

use linux_abi::fcntl::{O_APPEND, O_NONBLOCK, O_PATH};
use vm_rt::Mutex;

use super::{File, Inode, IoMode, OpenFlags, Path, Vfs};
use crate::mm::MappedObject;
use crate::{Errno, Result, SyscallCx};

/// A file as opened: shared by dup(2) and fork(2), closed when the last descriptor goes.
pub struct OpenFile {
    file: Rc<dyn File>,
    path: Path,
    flags: Cell<u32>,
    position: Mutex<u64>,
    owner: Cell<i32>,
    loss_told: Cell<bool>,
    vfs: Rc<Vfs>,
}

/// Where lseek(2) counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Linux's own")]
pub enum Whence {
    Set,
    Cur,
    End,
    Data,
    Hole,
}

impl OpenFile {
    /// Puts a file to use.
    pub fn new(vfs: &Rc<Vfs>, file: Rc<dyn File>, path: Path, flags: OpenFlags) -> Rc<Self> {
        vfs.open_files.set(vfs.open_files.get() + 1);
        Rc::new(Self {
            file,
            path,
            flags: Cell::new(flags.0),
            position: Mutex::new(0),
            owner: Cell::new(0),
            loss_told: Cell::new(false),
            vfs: Rc::clone(vfs),
        })
    }

    /// Tells once that what was written cannot be made durable.
    pub fn tell_loss_once(&self) -> bool {
        !self.loss_told.replace(true)
    }

    /// What was opened.
    pub fn file(&self) -> &Rc<dyn File> {
        &self.file
    }

    /// What was opened, if it is a file of this kind.
    pub fn downcast<T: 'static>(&self) -> Option<&T> {
        self.file.as_any().downcast_ref()
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its inode.
    pub fn inode(&self) -> &Rc<dyn Inode> {
        self.path.inode()
    }

    /// Access mode and status flags (F_GETFL).
    pub fn flags(&self) -> OpenFlags {
        OpenFlags(self.flags.get())
    }

    /// F_SETFL: changes these bits of the status flags.
    pub fn set_flags(&self, mask: u32, value: u32) {
        self.flags.set((self.flags.get() & !mask) | (value & mask));
    }

    /// Whether it only stands for a place (O_PATH).
    pub fn is_path_only(&self) -> bool {
        self.flags().has(O_PATH)
    }

    /// Whether O_NONBLOCK is set.
    pub fn nonblock(&self) -> bool {
        self.flags().has(O_NONBLOCK)
    }

    /// Process (or, negative, group) that F_SETOWN named.
    pub fn owner(&self) -> i32 {
        self.owner.get()
    }

    /// F_SETOWN.
    pub fn set_owner(&self, owner: i32) {
        self.owner.set(owner);
    }

    /// The machine's files.
    pub fn vfs(&self) -> &Rc<Vfs> {
        &self.vfs
    }

    fn mode(&self, offset: u64) -> IoMode {
        IoMode { offset, nonblock: self.nonblock(), append: self.flags().has(O_APPEND) }
    }

    /// EBADF unless it was opened for reading.
    pub fn check_readable(&self) -> Result<()> {
        if self.flags().readable() && !self.is_path_only() { Ok(()) } else { Err(Errno::EBADF) }
    }

    /// EBADF unless it was opened for writing.
    pub fn check_writable(&self) -> Result<()> {
        if self.flags().writable() && !self.is_path_only() { Ok(()) } else { Err(Errno::EBADF) }
    }

    /// Reads at the position and moves it.
    pub async fn read(&self, cx: &SyscallCx, buf: &mut [u8]) -> Result<usize> {
        self.check_readable()?;
        if !self.file.seekable() {
            return self.file.read(cx, self.mode(0), buf).await;
        }
        let mut position = self.position.lock().await;
        let count = self.file.read(cx, self.mode(*position), buf).await?;
        *position += count as u64;
        Ok(count)
    }

    /// Reads at an offset; the position stays.
    pub async fn read_at(&self, cx: &SyscallCx, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.check_readable()?;
        self.check_seekable()?;
        self.file.read(cx, self.mode(offset), buf).await
    }

    /// Writes at the position, or the end with O_APPEND, and moves it.
    pub async fn write(&self, cx: &SyscallCx, data: &[u8]) -> Result<usize> {
        self.check_writable()?;
        if !self.file.seekable() {
            return self.file.write(cx, self.mode(0), data).await;
        }
        let mut position = self.position.lock().await;
        let mode = self.mode(*position);
        let count = self.file.write(cx, mode, data).await?;
        *position = if mode.append { self.file.size() } else { *position + count as u64 };
        Ok(count)
    }

    /// Writes at an offset (with O_APPEND at the end, as Linux does); the position stays.
    pub async fn write_at(&self, cx: &SyscallCx, offset: u64, data: &[u8]) -> Result<usize> {
        self.check_writable()?;
        self.check_seekable()?;
        self.file.write(cx, self.mode(offset), data).await
    }

    fn check_seekable(&self) -> Result<()> {
        if self.file.seekable() { Ok(()) } else { Err(Errno::ESPIPE) }
    }

    /// The position, kept until the guard goes: for getdents(2) and sendfile(2).
    pub async fn lock_position(&self) -> vm_rt::MutexGuard<'_, u64> {
        self.position.lock().await
    }

    /// The position, if nobody is using it.
    pub fn position_now(&self) -> u64 {
        self.position.try_lock().map_or(0, |position| *position)
    }

    /// lseek(2).
    pub async fn seek(&self, whence: Whence, offset: i64) -> Result<u64> {
        self.check_seekable()?;
        let mut position = self.position.lock().await;
        let size = self.file.size();
        let base = match whence {
            Whence::Set => 0,
            Whence::Cur => *position,
            Whence::End => size,
            // Files have no holes that anybody could tell: all is data, and one hole is at the end.
            Whence::Data | Whence::Hole => {
                let at = u64::try_from(offset).ok().filter(|at| *at < size).ok_or(Errno::ENXIO)?;
                *position = if whence == Whence::Data { at } else { size };
                return Ok(*position);
            }
        };
        let at = i64::try_from(base).ok().and_then(|base| base.checked_add(offset)).filter(|at| *at >= 0);
        *position = at.ok_or(Errno::EINVAL)? as u64;
        Ok(*position)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.vfs.closed(self);
    }
}

impl MappedObject for OpenFile {
    fn dev(&self) -> u64 {
        self.inode().metadata().dev
    }

    fn ino(&self) -> u64 {
        self.inode().metadata().ino
    }

    fn path(&self) -> Vec<u8> {
        match self.file.description() {
            Some(text) => text.into_bytes(),
            None => self.path.absolute(),
        }
    }
}
