//! eventfd(2): a counter to wait for.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

use linux_abi::poll::Ready;
use vm_rt::{Io, WaitQueue, first_of};

use crate::vfs::{File, IoMode};
use crate::{Errno, Result, SyscallCx};

/// Whether a read takes everything or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// All that was counted.
    All,
    /// One (EFD_SEMAPHORE).
    One,
}

/// The counter.
pub struct EventFd {
    count: Cell<u64>,
    take: Take,
    /// Woken when something was added.
    added: WaitQueue,
    /// Woken when something was taken.
    taken: WaitQueue,
}

const MAX: u64 = u64::MAX - 1;

impl EventFd {
    /// A counter that begins at `count`.
    pub fn new(count: u64, take: Take) -> Rc<Self> {
        Rc::new(Self { count: Cell::new(count), take, added: WaitQueue::new(), taken: WaitQueue::new() })
    }

    fn try_take(&self) -> Option<u64> {
        let count = self.count.get();
        if count == 0 {
            return None;
        }
        let taken = if self.take == Take::One { 1 } else { count };
        self.count.set(count - taken);
        self.taken.wake_all();
        Some(taken)
    }

    /// Adds one, from the kernel; a full counter stays as it is.
    pub(crate) fn signal(&self) {
        self.try_add(1);
    }

    fn try_add(&self, value: u64) -> bool {
        match self.count.get().checked_add(value).filter(|count| *count <= MAX) {
            None => false,
            Some(count) => {
                self.count.set(count);
                self.added.wake_all();
                true
            }
        }
    }
}

impl File for EventFd {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        let Some(buf) = buf.get_mut(..8) else { return Io::ready(Err(Errno::EINVAL)) };
        if let Some(value) = self.try_take() {
            buf.copy_from_slice(&value.to_le_bytes());
            return Io::ready(Ok(8));
        }
        if mode.nonblock {
            return Io::ready(Err(Errno::EAGAIN));
        }
        Io::later(async move {
            loop {
                let change = self.added.wait();
                if let Some(value) = self.try_take() {
                    buf.copy_from_slice(&value.to_le_bytes());
                    return Ok(8);
                }
                cx.interruptible(change).await?;
            }
        })
    }

    fn write<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        let Some(value) = data.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return Io::ready(Err(Errno::EINVAL));
        };
        if value == u64::MAX {
            return Io::ready(Err(Errno::EINVAL));
        }
        if self.try_add(value) {
            return Io::ready(Ok(8));
        }
        if mode.nonblock {
            return Io::ready(Err(Errno::EAGAIN));
        }
        Io::later(async move {
            loop {
                let change = self.taken.wait();
                if self.try_add(value) {
                    return Ok(8);
                }
                cx.interruptible(change).await?;
            }
        })
    }

    fn poll(&self, _interest: Ready) -> Ready {
        let mut ready = Ready::NONE;
        if self.count.get() > 0 {
            ready |= Ready::IN | Ready::RDNORM;
        }
        if self.count.get() < MAX {
            ready |= Ready::OUT | Ready::WRNORM;
        }
        ready
    }

    fn wait(&self, interest: Ready) -> Io<'static, ()> {
        if !interest.intersects(Ready::OUT | Ready::WRNORM) {
            return Io::later(self.added.wait());
        }
        let (added, taken) = (self.added.wait(), self.taken.wait());
        Io::later(async move {
            first_of(added, taken).await;
        })
    }

    fn fdinfo(&self, _cx: &SyscallCx) -> String {
        format!("eventfd-count: {:16x}\n", self.count.get())
    }

    fn description(&self) -> Option<String> {
        Some("anon_inode:[eventfd]".to_owned())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
