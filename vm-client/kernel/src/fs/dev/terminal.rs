//! Terminal devices: major numbers 4 (virtual terminals), 5 (tty, console, ptmx) and 136 to 143 (pseudoterminals).

use std::rc::Rc;

use linux_abi::stat;
use vm_rt::Io;

use crate::fs::devpts;
use crate::vfs::special::Driver;
use crate::vfs::{File, OpenFlags, Path};
use crate::{Errno, Result, SyscallCx};

pub(super) struct VtDriver;

impl Driver for VtDriver {
    fn name(&self) -> &'static str {
        "tty"
    }

    fn open<'a>(&'a self, cx: &'a SyscallCx, rdev: u64, _: &'a Path, flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        let vt = stat::minor(rdev) as usize;
        Io::ready(cx.kernel.consoles.get(vt).ok_or(Errno::ENXIO).and_then(|tty| tty.open(cx, flags)))
    }
}

pub(super) struct TtyDriver;

impl Driver for TtyDriver {
    fn name(&self) -> &'static str {
        "/dev/tty"
    }

    fn open<'a>(&'a self, cx: &'a SyscallCx, rdev: u64, _: &'a Path, flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        Io::ready(match stat::minor(rdev) {
            0 => cx.task.group.session.borrow().tty().ok_or(Errno::ENXIO).map(|tty| tty.open_unchecked()),
            1 => {
                // console(4): never becomes the controlling terminal.
                let flags = OpenFlags(flags.0 | linux_abi::fcntl::O_NOCTTY);
                cx.kernel.consoles.get(1).ok_or(Errno::ENXIO).and_then(|tty| tty.open(cx, flags))
            }
            2 => cx.kernel.ptys.open_master(cx),
            _ => Err(Errno::ENXIO),
        })
    }
}

pub(super) struct PtsDriver;

impl Driver for PtsDriver {
    fn name(&self) -> &'static str {
        "pts"
    }

    fn open<'a>(&'a self, cx: &'a SyscallCx, rdev: u64, _: &'a Path, flags: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        let index = (stat::major(rdev) - 136) * 256 + stat::minor(rdev);
        Io::ready(devpts::open_slave(cx, index, flags))
    }
}
