//! Standard input, output and error of a program as streams of the host.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use linux_abi::poll::Ready;
use linux_abi::signal::Signal;
use linux_abi::termios::FIONREAD;
use vm_kernel::vfs::{File, IoMode};
use vm_kernel::{Errno, Result, SyscallCx};
use vm_rt::{Io, WaitQueue};

/// Where the output streams of a program go. Input comes the other way, through [`crate::Running::write_stdin`].
pub trait StreamSink {
    /// Takes output of descriptor `fd` (1 or 2).
    fn write(&self, fd: i32, bytes: &[u8]);
    /// Whether writers should wait because the host is behind; it says [`crate::Running::stream_drained`] later.
    fn congested(&self, fd: i32) -> bool {
        let _ = fd;
        false
    }
    /// Whether nobody reads the stream any more: writers get SIGPIPE and EPIPE.
    fn closed(&self, fd: i32) -> bool {
        let _ = fd;
        false
    }
}

/// The reading end of standard input.
#[derive(Default)]
pub(crate) struct Input {
    data: RefCell<VecDeque<u8>>,
    ended: Cell<bool>,
    changed: WaitQueue,
}

impl Input {
    pub(crate) fn push(&self, bytes: &[u8]) {
        if !self.ended.get() {
            self.data.borrow_mut().extend(bytes);
            self.changed.wake_all();
        }
    }

    pub(crate) fn end(&self) {
        self.ended.set(true);
        self.changed.wake_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.data.borrow().len()
    }

    async fn take(&self, cx: &SyscallCx, nonblock: bool, buf: &mut [u8]) -> Result<usize> {
        loop {
            {
                let mut data = self.data.borrow_mut();
                if !data.is_empty() {
                    let count = buf.len().min(data.len());
                    for (slot, byte) in buf.iter_mut().zip(data.drain(..count)) {
                        *slot = byte;
                    }
                    return Ok(count);
                }
            }
            if self.ended.get() {
                return Ok(0);
            }
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            let changed = self.changed.wait();
            cx.interruptible(changed).await?;
        }
    }
}

/// Standard input as a file.
pub(crate) struct InputFile(pub(crate) Rc<Input>);

impl File for InputFile {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        Io::later(self.0.take(cx, mode.nonblock, buf))
    }

    fn write<'a>(&'a self, _cx: &'a SyscallCx, _mode: IoMode, _data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::ready(Err(Errno::EBADF))
    }

    fn poll(&self, _interest: Ready) -> Ready {
        if !self.0.data.borrow().is_empty() {
            Ready::IN | Ready::RDNORM
        } else if self.0.ended.get() {
            Ready::HUP
        } else {
            Ready::NONE
        }
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        Io::later(self.0.changed.wait())
    }

    fn ioctl<'a>(&'a self, cx: &'a SyscallCx, request: u32, arg: u64) -> Io<'a, Result<i64>> {
        if request != FIONREAD {
            return Io::ready(Err(Errno::ENOTTY));
        }
        Io::later(async move {
            cx.write_u32(arg, u32::try_from(self.0.len()).unwrap_or(u32::MAX)).await?;
            Ok(0)
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Standard output or error.
pub(crate) struct Output {
    pub(crate) fd: i32,
    pub(crate) sink: Rc<dyn StreamSink>,
    pub(crate) drained: Rc<WaitQueue>,
}

impl Output {
    async fn put(&self, cx: &SyscallCx, nonblock: bool, data: &[u8]) -> Result<usize> {
        while self.sink.congested(self.fd) && !self.sink.closed(self.fd) {
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            let drained = self.drained.wait();
            cx.interruptible(drained).await?;
        }
        if self.sink.closed(self.fd) {
            cx.kernel.send_signal_task(&cx.task, linux_abi::siginfo::SigInfo::kernel(Signal::PIPE));
            return Err(Errno::EPIPE);
        }
        self.sink.write(self.fd, data);
        Ok(data.len())
    }
}

impl File for Output {
    fn read<'a>(&'a self, _cx: &'a SyscallCx, _mode: IoMode, _buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        Io::ready(Err(Errno::EBADF))
    }

    fn write<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::later(self.put(cx, mode.nonblock, data))
    }

    fn poll(&self, _interest: Ready) -> Ready {
        if self.sink.closed(self.fd) {
            Ready::ERR | Ready::OUT
        } else if self.sink.congested(self.fd) {
            Ready::NONE
        } else {
            Ready::OUT | Ready::WRNORM
        }
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        Io::later(self.drained.wait())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
