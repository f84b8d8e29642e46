//! Loop devices: a file as a disk (loop(4)).
//!
//! What is written to a device stays in memory, in blocks, until somebody waits for it to be durable or there is too much of
//! it; reads look there first. So a file system on a loop device changes blocks at once, as `vm_block::BlockDevice` wants,
//! and the file below is written as any file is.

mod disk;
mod file;

pub(crate) use disk::MountedLoop;
pub(super) use file::{LoopControl, LoopDriver};

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use vm_rt::Mutex;

use crate::vfs::{FileType, OpenFile};
use crate::{Errno, Kernel, Result, SyscallCx};

/// The major number of loop devices.
pub(crate) const MAJOR: u32 = 7;
/// How many there are, as Linux makes them at boot.
pub(crate) const COUNT: u32 = 8;
/// Bytes in a block of what is still to be written.
const BLOCK: usize = 1024;
/// Blocks that may wait before writers wait for them.
const MOST_DIRTY: usize = 4096;
const SECTOR: u64 = 512;

/// Flags of `struct loop_info64`.
mod lo {
    pub(super) const READ_ONLY: u32 = 1;
    pub(super) const AUTOCLEAR: u32 = 4;
    /// Those that can be set when a file is attached.
    pub(super) const KEPT: u32 = READ_ONLY | AUTOCLEAR;
}

/// All loop devices of a machine.
#[derive(Default)]
pub(crate) struct LoopDevices {
    devices: RefCell<BTreeMap<u32, Rc<LoopDevice>>>,
}

impl LoopDevices {
    /// The device with a number; ENXIO if there is none.
    pub(crate) fn get(&self, kernel: &Kernel, number: u32) -> Result<Rc<LoopDevice>> {
        if number >= COUNT {
            return Err(Errno::ENXIO);
        }
        let mut devices = self.devices.borrow_mut();
        let device = devices.entry(number).or_insert_with(|| Rc::new(LoopDevice::new(kernel.weak(), number)));
        Ok(Rc::clone(device))
    }

    fn free(&self, kernel: &Kernel) -> Result<u32> {
        let is_free = |number: &u32| self.get(kernel, *number).is_ok_and(|device| device.backing.borrow().is_none());
        (0..COUNT).find(is_free).ok_or(Errno::ENOSPC)
    }
}

/// The file behind a device.
struct Backing {
    file: Rc<OpenFile>,
    offset: u64,
    /// Bytes at most; 0 is all.
    limit: u64,
    flags: u32,
    /// What `lo_file_name` is.
    name: [u8; 64],
}

/// One device.
pub(crate) struct LoopDevice {
    kernel: Weak<Kernel>,
    number: u32,
    backing: RefCell<Option<Backing>>,
    size: Cell<u64>,
    /// Blocks that the file does not have yet.
    dirty: RefCell<BTreeMap<u64, Box<[u8; BLOCK]>>>,
    flushing: Mutex<()>,
    users: Cell<u32>,
}

impl LoopDevice {
    fn new(kernel: Weak<Kernel>, number: u32) -> Self {
        Self {
            kernel,
            number,
            backing: RefCell::default(),
            size: Cell::default(),
            dirty: RefCell::default(),
            flushing: Mutex::default(),
            users: Cell::default(),
        }
    }

    fn place(&self) -> Result<(Rc<OpenFile>, u64)> {
        let backing = self.backing.borrow();
        let backing = backing.as_ref().ok_or(Errno::ENXIO)?;
        Ok((Rc::clone(&backing.file), backing.offset))
    }

    fn flags(&self) -> u32 {
        self.backing.borrow().as_ref().map_or(0, |backing| backing.flags)
    }

    /// Whether a file is attached.
    pub(crate) fn is_attached(&self) -> bool {
        self.backing.borrow().is_some()
    }

    fn measure(&self) {
        let backing = self.backing.borrow();
        let Some(backing) = backing.as_ref() else { return self.size.set(0) };
        let all = backing.file.inode().metadata().size.saturating_sub(backing.offset);
        let size = if backing.limit == 0 { all } else { all.min(backing.limit) };
        self.size.set(size / SECTOR * SECTOR);
    }

