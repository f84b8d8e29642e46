//! The mount tree of a machine.

use std::fmt;
use std::rc::Rc;

use ext2::{Ext2, Ext2Error};
use linux_abi::fcntl::AT_FDCWD;
use linux_abi::stat::{S_IFCHR, makedev};
use vm_block::BlockDevice;
use vm_kernel::fs::ext2::Ext2Fs;
use vm_kernel::fs::hosted::{HostedFs, Modes, Tree};
use vm_kernel::fs::tmpfs::{TmpFs, TmpOptions};
use vm_kernel::fs::{dev, devpts::DevPts, proc, sysfs};
use vm_kernel::vfs::{FileSystem, FileType, Follow, mount::flags, names, walk};
use vm_kernel::{Errno, Kernel, SyscallCx};

use crate::handout::{self, Handout, HandoutDriver};

/// Why the root disk could not be mounted.
#[derive(Debug)]
#[non_exhaustive]
pub enum MountError {
    /// The disk holds no ext2 file system that can be used.
    Disk(Ext2Error),
    /// A directory that programs need could not be mounted.
    Tree {
        /// The mount point.
        point: String,
        /// What went wrong.
        error: Errno,
    },
}

impl MountError {
    fn tree(point: &str, error: Errno) -> Self {
        Self::Tree { point: point.to_owned(), error }
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "the disk cannot be mounted: {error}"),
            Self::Tree { point, error } => write!(f, "{point} cannot be mounted: {error}"),
        }
    }
}

impl std::error::Error for MountError {}

/// The device number of the root disk: the first one of `virtblk`, as on a cloud machine.
const ROOT_DEVICE: (u32, u32) = (254, 0);

/// Mounts the root disk and, where the image has a directory for it, each of the file systems that programs expect.
/// Returns what lets the root file system go again.
pub(crate) async fn mount_all(
    kernel: &Rc<Kernel>,
    handout: &Rc<Handout>,
    disk: impl BlockDevice + 'static,
) -> Result<Box<dyn FnOnce()>, MountError> {
    let (root, unmount, given) = open_disk(kernel, disk, ROOT_DEVICE, "/").await?;
    mount_root(kernel, handout, root, "/dev/root", given).await?;
    Ok(unmount)
}

/// Mounts a tree of the host as a root that is only read, and what programs expect below it.
pub(crate) async fn mount_root_tree(
    kernel: &Rc<Kernel>,
    handout: &Rc<Handout>,
    source: &str,
    tree: Rc<dyn Tree>,
) -> Result<(), MountError> {
    mount_root(kernel, handout, hosted(kernel, tree, true), source, flags::RDONLY | flags::NOATIME).await
}

async fn mount_root(
    kernel: &Rc<Kernel>,
    handout: &Rc<Handout>,
    root: Rc<dyn FileSystem>,
    source: &str,
    given: u32,
) -> Result<(), MountError> {
    let now = kernel.now_realtime();
    let root = kernel.vfs.mounts.mount_root(root, source, given);
    kernel.create_init(root).map_err(|error| MountError::tree("/", error))?;
    let cx = kernel.init_context().map_err(|error| MountError::tree("/", error))?;

    dev::register(kernel);
    let driver = Rc::new(HandoutDriver(Rc::clone(handout)));
    kernel.vfs.drivers.register(FileType::CharDevice, handout::MAJOR, driver);
    let tmpfs = |options: &str| -> Result<Rc<dyn FileSystem>, Errno> {
        let options = TmpOptions::new(&kernel.memory).parse(options)?;
        Ok(TmpFs::new(&kernel.memory, kernel.vfs.new_device_number(), options, now))
    };
    let nosuid = flags::NOSUID | flags::RELATIME;
    let none = nosuid | flags::NODEV | flags::NOEXEC;
    mount(&cx, "/proc", "proc", Ok(proc::new(kernel)), none).await?;
    mount(&cx, "/sys", "sysfs", Ok(sysfs::new(kernel)), none).await?;
    let devices = tmpfs("mode=755");
    if let Ok(fs) = &devices {
        let populated = dev::populate(kernel, &fs.root()).await;
        populated.map_err(|error| MountError::tree("/dev", error))?;
        let made = fs.root();
        let made = made.create(handout::NAME, S_IFCHR | 0o666, makedev(handout::MAJOR, 0), &cx.creds(), now).await;
        made.map_err(|error| MountError::tree("/dev", error))?;
    }
    mount(&cx, "/dev", "udev", devices, nosuid).await?;
    mount(&cx, "/dev/pts", "devpts", Ok(DevPts::new(kernel)), nosuid | flags::NOEXEC).await?;
    mount(&cx, "/dev/shm", "tmpfs", tmpfs("mode=1777"), nosuid | flags::NODEV).await?;
    mount(&cx, "/run", "tmpfs", tmpfs("mode=755"), nosuid | flags::NODEV).await
}

