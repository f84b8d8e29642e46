//! Block devices in sysfs: the loop devices, and the links to them by name and by number.

use std::rc::Rc;

use crate::fs::dev::loop_device::{COUNT, LoopDevice, MAJOR};
use crate::fs::generated::{Directory, Entry, Fixed, constant, directory};
use crate::vfs::FileType;
use crate::{Result, SyscallCx};

/// /sys/block
pub(super) const LINKS: Fixed = list("block", || Entry::Directory(Rc::new(Links { by: By::Name, up: ".." })));
/// /sys/class/block
pub(super) const CLASS: Fixed = list("block", || Entry::Directory(Rc::new(Links { by: By::Name, up: "../.." })));
/// /sys/dev/block
pub(super) const NUMBERS: Fixed = list("block", || Entry::Directory(Rc::new(Links { by: By::Number, up: "../.." })));
/// /sys/devices/virtual/block
pub(super) const DEVICES: Fixed = list("block", || Entry::Directory(Rc::new(Devices)));

const fn list(name: &'static str, make: fn() -> Entry) -> Fixed {
    Fixed { name, kind: FileType::Directory, make }
}

#[derive(Clone, Copy)]
enum By {
    Name,
    Number,
}

impl By {
    fn name(self, number: u32) -> String {
        match self {
            Self::Name => format!("loop{number}"),
            Self::Number => format!("{MAJOR}:{number}"),
        }
    }

    fn find(self, name: &[u8]) -> Option<u32> {
        (0..COUNT).find(|number| self.name(*number).as_bytes() == name)
    }

    fn all(self, kind: FileType) -> Vec<(Vec<u8>, FileType)> {
        (0..COUNT).map(|number| (self.name(number).into_bytes(), kind)).collect()
    }
}

/// Links to the devices, `up` being the way to the top.
struct Links {
    by: By,
    up: &'static str,
}

impl Directory for Links {
    fn lookup(&self, _cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        let target = format!("{}/devices/virtual/block/loop{}", self.up, self.by.find(name)?);
        Some(Entry::link(move |_| Ok(target.clone().into_bytes())))
    }

    fn names(&self, _cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        self.by.all(FileType::Symlink)
    }
}

struct Devices;

impl Directory for Devices {
    fn lookup(&self, _cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        Some(Entry::Directory(Rc::new(Device(By::Name.find(name)?))))
    }

    fn names(&self, _cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        By::Name.all(FileType::Directory)
    }
}

/// What is the same for each.
const CONSTANT: &[Fixed] = &[
    constant!("alignment_offset", "0\n"),
    constant!("capability", "0\n"),
    constant!("discard_alignment", "0\n"),
    constant!("hidden", "0\n"),
    constant!("inflight", "       0        0\n"),
    directory!("queue", QUEUE),
    constant!("range", "1\n"),
    constant!("removable", "0\n"),
];

const QUEUE: &[Fixed] = &[
    constant!("discard_granularity", "0\n"),
    constant!("discard_max_bytes", "0\n"),
    constant!("hw_sector_size", "512\n"),
    constant!("logical_block_size", "512\n"),
    constant!("minimum_io_size", "512\n"),
    constant!("nr_requests", "128\n"),
    constant!("optimal_io_size", "0\n"),
    constant!("physical_block_size", "512\n"),
    constant!("read_ahead_kb", "128\n"),
    constant!("rotational", "0\n"),
    constant!("scheduler", "[none]\n"),
    constant!("zoned", "none\n"),
];

/// One device.
#[derive(Clone, Copy)]
struct Device(u32);

impl Device {
    fn find(self, cx: &SyscallCx) -> Result<Rc<LoopDevice>> {
        cx.kernel.loops.get(&cx.kernel, self.0)
    }

    fn text(self, name: &'static str) -> Entry {
        Entry::text(move |cx| {
            let number = self.0;
            let (sectors, read_only) = self.find(cx)?.sectors();
            Ok(match name {
                "dev" => format!("{MAJOR}:{number}\n"),
                "ro" => format!("{}\n", u32::from(read_only)),
                "size" => format!("{sectors}\n"),
                _ => format!("MAJOR={MAJOR}\nMINOR={number}\nDEVNAME=loop{number}\nDEVTYPE=disk\n"),
            }
            .into_bytes())
        })
    }

    fn is_attached(self, cx: &SyscallCx) -> bool {
        self.find(cx).is_ok_and(|device| device.is_attached())
    }
}

/// The texts of a device.
const TEXTS: [&str; 4] = ["dev", "ro", "size", "uevent"];

impl Directory for Device {
    fn lookup(&self, cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        if name == b"loop" {
            return self.is_attached(cx).then(|| Entry::Directory(Rc::new(Attached(*self))));
        }
        if name == b"subsystem" {
            return Some(Entry::link(|_| Ok(b"../../../../class/block".to_vec())));
        }
        if let Some(text) = TEXTS.into_iter().find(|text| text.as_bytes() == name) {
            return Some(self.text(text));
        }
        CONSTANT.iter().find(|entry| entry.name.as_bytes() == name).map(|entry| (entry.make)())
    }

    fn names(&self, cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        let mut names: Vec<_> = CONSTANT.iter().map(|entry| (entry.name.as_bytes().to_vec(), entry.kind)).collect();
        names.extend(TEXTS.map(|name| (name.as_bytes().to_vec(), FileType::Regular)));
        names.push((b"subsystem".to_vec(), FileType::Symlink));
        if self.is_attached(cx) {
            names.push((b"loop".to_vec(), FileType::Directory));
        }
        names
    }
}

/// What is known of the file behind a device.
struct Attached(Device);

impl Directory for Attached {
    fn lookup(&self, cx: &SyscallCx, name: &[u8]) -> Option<Entry> {
        let device = self.0.find(cx).ok()?;
        let (_, text) = device.shown(cx).into_iter().find(|(own, _)| own.as_bytes() == name)?;
        Some(Entry::text(move |_| Ok(text.clone())))
    }

    fn names(&self, cx: &SyscallCx) -> Vec<(Vec<u8>, FileType)> {
        let shown = self.0.find(cx).map(|device| device.shown(cx)).unwrap_or_default();
        shown.into_iter().map(|(name, _)| (name.as_bytes().to_vec(), FileType::Regular)).collect()
    }
}
