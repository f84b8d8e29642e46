//! mount(2) and umount(2).

use std::rc::Rc;

use linux_abi::fcntl::AT_FDCWD;

use super::table::{Args, Row, wait};
use crate::fs::devpts::DevPts;
use crate::fs::overlay::OverlayFs;
use crate::fs::tmpfs::{TmpFs, TmpOptions};
use crate::fs::{dev, proc, sysfs};
use crate::task::cap;
use crate::vfs::mount::flags;
use crate::vfs::{FileSystem, Follow, Path, walk};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(21, "mount", mount, "no disks, no propagation between mounts"),
    wait!(22, "umount", umount),
    wait!(52, "umount2", umount2),
];

fn check_admin(cx: &SyscallCx) -> Result<()> {
    if cx.creds().capable(cap::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
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
        let fs = make(cx, &kind, &options).await?;
        let given = if given & (flags::NOATIME | flags::STRICTATIME) == 0 { given | flags::RELATIME } else { given };
        mounts.mount(fs, &target, &source, given)?;
    }
    Ok(0)
}

async fn make(cx: &SyscallCx, kind: &str, options: &str) -> Result<Rc<dyn FileSystem>> {
    let kernel = &cx.kernel;
    let tmpfs = |name| -> Result<Rc<TmpFs>> {
        let options = TmpOptions { name, ..TmpOptions::new(&kernel.memory) }.parse(options)?;
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
        _ => {
            cx.kernel.count_missing("file system", kind, cx.task.comm_text());
            return Err(Errno::ENODEV);
        }
    })
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
    check_admin(cx)?;
    if given & EXPIRE != 0 {
        return Err(Errno::EINVAL);
    }
    let fs = Rc::clone(target.mount.fs());
    cx.kernel.vfs.mounts.unmount(target, given & DETACH != 0)?;
    fs.sync().await?;
    Ok(0)
}