/// A file system, what lets it go again, and the flags of its mount.
type OpenDisk = (Rc<dyn FileSystem>, Box<dyn FnOnce()>, u32);

async fn open_disk(
    kernel: &Rc<Kernel>,
    disk: impl BlockDevice + 'static,
    number: (u32, u32),
    point: &str,
) -> Result<OpenDisk, MountError> {
    let read_only = disk.read_only();
    let options = if read_only { ext2::MountOptions::read_only() } else { ext2::MountOptions::default() };
    let disk = Ext2::mount(disk, options).await.map_err(MountError::Disk)?;
    let fs = Ext2Fs::new(kernel, disk, makedev(number.0, number.1)).await;
    let fs = fs.map_err(|error| MountError::tree(point, error))?;
    let weak = Rc::downgrade(&fs);
    let unmount = Box::new(move || {
        if let Some(fs) = weak.upgrade() {
            fs.unmounted();
        }
    });
    Ok((fs, unmount, if read_only { flags::RDONLY } else { 0 } | flags::NOATIME))
}

/// Mounts another disk. A mount point that the image does not have is made.
pub(crate) async fn mount_disk(
    kernel: &Rc<Kernel>,
    point: &str,
    disk: impl BlockDevice + 'static,
) -> Result<Box<dyn FnOnce()>, MountError> {
    let fail = |error| MountError::tree(point, error);
    // Each disk has 16 numbers, for its partitions.
    let count = kernel.vfs.mounts.list().iter().filter(|mount| mount.source.starts_with("/dev/vd")).count() as u32;
    let (fs, unmount, given) = open_disk(kernel, disk, (ROOT_DEVICE.0, 16 * (count + 1)), point).await?;
    let cx = kernel.init_context().map_err(fail)?;
    make_path(&cx, point).await.map_err(fail)?;
    let letter = char::from(b'b'.saturating_add(count.min(24) as u8));
    mount(&cx, point, &format!("/dev/vd{letter}"), Ok(fs), given).await?;
    Ok(unmount)
}

/// Makes a directory and its parents, as `mkdir -p` does.
async fn make_path(cx: &SyscallCx, point: &str) -> Result<(), Errno> {
    let ends = point.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([point.len()]);
    for path in ends.filter_map(|end| point.get(..end)).filter(|path| !path.is_empty()) {
        match names::create(cx, AT_FDCWD, path.as_bytes(), FileType::Directory.mode() | 0o755, 0).await {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Mounts a tree of the host, read-only. A mount point that the image does not have is made.
pub(crate) async fn mount_tree(
    kernel: &Rc<Kernel>,
    point: &str,
    source: &str,
    tree: Rc<dyn Tree>,
    executable: bool,
) -> Result<(), MountError> {
    let fail = |error| MountError::tree(point, error);
    let cx = kernel.init_context().map_err(fail)?;
    make_path(&cx, point).await.map_err(fail)?;
    let fs = hosted(kernel, tree, executable);
    let flags = flags::RDONLY | flags::NOSUID | flags::NODEV | flags::NOATIME;
    mount(&cx, point, source, Ok(fs), if executable { flags } else { flags | flags::NOEXEC }).await
}

fn hosted(kernel: &Rc<Kernel>, tree: Rc<dyn Tree>, executable: bool) -> Rc<dyn FileSystem> {
    let modes = if executable {
        Modes { directories: 0o755, files: 0o755 }
    } else {
        Modes { directories: 0o755, files: 0o644 }
    };
    let dev = kernel.vfs.new_device_number();
    HostedFs::new(&kernel.memory, dev, "hostfs", tree, modes, kernel.now_realtime())
}

async fn mount(
    cx: &SyscallCx,
    point: &str,
    source: &str,
    fs: Result<Rc<dyn FileSystem>, Errno>,
    flags: u32,
) -> Result<(), MountError> {
    let mounted = async {
        let at = match walk::resolve(cx, AT_FDCWD, point.as_bytes(), Follow::Yes).await {
            // A minimal image without the directory does without the file system.
            Err(Errno::ENOENT) => return Ok(()),
            found => found?,
        };
        cx.kernel.vfs.mounts.mount(fs?, &at, source, flags).map(drop)
    };
    mounted.await.map_err(|error| MountError::tree(point, error))
}
