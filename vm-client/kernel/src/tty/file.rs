//! A terminal as an open file.

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use linux_abi::fcntl;
use linux_abi::poll::Ready;
use linux_abi::signal::Signal;
use linux_abi::termios::{TOSTOP, VMIN, VTIME};
use vm_rt::Io;

use super::Tty;
use crate::vfs::{File, IoMode, OpenFlags};
use crate::{Errno, Result, SyscallCx};

/// An open terminal (the slave side of a pseudoterminal, or a virtual terminal).
pub struct TtyFile {
    tty: Rc<Tty>,
    generation: u64,
}

impl Tty {
    /// Opens the terminal.
    pub fn open(self: &Rc<Self>, cx: &SyscallCx, flags: OpenFlags) -> Result<Rc<dyn File>> {
        if self.closed.get() {
            return Err(Errno::EIO);
        }
        if self.exclusive.get() && !cx.task.credentials().capable(crate::task::cap::SYS_ADMIN) {
            return Err(Errno::EBUSY);
        }
        if !flags.has(fcntl::O_NOCTTY) && flags.readable() {
            self.adopt_on_open(&cx.task);
        }
        Ok(self.open_unchecked())
    }

    /// Opens the terminal for a caller who has it already (TIOCGPTPEER, the first program's descriptors).
    pub fn open_unchecked(self: &Rc<Self>) -> Rc<dyn File> {
        self.opens.set(self.opens.get() + 1);
        self.sink.changed();
        Rc::new(TtyFile { tty: Rc::clone(self), generation: self.generation.get() })
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        self.tty.opens.set(self.tty.opens.get() - 1);
        if self.tty.opens.get() == 0 {
            self.tty.exclusive.set(false);
        }
        self.tty.sink.changed();
    }
}

impl TtyFile {
    /// The terminal.
    pub fn tty(&self) -> &Rc<Tty> {
        &self.tty
    }

    fn hung_up(&self) -> bool {
        self.generation != self.tty.generation.get()
    }

    async fn read_canonical(&self, cx: &SyscallCx, nonblock: bool, buf: &mut [u8]) -> Result<usize> {
        loop {
            if self.hung_up() {
                return Ok(0);
            }
            self.tty.check_foreground(cx, Signal::TTIN)?;
            let taken = self.tty.ldisc.borrow_mut().read(buf);
            if let Some(count) = taken {
                self.tty.process_backlog();
                return Ok(count);
            }
            if self.tty.closed.get() {
                return Err(Errno::EIO);
            }
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            let changed = self.tty.readable.wait();
            cx.interruptible(changed).await?;
            if !self.tty.ldisc.borrow().canonical() {
                return Box::pin(self.read_raw(cx, nonblock, buf)).await;
            }
        }
    }

    /// Non-canonical reads, the four cases of VMIN and VTIME of termios(3).
    async fn read_raw(&self, cx: &SyscallCx, nonblock: bool, buf: &mut [u8]) -> Result<usize> {
        let (min, time) = {
            let ldisc = self.tty.ldisc.borrow();
            let cc = ldisc.termios().cc;
            (usize::from(cc[VMIN]), Duration::from_millis(100) * u32::from(cc[VTIME]))
        };
        let mut count = 0;
        // With VMIN the time runs between bytes, without it from the start of the call.
        let mut deadline = (min == 0).then(|| cx.kernel.now_monotonic() + time);
        loop {
            if self.hung_up() {
                return Ok(count);
            }
            self.tty.check_foreground(cx, Signal::TTIN)?;
            let taken = self.tty.ldisc.borrow_mut().read(&mut buf[count..]);
            if let Some(more) = taken {
                count += more;
                self.tty.process_backlog();
                if count >= min.max(1) || count == buf.len() {
                    return Ok(count);
                }
                if !time.is_zero() {
                    deadline = Some(cx.kernel.now_monotonic() + time);
                }
            }
            if self.tty.closed.get() {
                return if count > 0 { Ok(count) } else { Err(Errno::EIO) };
            }
            if nonblock {
                return if count > 0 { Ok(count) } else { Err(Errno::EAGAIN) };
            }
            if deadline.is_some_and(|deadline| cx.kernel.now_monotonic() >= deadline) {
                return Ok(count);
            }
            let changed = self.tty.readable.wait();
            let waited = match deadline {
                None => cx.interruptible(changed).await,
                Some(deadline) => {
                    let timer = cx.kernel.timers.sleep_until(deadline);
                    cx.interruptible(vm_rt::first_of(changed, timer)).await.map(drop)
                }
            };
            if let Err(interrupted) = waited {
                return if count > 0 { Ok(count) } else { Err(interrupted) };
            }
        }
    }

    async fn write_all(&self, cx: &SyscallCx, nonblock: bool, data: &[u8]) -> Result<usize> {
        if self.tty.ldisc.borrow().termios().lflag & TOSTOP != 0 {
            self.tty.check_foreground(cx, Signal::TTOU)?;
        }
        let mut done = 0;
        while done < data.len() {
            if self.hung_up() || self.tty.closed.get() {
                return if done > 0 { Ok(done) } else { Err(Errno::EIO) };
            }
            // A newline may become two bytes.
            let room = if self.tty.ldisc.borrow().stopped() { 0 } else { self.tty.sink.room() / 2 };
            if room > 0 {
                let piece = &data[done..data.len().min(done + room)];
                let out = self.tty.ldisc.borrow_mut().process_output(piece);
                self.tty.sink.put(&out);
                done += piece.len();
                continue;
            }
            if nonblock {
                return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN) };
            }
            let drained = self.tty.writable.wait();
            if let Err(interrupted) = cx.interruptible(drained).await {
                return if done > 0 { Ok(done) } else { Err(interrupted) };
            }
        }
        Ok(done)
    }
}

impl File for TtyFile {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        if buf.is_empty() {
            return Io::ready(Ok(0));
        }
        Io::later(async move {
            let canonical = self.tty.ldisc.borrow().canonical();
            if canonical {
                self.read_canonical(cx, mode.nonblock, buf).await
            } else {
                self.read_raw(cx, mode.nonblock, buf).await
            }
        })
    }

    fn write<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::later(self.write_all(cx, mode.nonblock, data))
    }

    fn poll(&self, _interest: Ready) -> Ready {
        if self.hung_up() {
            return Ready::ALWAYS | Ready::ERR | Ready::HUP;
        }
        let ldisc = self.tty.ldisc.borrow();
        let cc = &ldisc.termios().cc;
        let min = if cc[VTIME] == 0 { usize::from(cc[VMIN]) } else { 1 };
        let mut ready = Ready::NONE;
        if ldisc.input_available(min) {
            ready |= Ready::IN | Ready::RDNORM;
        }
        if self.tty.closed.get() {
            ready |= Ready::HUP;
        } else if !ldisc.stopped() && self.tty.sink.room() >= 2 {
            ready |= Ready::OUT | Ready::WRNORM;
        }
        ready
    }

    fn wait(&self, interest: Ready) -> Io<'static, ()> {
        let readable = self.tty.readable.wait();
        if interest.intersects(Ready::OUT | Ready::WRNORM) {
            let writable = self.tty.writable.wait();
            Io::later(async move {
                vm_rt::first_of(readable, writable).await;
            })
        } else {
            Io::later(readable)
        }
    }

    fn ioctl<'a>(&'a self, cx: &'a SyscallCx, request: u32, arg: u64) -> Io<'a, Result<i64>> {
        if self.hung_up() {
            let error = if request == linux_abi::termios::TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO };
            return Io::ready(Err(error));
        }
        Io::later(self.tty.ioctl(cx, request, arg))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
