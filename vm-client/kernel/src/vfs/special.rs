//! Device numbers and what opens behind them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use linux_abi::stat;
use vm_rt::Io;

use super::{File, FileType, OpenFlags, Path};
use crate::{Errno, Result, SyscallCx};

/// A driver: opens the devices of one major number.
pub trait Driver {
    /// Its name in /proc/devices.
    fn name(&self) -> &'static str;
    /// Opens the device with this number; `path` is the device file.
    fn open<'a>(
        &'a self,
        cx: &'a SyscallCx,
        rdev: u64,
        path: &'a Path,
        flags: OpenFlags,
    ) -> Io<'a, Result<Rc<dyn File>>>;
}

/// All drivers by type and major number.
#[derive(Default)]
pub struct Drivers {
    by_major: RefCell<HashMap<(bool, u32), Rc<dyn Driver>>>,
}

impl Drivers {
    /// Adds the driver of a major number of character or block devices.
    pub fn register(&self, kind: FileType, major: u32, driver: Rc<dyn Driver>) {
        self.by_major.borrow_mut().insert((kind == FileType::BlockDevice, major), driver);
    }

    /// The driver of a device number; ENXIO if there is none.
    pub(super) fn find(&self, kind: FileType, rdev: u64) -> Result<Rc<dyn Driver>> {
        let key = (kind == FileType::BlockDevice, stat::major(rdev));
        self.by_major.borrow().get(&key).cloned().ok_or(Errno::ENXIO)
    }

    /// Type (true is block), major number and name of each, in order.
    pub fn list(&self) -> Vec<(bool, u32, &'static str)> {
        let mut list: Vec<_> = self.by_major.borrow().iter().map(|(key, d)| (key.0, key.1, d.name())).collect();
        list.sort_unstable();
        list
    }
}
