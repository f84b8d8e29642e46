//! Device drivers, and the device files in /dev.
//!
//! /dev is an ordinary tmpfs that [`populate`] fills; the files work wherever mknod(2) makes them, because opening goes by
//! device number through the drivers that [`register`] adds.

mod kmsg;
pub(crate) mod loop_device;
mod memory;
mod misc;
mod terminal;

use std::rc::Rc;

use linux_abi::stat::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT, makedev};

use crate::task::Credentials;
use crate::vfs::{FileType, Inode};
use crate::{Kernel, Result};

/// Adds the drivers of this module to a kernel.
pub fn register(kernel: &Kernel) {
    let drivers = &kernel.vfs.drivers;
    drivers.register(FileType::CharDevice, 1, Rc::new(memory::MemoryDriver));
    drivers.register(FileType::CharDevice, 4, Rc::new(terminal::VtDriver));
    drivers.register(FileType::CharDevice, 5, Rc::new(terminal::TtyDriver));
    drivers.register(FileType::CharDevice, 10, Rc::new(misc::MiscDriver));
    drivers.register(FileType::BlockDevice, loop_device::MAJOR, Rc::new(loop_device::LoopDriver));
    for major in 136..144 {
        drivers.register(FileType::CharDevice, major, Rc::new(terminal::PtsDriver));
    }
}

/// Name, type and permission bits, and device number of each file.
const FILES: &[(&str, u32, u32, u32)] = &[
    ("console", S_IFCHR | 0o600, 5, 1),
    ("full", S_IFCHR | 0o666, 1, 7),
    ("kmsg", S_IFCHR | 0o644, 1, 11),
    ("loop-control", S_IFCHR | 0o660, 10, 237),
    ("null", S_IFCHR | 0o666, 1, 3),
    ("ptmx", S_IFCHR | 0o666, 5, 2),
    ("pts", S_IFDIR | 0o755, 0, 0),
    ("random", S_IFCHR | 0o666, 1, 8),
    ("shm", S_IFDIR | 0o1777, 0, 0),
    ("tty", S_IFCHR | 0o666, 5, 0),
    ("tty0", S_IFCHR | 0o620, 4, 0),
    ("tty1", S_IFCHR | 0o620, 4, 1),
    ("tty2", S_IFCHR | 0o620, 4, 2),
    ("tty3", S_IFCHR | 0o620, 4, 3),
    ("tty4", S_IFCHR | 0o620, 4, 4),
    ("tty5", S_IFCHR | 0o620, 4, 5),
    ("tty6", S_IFCHR | 0o620, 4, 6),
    ("urandom", S_IFCHR | 0o666, 1, 9),
    ("zero", S_IFCHR | 0o666, 1, 5),
];

/// Links that programs expect, and where they lead.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];

/// Group `tty` of Debian and most others.
const TTY_GROUP: u32 = 5;
/// Group `disk`.
const DISK_GROUP: u32 = 6;

/// Makes the device files in a directory, usually the root of a fresh tmpfs.
pub async fn populate(kernel: &Kernel, dir: &Rc<dyn Inode>) -> Result<()> {
    let root = Credentials::new(0, 0);
    let tty = Credentials::new(0, TTY_GROUP);
    let now = kernel.now_realtime();
    for (name, mode, major, minor) in FILES {
        let is_device = matches!(mode & S_IFMT, S_IFCHR | S_IFBLK);
        let owner = if *major == 4 || *name == "tty" { &tty } else { &root };
        let rdev = if is_device { makedev(*major, *minor) } else { 0 };
        dir.create(name.as_bytes(), *mode, rdev, owner, now).await?;
    }
    let disk = Credentials::new(0, DISK_GROUP);
    for minor in 0..loop_device::COUNT {
        let name = format!("loop{minor}");
        dir.create(name.as_bytes(), S_IFBLK | 0o660, makedev(loop_device::MAJOR, minor), &disk, now).await?;
    }
    for (name, target) in LINKS {
        dir.symlink(name.as_bytes(), target.as_bytes(), &root, now).await?;
    }
    Ok(())
}
