//! Devices of major number 10, each of its own kind.

use std::rc::Rc;

use linux_abi::stat;
use vm_rt::Io;

use super::loop_device::LoopControl;
use crate::vfs::special::Driver;
use crate::vfs::{File, OpenFlags, Path};
use crate::{Errno, Result, SyscallCx};

pub(super) struct MiscDriver;

impl Driver for MiscDriver {
    fn name(&self) -> &'static str {
        "misc"
    }

    fn open<'a>(&'a self, _cx: &'a SyscallCx, rdev: u64, _: &'a Path, _: OpenFlags) -> Io<'a, Result<Rc<dyn File>>> {
        Io::ready(match stat::minor(rdev) {
            237 => Ok(Rc::new(LoopControl)),
            _ => Err(Errno::ENXIO),
        })
    }
}
