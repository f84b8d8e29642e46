//! /dev/kmsg: the kernel's log, a record at a time (Documentation/ABI/testing/dev-kmsg).

use std::any::Any;
use std::cell::Cell;

use linux_abi::poll::Ready;
use vm_rt::Io;

use crate::klog::level;
use crate::vfs::{File, IoMode};
use crate::{Errno, Result, SyscallCx};

/// An open /dev/kmsg.
#[derive(Default)]
pub(super) struct Kmsg {
    /// The next record.
    next: Cell<u64>,
}

impl Kmsg {
    /// The next record into the buffer: EPIPE when it is gone, EINVAL when the buffer is too small.
    fn take(&self, cx: &SyscallCx, buf: &mut [u8]) -> Option<Result<usize>> {
        let (oldest, _) = cx.kernel.klog.range();
        if self.next.get() < oldest && self.next.get() != 0 {
            self.next.set(oldest);
            return Some(Err(Errno::EPIPE));
        }
        let record = cx.kernel.klog.from(self.next.get())?;
        let text = record.extended();
        let Some(to) = buf.get_mut(..text.len()) else { return Some(Err(Errno::EINVAL)) };
        to.copy_from_slice(text.as_bytes());
        self.next.set(record.seq + 1);
        Some(Ok(text.len()))
    }
}

impl File for Kmsg {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        if let Some(taken) = self.take(cx, buf) {
            return Io::ready(taken);
        }
        if mode.nonblock {
            return Io::ready(Err(Errno::EAGAIN));
        }
        Io::later(async move {
            loop {
                let added = cx.kernel.klog.wait();
                if let Some(taken) = self.take(cx, buf) {
                    return taken;
                }
                cx.interruptible(added).await?;
            }
        })
    }

    /// A line, perhaps with `<N>` before it.
    fn write<'a>(&'a self, cx: &'a SyscallCx, _mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        const LONGEST: usize = 992;
        if data.len() > LONGEST {
            return Io::ready(Err(Errno::EINVAL));
        }
        let text = String::from_utf8_lossy(data);
        let given = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let numbered = given.and_then(|(number, rest)| Some((number.parse::<u32>().ok()? & 0x3ff, rest)));
        let (priority, rest) = numbered.unwrap_or((level::WARNING, &text));
        // Only the kernel itself has facility 0.
        let priority = if priority >> 3 == 0 { priority | level::USER } else { priority };
        cx.kernel.log(priority, rest);
        Io::ready(Ok(data.len()))
    }

    fn poll(&self, _interest: Ready) -> Ready {
        Ready::OUT | Ready::WRNORM
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
