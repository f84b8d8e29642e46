//! Open files.

use std::any::Any;
use std::rc::Rc;

use linux_abi::poll::Ready;
use vm_mem::FrameId;
use vm_rt::Io;

use crate::mm::page_cache::PageCache;
use crate::{Errno, Result, SyscallCx};

/// How one read or write is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoMode {
    /// Byte offset, for seekable files. The caller keeps the position.
    pub offset: u64,
    /// O_NONBLOCK: EAGAIN rather than waiting.
    pub nonblock: bool,
    /// O_APPEND: write at the end, whatever `offset` says.
    pub append: bool,
}

/// An open file (Linux's `file_operations`). Waits go through [`SyscallCx::interruptible`].
pub trait File: Any {
    /// Reads; 0 is the end of the file.
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        let _ = (cx, mode, buf);
        Io::ready(Err(Errno::EINVAL))
    }

    /// Writes; returns what was taken.
    fn write<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        let _ = (cx, mode, data);
        Io::ready(Err(Errno::EINVAL))
    }

    /// Which of these events hold now. HUP and ERR are reported whether asked or not.
    fn poll(&self, interest: Ready) -> Ready {
        let _ = interest;
        Ready::ALWAYS
    }

    /// Waits until one of these events (or HUP or ERR) may hold; the caller polls again. Registered when called, not when
    /// first polled; deregistered on drop. A wait that is over when made means that the file never changes: epoll(7) refuses
    /// such files.
    fn wait(&self, interest: Ready) -> Io<'static, ()> {
        let _ = interest;
        Io::ready(())
    }

    /// ioctl(2).
    fn ioctl<'a>(&'a self, cx: &'a SyscallCx, request: u32, arg: u64) -> Io<'a, Result<i64>> {
        let _ = (cx, request, arg);
        Io::ready(Err(Errno::ENOTTY))
    }

    /// Whether it has a position (else lseek gives ESPIPE).
    fn seekable(&self) -> bool {
        false
    }

    /// The end, for SEEK_END.
    fn size(&self) -> u64 {
        0
    }

    /// What a mapping of this file is backed by.
    fn mappable(&self) -> Result<Mappable> {
        Err(Errno::ENODEV)
    }

    /// Called for each close(2) of a descriptor, not only the last.
    fn flush(&self, cx: &SyscallCx) {
        let _ = cx;
    }

    /// The text that /proc/PID/fd/N shows for files without a path, such as `pipe:[7]`.
    fn description(&self) -> Option<String> {
        None
    }

    /// What /proc/PID/fdinfo/N shows beyond position and flags, as whole lines.
    fn fdinfo(&self, cx: &SyscallCx) -> String {
        let _ = cx;
        String::new()
    }

    /// Itself, to find out what kind it is.
    fn as_any(&self) -> &dyn Any;
}

/// What a mapping is backed by.
pub enum Mappable {
    /// A regular file or shared memory.
    Cached(Rc<PageCache>),
    /// Private zero pages (`/dev/zero`).
    Zero,
    /// Frames of a device.
    Frames(Vec<FrameId>),
}
