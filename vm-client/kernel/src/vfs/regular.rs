//! Open regular files: reading and writing through the page cache, for every file system that keeps one.

use std::any::Any;
use std::rc::Rc;

use linux_abi::siginfo::SigInfo;
use linux_abi::signal::Signal;
use vm_rt::Io;

use super::{File, Inode, IoMode, Mappable, SetAttr, permission};
use crate::mm::page_cache::PageCache;
use crate::task::Resource;
use crate::{Errno, Result, SyscallCx};

/// How a file system takes written data.
pub trait Store {
    /// Writes at an offset, growing the file; the page cache has the data afterwards. Returns what was written: less than
    /// all only when the rest failed.
    fn write<'a>(&'a self, cx: &'a SyscallCx, offset: u64, data: &'a [u8]) -> Io<'a, Result<usize>>;
    /// The largest size a file can have.
    fn max_size(&self) -> u64;
    /// The lock that makes writes, and finding the end for O_APPEND, exclude each other.
    fn lock(&self) -> &vm_rt::Mutex<()>;
}

/// An open file of an inode with a page cache.
pub struct RegularFile<I> {
    inode: Rc<I>,
    cache: Rc<PageCache>,
    atime: Atime,
}

/// Whether reads change the access time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atime {
    /// When it is not newer than the last change, or a day old (relatime).
    Relative,
    /// Never (noatime).
    Never,
}

impl<I: Inode + Store> RegularFile<I> {
    /// Opens an inode.
    pub fn new(inode: Rc<I>, cache: Rc<PageCache>, atime: Atime) -> Rc<Self> {
        Rc::new(Self { inode, cache, atime })
    }

    async fn read_and_touch(&self, cx: &SyscallCx, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let count = self.cache.read(offset, buf).await?;
        if self.atime_is_due(cx) {
            let change = SetAttr { atime: Some(cx.now()), ctime: self.inode.metadata().ctime, ..SetAttr::default() };
            // A file system that is full or read-only is no reason not to read.
            let _ = self.inode.set_attr(change).await;
        }
        Ok(count)
    }

    fn atime_is_due(&self, cx: &SyscallCx) -> bool {
        if self.atime == Atime::Never {
            return false;
        }
        let meta = self.inode.metadata();
        meta.atime <= meta.mtime || meta.atime <= meta.ctime || cx.now().sec - meta.atime.sec > 24 * 60 * 60
    }

    async fn write_locked(&self, cx: &SyscallCx, mode: IoMode, data: &[u8]) -> Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let _guard = self.inode.lock().lock().await;
        let meta = self.inode.metadata();
        let offset = if mode.append { meta.size } else { mode.offset };
        let room = writable_bytes(cx, offset, data.len(), self.inode.max_size())?;
        let data = data.get(..room).unwrap_or(data);
        if meta.mode & 0o6000 != 0
            && !cx.creds().capable(crate::task::cap::FSETID)
            && let Some(mode) = permission::mode_without_set_id(&meta)
        {
            let change = SetAttr { mode: Some(mode), ctime: cx.now(), ..SetAttr::default() };
            self.inode.set_attr(change).await?;
        }
        self.inode.write(cx, offset, data).await
    }
}

/// How much of a write fits below the limits of process and file system: EFBIG (with SIGXFSZ) if nothing does.
fn writable_bytes(cx: &SyscallCx, offset: u64, len: usize, max_size: u64) -> Result<usize> {
    let limit = cx.task.group.rlimits.borrow().soft(Resource::Fsize);
    if offset >= limit {
        cx.kernel.send_signal_task(&cx.task, SigInfo::kernel(Signal::XFSZ));
        return Err(Errno::EFBIG);
    }
    if offset >= max_size {
        return Err(Errno::EFBIG);
    }
    let room = limit.min(max_size) - offset;
    Ok(usize::try_from(room).unwrap_or(usize::MAX).min(len))
}

/// EFBIG (with SIGXFSZ) where RLIMIT_FSIZE forbids a file of this size.
pub fn check_file_limit(cx: &SyscallCx, size: u64) -> Result<()> {
    if size <= cx.task.group.rlimits.borrow().soft(Resource::Fsize) {
        return Ok(());
    }
    cx.kernel.send_signal_task(&cx.task, SigInfo::kernel(Signal::XFSZ));
    Err(Errno::EFBIG)
}

impl<I: Inode + Store> File for RegularFile<I> {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        if self.atime_is_due(cx) {
            return Io::later(self.read_and_touch(cx, mode.offset, buf));
        }
        match self.cache.read(mode.offset, buf) {
            // A disk that does not answer must not keep the task from being killed.
            Io::Later(read) => Io::later(async move { cx.task.killable(read).await? }),
            ready => ready,
        }
    }

    fn write<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::later(self.write_locked(cx, mode, data))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> u64 {
        self.inode.metadata().size
    }

    fn mappable(&self) -> Result<Mappable> {
        Ok(Mappable::Cached(Rc::clone(&self.cache)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
