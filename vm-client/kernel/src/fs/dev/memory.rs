//! The memory devices, major number 1 (mem(4), null(4), full(4), random(4)).

use std::any::Any;
use std::rc::Rc;

use linux_abi::poll::Ready;
use linux_abi::stat;
use vm_rt::Io;

use crate::vfs::special::Driver;
use crate::vfs::{File, IoMode, Mappable, OpenFlags, Path};
use crate::{Errno, Result, SyscallCx};

pub(super) struct MemoryDriver;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Zero,
    Full,
    Random,
    Kmsg,
}

impl Driver for MemoryDriver {
    fn name(&self) -> &'static str {
        "mem"
    }

    fn open<'a>(&'a self, _cx: &'a SyscallCx, rdev: u64, _: &'a Path, _: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        let kind = match stat::minor(rdev) {
            3 => Kind::Null,
            5 => Kind::Zero,
            7 => Kind::Full,
            8 | 9 => Kind::Random,
            11 => Kind::Kmsg,
            _ => return Io::ready(Err(Errno::ENXIO)),
        };
        Io::ready(Ok(Rc::new(MemoryFile(kind)) as Rc<dyn File>))
    }
}

struct MemoryFile(Kind);

impl File for MemoryFile {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        match self.0 {
            Kind::Null => return Io::ready(Ok(0)),
            Kind::Zero | Kind::Full => buf.fill(0),
            Kind::Random => cx.kernel.host.entropy.fill(buf),
            // No records: a reader waits for the first, for ever.
            Kind::Kmsg if mode.nonblock => return Io::ready(Err(Errno::EAGAIN)),
            Kind::Kmsg => return Io::later(async move { cx.interruptible(std::future::pending()).await }),
        }
        Io::ready(Ok(buf.len()))
    }

    fn write<'a>(&'a self, _cx: &'a SyscallCx, _mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::ready(if self.0 == Kind::Full { Err(Errno::ENOSPC) } else { Ok(data.len()) })
    }

    fn poll(&self, _interest: Ready) -> Ready {
        if self.0 == Kind::Kmsg { Ready::OUT | Ready::WRNORM } else { Ready::ALWAYS }
    }

    /// They can be positioned, which changes nothing.
    fn seekable(&self) -> bool {
        self.0 != Kind::Kmsg
    }

    fn mappable(&self) -> Result<Mappable> {
        if self.0 == Kind::Zero { Ok(Mappable::Zero) } else { Err(Errno::ENODEV) }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