    /// Reads as much as there is.
    async fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let (file, start) = self.place()?;
        let kernel = self.kernel.upgrade().ok_or(Errno::EIO)?;
        let cx = kernel.init_context()?;
        let room = self.size.get().saturating_sub(offset);
        let len = usize::try_from(room).unwrap_or(usize::MAX).min(buf.len());
        let Some(buf) = buf.get_mut(..len) else { return Ok(0) };
        let at = start.checked_add(offset).ok_or(Errno::EINVAL)?;
        // What reaches the file while it is read may be missed there, and is no longer dirty afterwards.
        let before = self.dirty_in(offset, len);
        let mut done = 0;
        while done < len {
            match file.read_at(&cx, at + done as u64, &mut buf[done..]).await? {
                // The file was cut under the device.
                0 => {
                    buf[done..].fill(0);
                    break;
                }
                count => done += count,
            }
        }
        for (index, data) in before.into_iter().chain(self.dirty_in(offset, len)) {
            lay_over(offset, buf, index, &data);
        }
        Ok(len)
    }

    /// The blocks of a range that are still to be written.
    fn dirty_in(&self, offset: u64, len: usize) -> Vec<(u64, Box<[u8; BLOCK]>)> {
        let block = BLOCK as u64;
        let range = offset / block..(offset + len as u64).div_ceil(block);
        self.dirty.borrow().range(range).map(|(index, data)| (*index, data.clone())).collect()
    }

    /// Takes whole blocks.
    fn put(&self, offset: u64, data: &[u8]) {
        let mut dirty = self.dirty.borrow_mut();
        for (index, piece) in data.as_chunks::<BLOCK>().0.iter().enumerate() {
            dirty.insert(offset / BLOCK as u64 + index as u64, Box::new(*piece));
        }
    }

    /// Writes any bytes, reading the rest of their blocks first.
    async fn write(&self, offset: u64, data: &[u8]) -> Result<usize> {
        if self.flags() & lo::READ_ONLY != 0 {
            return Err(Errno::EPERM);
        }
        let room = self.size.get().saturating_sub(offset);
        let len = usize::try_from(room).unwrap_or(usize::MAX).min(data.len());
        if len == 0 {
            return Err(Errno::ENOSPC);
        }
        let block = BLOCK as u64;
        let first = offset / block * block;
        let end = (offset + len as u64).next_multiple_of(block);
        let mut blocks = vec![0; (end - first) as usize];
        self.read(first, &mut blocks).await?;
        let from = (offset - first) as usize;
        blocks[from..from + len].copy_from_slice(&data[..len]);
        self.put(first, &blocks);
        self.make_room().await?;
        Ok(len)
    }

    async fn make_room(&self) -> Result<()> {
        if self.dirty.borrow().len() > MOST_DIRTY { self.write_back().await } else { Ok(()) }
    }

    /// The first block at or behind an index that is still to be written.
    fn dirty_from(&self, index: u64) -> Option<(u64, Box<[u8; BLOCK]>)> {
        self.dirty.borrow().range(index..).next().map(|(index, data)| (*index, data.clone()))
    }

    /// Gives the file what it does not have yet.
    async fn write_back(&self) -> Result<()> {
        let _one = self.flushing.lock().await;
        let Ok((file, start)) = self.place() else { return Ok(()) };
        let kernel = self.kernel.upgrade().ok_or(Errno::EIO)?;
        let cx = kernel.init_context()?;
        let mut next = 0;
        while let Some((index, data)) = self.dirty_from(next) {
            next = index + 1;
            let offset = index * BLOCK as u64;
            // The last block may reach beyond the end of a device of an odd number of sectors.
            let len = self.size.get().saturating_sub(offset).min(BLOCK as u64) as usize;
            let mut done = 0;
            while done < len {
                let count = file.write_at(&cx, start + offset + done as u64, &data[done..len]).await?;
                if count == 0 {
                    return Err(Errno::EIO);
                }
                done += count;
            }
            let mut dirty = self.dirty.borrow_mut();
            if dirty.get(&index).is_some_and(|now| **now == *data) {
                dirty.remove(&index);
            }
        }
        Ok(())
    }

    async fn sync(&self) -> Result<()> {
        self.write_back().await?;
        let (file, _) = self.place()?;
        file.inode().sync().await
    }

    // ---- users ----

    fn enter(&self) {
        self.users.set(self.users.get() + 1);
    }

    fn leave(self: &Rc<Self>) {
        self.users.set(self.users.get().saturating_sub(1));
        if self.users.get() == 0
            && self.flags() & lo::AUTOCLEAR != 0
            && let Some(kernel) = self.kernel.upgrade()
        {
            let device = Rc::clone(self);
            kernel.executor.spawn(async move { device.clear().await });
        }
    }

    async fn clear(&self) {
        // What cannot be written is lost with the device, as on Linux.
        let _ = self.write_back().await;
        if self.users.get() == 0 || self.flags() & lo::AUTOCLEAR == 0 {
            self.dirty.borrow_mut().clear();
            let backing = self.backing.borrow_mut().take();
            drop(backing);
            self.size.set(0);
        }
    }

    // ---- ioctl(2) ----

    fn attach(&self, cx: &SyscallCx, fd: u32, info: Option<&Info>, writable: bool) -> Result<()> {
        if self.is_attached() {
            return Err(Errno::EBUSY);
        }
        let file = cx.files().get(fd as i32)?;
        if file.inode().metadata().file_type() != FileType::Regular {
            return Err(Errno::EINVAL);
        }
        file.check_readable()?;
        let mut flags = info.map_or(0, |info| info.flags & lo::KEPT);
        if !writable || file.check_writable().is_err() {
            flags |= lo::READ_ONLY;
        }
        let (offset, limit, name) = info.map_or((0, 0, [0; 64]), |info| (info.offset, info.limit, info.name));
        *self.backing.borrow_mut() = Some(Backing { file, offset, limit, flags, name });
        self.measure();
        Ok(())
    }

    async fn set_status(&self, info: &Info) -> Result<()> {
        self.write_back().await?;
        {
            let mut backing = self.backing.borrow_mut();
            let backing = backing.as_mut().ok_or(Errno::ENXIO)?;
            (backing.offset, backing.limit, backing.name) = (info.offset, info.limit, info.name);
            backing.flags = backing.flags & !lo::AUTOCLEAR | info.flags & lo::AUTOCLEAR;
        }
        self.measure();
        Ok(())
    }

    /// What sysfs shows, by the names of its files there; nothing without a file.
    pub(crate) fn shown(&self, cx: &SyscallCx) -> Vec<(&'static str, Vec<u8>)> {
        let backing = self.backing.borrow();
        let Some(backing) = backing.as_ref() else { return Vec::new() };
        let number = |number: u64| format!("{number}\n").into_bytes();
        let mut name = backing.file.path().display_proc(&cx.fs().root());
        name.push(b'\n');
        vec![
            ("autoclear", number(u64::from(backing.flags & lo::AUTOCLEAR != 0))),
            ("backing_file", name),
            ("dio", number(0)),
            ("offset", number(backing.offset)),
            ("partscan", number(0)),
            ("sizelimit", number(backing.limit)),
        ]
    }

    /// Its sectors, and whether it is for reading only.
    pub(crate) fn sectors(&self) -> (u64, bool) {
        (self.size.get() / SECTOR, self.flags() & lo::READ_ONLY != 0)
    }

    fn status(&self) -> Result<[u8; Info::SIZE]> {
        let backing = self.backing.borrow();
        let backing = backing.as_ref().ok_or(Errno::ENXIO)?;
        let meta = backing.file.inode().metadata();
        let mut out = [0; Info::SIZE];
        for (index, word) in [meta.dev, meta.ino, 0, backing.offset, backing.limit].into_iter().enumerate() {
            out[8 * index..8 * index + 8].copy_from_slice(&word.to_le_bytes());
        }
        out[40..44].copy_from_slice(&self.number.to_le_bytes());
        out[52..56].copy_from_slice(&backing.flags.to_le_bytes());
        out[56..120].copy_from_slice(&backing.name);
        Ok(out)
    }
}

/// What is read of `struct loop_info64`.
struct Info {
    offset: u64,
    limit: u64,
    flags: u32,
    name: [u8; 64],
}

impl Info {
    const SIZE: usize = 232;

    fn decode(raw: &[u8; Self::SIZE]) -> Self {
        let words = linux_abi::layout::Reader::new(raw);
        let mut name = [0; 64];
        name.copy_from_slice(&raw[56..120]);
        Self { offset: words.u64(24), limit: words.u64(32), flags: words.u32(52), name }
    }

    async fn read(cx: &SyscallCx, at: u64) -> Result<Self> {
        let mut raw = [0; Self::SIZE];
        cx.read_user(at, &mut raw).await?;
        Ok(Self::decode(&raw))
    }
}

/// Puts a block over what was read from an offset.
fn lay_over(offset: u64, buf: &mut [u8], index: u64, data: &[u8; BLOCK]) {
    let first = index * BLOCK as u64;
    let (from, to) = (offset.max(first), (offset + buf.len() as u64).min(first + BLOCK as u64));
    if from < to {
        let target = (from - offset) as usize..(to - offset) as usize;
        buf[target].copy_from_slice(&data[(from - first) as usize..(to - first) as usize]);
    }
}
