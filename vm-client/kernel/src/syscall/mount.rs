//! mount(2) and umount(2).

use std::rc::Rc;

use ext2::{Ext2, MountOptions};
use linux_abi::fcntl::AT_FDCWD;
use linux_abi::stat;
use vm_block::BlockDevice;

use super::table::{Args, Row, wait};
use crate::fs::dev::loop_device::{self, MountedLoop};
use crate::fs::devpts::DevPts;
use crate::fs::ext2::Ext2Fs;
use crate::fs::overlay::OverlayFs;
use crate::fs::tmpfs::{TmpFs, TmpOptions};
use crate::fs::{dev, proc, sysfs};
use crate::task::cap;
use crate::vfs::mount::flags;
use crate::vfs::{FileSystem, FileType, Follow, Path, walk};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(21, "mount", mount, "no propagation between mounts"),
    wait!(22, "umount", umount),
    wait!(52, "umount2", umount2),
    wait!(217, "pivot_root", pivot_root),
];

fn check_admin(cx: &SyscallCx) -> Result<()> {
    let owner = cx.task.namespaces.borrow().mount_owner();
    if cx.creds().capable_in(&owner, cap::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
}

/// EINVAL for a place that another mount namespace has.
fn check_own(cx: &SyscallCx, path: &Path) -> Result<()> {
    let own = cx.task.namespaces.borrow().mount_number();
    if path.mount.namespace() == own { Ok(()) } else { Err(Errno::EINVAL) }
}

/// A string argument that may be null.
async fn optional(cx: &SyscallCx, from: u64) -> Result<String> {
    if from == 0 {
        return Ok(String::new());
    }
    let text = cx.read_cstr(from, 4095, Errno::EINVAL).await?;
    String::from_utf8(text).map_err(|_| Errno::EINVAL)
}

async fn place(cx: &SyscallCx, name: u64) -> Result<Path> {
    let name = cx.read_path(name).await?;
    walk::resolve(cx, AT_FDCWD, &name, Follow::Yes).await
}

async fn mount(cx: &SyscallCx, [source, target, kind, given, data, _]: Args) -> Result<i64> {
    const MAGIC: u32 = 0xc0ed_0000;
    let mut given = given as u32;
    if given & 0xffff_0000 == MAGIC {
        given &= 0xffff;
    }
    let target = place(cx, target).await?;
    check_admin(cx)?;
    check_own(cx, &target)?;
    let mounts = &cx.kernel.vfs.mounts;
    if given & flags::REMOUNT != 0 {
        mounts.remount(&target, given)?;
    } else if given & flags::BIND != 0 {
        let from = place(cx, source).await?;
        mounts.bind(&from, &target, given & flags::REC != 0)?;
    } else if given & (flags::SHARED | flags::PRIVATE | flags::SLAVE | flags::UNBINDABLE) != 0 {
        // With one mount namespace nothing propagates anywhere, so private is what every mount is.
        if given & flags::SHARED != 0 {
            return Err(Errno::EINVAL);
        }
    } else if given & flags::MOVE != 0 {
        let from = place(cx, source).await?;
        mounts.move_to(&from, &target)?;
    } else {
        let kind = optional(cx, kind).await?;
        let options = optional(cx, data).await?;
        let source = optional(cx, source).await?;
        let source = if source.is_empty() { "none".to_owned() } else { source };
        if kind == "sysfs" && is_root_of(&target, &kind) {
            return Err(Errno::EBUSY);
        }
        let fs = make(cx, &kind, &source, given, &options).await?;
        let given = if given & (flags::NOATIME | flags::STRICTATIME) == 0 { given | flags::RELATIME } else { given };
        mounts.mount(fs, &target, &source, given)?;
    }
    Ok(0)
}

/// Whether a place is the root of a mounted file system of a kind.
fn is_root_of(at: &Path, kind: &str) -> bool {
    Rc::ptr_eq(&at.dentry, &at.mount.root) && at.mount.fs().name() == kind
}

async fn make(cx: &SyscallCx, kind: &str, source: &str, given: u32, options: &str) -> Result<Rc<dyn FileSystem>> {
    let kernel = &cx.kernel;
    // What shows or changes the machine is for those who have rights over all of it.
    if !matches!(kind, "tmpfs" | "ramfs" | "devpts" | "overlay") && !cx.creds().capable(cap::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let tmpfs = |name| -> Result<Rc<TmpFs>> {
        let creds = cx.creds();
        let (uid, gid, user_ns) = (creds.fsuid, creds.fsgid, creds.user_ns.clone());
        let options = TmpOptions { name, uid, gid, user_ns, ..TmpOptions::new(&kernel.memory) }.parse(options)?;
        Ok(TmpFs::new(&kernel.memory, kernel.vfs.new_device_number(), options, cx.now()))
    };
    Ok(match kind {
        "tmpfs" | "ramfs" => tmpfs("tmpfs")?,
        "devtmpfs" => {
            let fs = tmpfs("devtmpfs")?;
            dev::populate(kernel, &fs.root()).await?;
            fs
        }
        "proc" => proc::new(kernel),
        "sysfs" => sysfs::new(kernel),
        "devpts" => DevPts::new(kernel),
        "overlay" => OverlayFs::mount(cx, options).await?,
        "ext2" => from_disk(cx, source, given).await?,
        _ => {
            cx.kernel.count_missing("file system", kind, cx.task.comm_text());
            return Err(Errno::ENODEV);
        }
    })
}

/// The file system on a loop device.
async fn from_disk(cx: &SyscallCx, source: &str, given: u32) -> Result<Rc<dyn FileSystem>> {
    let place = walk::resolve(cx, AT_FDCWD, source.as_bytes(), Follow::Yes).await?;
    let meta = place.inode().metadata();
    if meta.file_type() != FileType::BlockDevice {
        return Err(Errno::ENOTBLK);
    }
    if stat::major(meta.rdev) != loop_device::MAJOR {
        return Err(Errno::ENXIO);
    }
    // A disk that is mounted already is the same file system once more.
    if let Some(fs) = cx.kernel.vfs.mounts.on_device(meta.rdev) {
        let same = fs.read_only() == (given & flags::RDONLY != 0);
        return if same { Ok(fs) } else { Err(Errno::EBUSY) };
    }
    let device = cx.kernel.loops.get(&cx.kernel, stat::minor(meta.rdev))?;
    let disk = MountedLoop::new(device)?;
    let options = if given & flags::RDONLY != 0 { MountOptions::read_only() } else { MountOptions::default() };
    if disk.read_only() && !options.read_only {
        return Err(Errno::EACCES);
    }
    let disk = Ext2::mount(disk, options).await.map_err(|_| Errno::EINVAL)?;
    Ok(Ext2Fs::new(&cx.kernel, disk, meta.rdev).await?)
}

async fn umount(cx: &SyscallCx, [target, ..]: Args) -> Result<i64> {
    umount2(cx, [target, 0, 0, 0, 0, 0]).await
}

async fn umount2(cx: &SyscallCx, [target, given, ..]: Args) -> Result<i64> {
    const FORCE: u64 = 1;
    const DETACH: u64 = 2;
    const EXPIRE: u64 = 4;
    const NOFOLLOW: u64 = 8;
    if given & !(FORCE | DETACH | EXPIRE | NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = cx.read_path(target).await?;
    let follow = if given & NOFOLLOW != 0 { Follow::No } else { Follow::Yes };
    let target = walk::resolve(cx, AT_FDCWD, &name, follow).await?;
    // `.` may have been covered since it became the working directory.
    let target = cx.kernel.vfs.mounts.cross(target);
    check_admin(cx)?;
    check_own(cx, &target)?;
    if given & EXPIRE != 0 {
        return Err(Errno::EINVAL);
    }
    // The caller's own root stays, for reading only.
    if given & DETACH == 0 && target.is_same(&cx.fs().root()) {
        let mounts = &cx.kernel.vfs.mounts;
        target.mount.fs().sync().await?;
        mounts.remount(&target, target.mount.flags() | flags::RDONLY)?;
        return Ok(0);
    }
    cx.kernel.vfs.unmount(target, given & DETACH != 0).await?;
    Ok(0)
}

async fn pivot_root(cx: &SyscallCx, [new, old, ..]: Args) -> Result<i64> {
    check_admin(cx)?;
    let (new, old) = (place(cx, new).await?, place(cx, old).await?);
    if !new.dentry.is_dir() || !old.dentry.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let root = cx.fs().root();
    for path in [&new, &old, &root] {
        check_own(cx, path)?;
    }
    cx.kernel.vfs.mounts.pivot(&root, &new, &old)?;
    // Everybody who was at the old root goes along (Linux's `chroot_fs_refs`).
    for task in cx.kernel.processes.tasks() {
        let fs = task.fs_context();
        if fs.root().is_same(&root) {
            fs.set_root(new.clone());
        }
        if fs.cwd().is_same(&root) {
            fs.set_cwd(new.clone());
        }
    }
    Ok(0)
}
