//! The memory devices, major number 1 (mem(4), null(4), full(4), random(4)).

use std::any::Any;
use std::rc::Rc;

use linux_abi::stat;
use vm_rt::Io;

use super::kmsg::Kmsg;
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
            11 => return Io::ready(Ok(Rc::new(Kmsg::default()) as Rc<dyn File>)),
            _ => return Io::ready(Err(Errno::ENXIO)),
        };
        Io::ready(Ok(Rc::new(MemoryFile(kind)) as Rc<dyn File>))
    }
}

struct MemoryFile(Kind);

impl File for MemoryFile {
    fn read<'a>(&'a self, cx: &'a SyscallCx, _mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        match self.0 {
            Kind::Null => return Io::ready(Ok(0)),
            Kind::Zero | Kind::Full => buf.fill(0),
            Kind::Random => cx.kernel.host.entropy.fill(buf),
        }
        Io::ready(Ok(buf.len()))
    }

    fn write<'a>(&'a self, _cx: &'a SyscallCx, _mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::ready(if self.0 == Kind::Full { Err(Errno::ENOSPC) } else { Ok(data.len()) })
    }

    /// They can be positioned, which changes nothing.
    fn seekable(&self) -> bool {
        true
    }

    fn mappable(&self) -> Result<Mappable> {
        if self.0 == Kind::Zero { Ok(Mappable::Zero) } else { Err(Errno::ENODEV) }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
