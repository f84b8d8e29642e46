//! stat(2), statx(2), statfs(2) in all their forms.

use linux_abi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW};
use linux_abi::stat::{STATX_RESERVED, Stat, Statfs};

use super::table::{Args, Row, wait};
use crate::namespace::IdKind;
use crate::vfs::{Follow, Path, mount, walk};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(18, "oldstat", oldstat),
    wait!(28, "oldfstat", oldfstat),
    wait!(84, "oldlstat", oldlstat),
    wait!(99, "statfs", statfs),
    wait!(100, "fstatfs", fstatfs),
    wait!(106, "stat", stat),
    wait!(107, "lstat", lstat),
    wait!(108, "fstat", fstat),
    wait!(195, "stat64", stat64),
    wait!(196, "lstat64", lstat64),
    wait!(197, "fstat64", fstat64),
    wait!(268, "statfs64", statfs64),
    wait!(269, "fstatfs64", fstatfs64),
    wait!(300, "fstatat64", fstatat64),
    wait!(383, "statx", statx),
];

/// What the stat calls report of a place.
fn stat_of(cx: &SyscallCx, path: &Path) -> Stat {
    let meta = path.inode().metadata();
    let ns = &cx.creds().user_ns;
    Stat {
        dev: meta.dev,
        ino: meta.ino,
        mode: meta.mode,
        nlink: meta.nlink,
        uid: ns.shown(IdKind::User, meta.uid),
        gid: ns.shown(IdKind::Group, meta.gid),
        rdev: meta.rdev,
        size: meta.size,
        blksize: meta.block_size,
        blocks: meta.blocks,
        atime: meta.atime,
        mtime: meta.mtime,
        ctime: meta.ctime,
        btime: meta.btime,
        mnt_id: u64::from(path.mount.id),
        is_mount_root: std::rc::Rc::ptr_eq(&path.dentry, &path.mount.root),
    }
}

async fn by_name(cx: &SyscallCx, name: u64, follow: Follow) -> Result<Stat> {
    let name = cx.read_path(name).await?;
    Ok(stat_of(cx, &walk::resolve(cx, AT_FDCWD, &name, follow).await?))
}

fn by_fd(cx: &SyscallCx, fd: u64) -> Result<Stat> {
    Ok(stat_of(cx, cx.files().get_any(fd as i32)?.path()))
}

/// The place that an `*at` call with AT_EMPTY_PATH and AT_SYMLINK_NOFOLLOW names.
pub(super) async fn place_at(cx: &SyscallCx, at: u64, name: u64, flags: u32) -> Result<Path> {
    // With AT_EMPTY_PATH a null name is an empty one.
    let name = if flags & AT_EMPTY_PATH != 0 && name == 0 { Vec::new() } else { cx.read_path(name).await? };
    let follow = if flags & AT_SYMLINK_NOFOLLOW != 0 { Follow::No } else { Follow::Yes };
    if flags & AT_EMPTY_PATH != 0 {
        return walk::resolve_or_fd(cx, at as i32, &name, follow).await;
    }
    walk::resolve(cx, at as i32, &name, follow).await
}

async fn oldstat(cx: &SyscallCx, [name, to, ..]: Args) -> Result<i64> {
    let stat = by_name(cx, name, Follow::Yes).await?;
    put(cx, to, &stat.encode_old_stat_i386()?).await
}

async fn oldlstat(cx: &SyscallCx, [name, to, ..]: Args) -> Result<i64> {
    let stat = by_name(cx, name, Follow::No).await?;
    put(cx, to, &stat.encode_old_stat_i386()?).await
}

async fn oldfstat(cx: &SyscallCx, [fd, to, ..]: Args) -> Result<i64> {
    put(cx, to, &by_fd(cx, fd)?.encode_old_stat_i386()?).await
}

async fn stat(cx: &SyscallCx, [name, to, ..]: Args) -> Result<i64> {
    let stat = by_name(cx, name, Follow::Yes).await?;
    put(cx, to, &stat.encode_stat_i386()?).await
}

async fn lstat(cx: &SyscallCx, [name, to, ..]: Args) -> Result<i64> {
    let stat = by_name(cx, name, Follow::No).await?;
    put(cx, to, &stat.encode_stat_i386()?).await
}

async fn fstat(cx: &SyscallCx, [fd, to, ..]: Args) -> Result<i64> {
    put(cx, to, &by_fd(cx, fd)?.encode_stat_i386()?).await
}

async fn stat64(cx: &SyscallCx, [name, to, ..]: Args) -> Result<i64> {
    let stat = by_name(cx, name, Follow::Yes).await?;
    put(cx, to, &stat.encode_stat64_i386()).await
}

async fn lstat64(cx: &SyscallCx, [name, to, ..]: Args) -> Result<i64> {
    let stat = by_name(cx, name, Follow::No).await?;
    put(cx, to, &stat.encode_stat64_i386()).await
}

async fn fstat64(cx: &SyscallCx, [fd, to, ..]: Args) -> Result<i64> {
    put(cx, to, &by_fd(cx, fd)?.encode_stat64_i386()).await
}

async fn fstatat64(cx: &SyscallCx, [at, name, to, flags, ..]: Args) -> Result<i64> {
    let flags = flags as u32;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = place_at(cx, at, name, flags).await?;
    put(cx, to, &stat_of(cx, &path).encode_stat64_i386()).await
}

async fn statx(cx: &SyscallCx, [at, name, flags, mask, to, _]: Args) -> Result<i64> {
    const SYNC_TYPE: u32 = 0x6000;
    let flags = flags as u32;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | SYNC_TYPE) != 0
        || flags & SYNC_TYPE == SYNC_TYPE
        || mask as u32 & STATX_RESERVED != 0
    {
        return Err(Errno::EINVAL);
    }
    let path = place_at(cx, at, name, flags).await?;
    put(cx, to, &stat_of(cx, &path).encode_statx()).await
}

async fn put(cx: &SyscallCx, to: u64, bytes: &[u8]) -> Result<i64> {
    cx.write_user(to, bytes).await?;
    Ok(0)
}

async fn statfs_of(path: &Path) -> Result<Statfs> {
    const ST_VALID: u32 = 0x20;
    let fs = path.mount.fs().statfs().await?;
    let mut flags = ST_VALID;
    let mount_flags = path.mount.flags();
    if path.mount.read_only() {
        flags |= 1;
    }
    flags |= mount_flags & (mount::flags::NOSUID | mount::flags::NODEV | mount::flags::NOEXEC);
    for (mount_flag, st_flag) in
        [(mount::flags::NOATIME, 0x400), (mount::flags::NODIRATIME, 0x800), (mount::flags::RELATIME, 0x1000)]
    {
        if mount_flags & mount_flag != 0 {
            flags |= st_flag;
        }
    }
    Ok(Statfs {
        kind: fs.magic,
        bsize: fs.block_size,
        blocks: fs.blocks,
        bfree: fs.blocks_free,
        bavail: fs.blocks_available,
        files: fs.files,
        ffree: fs.files_free,
        fsid: fs.fsid,
        namelen: fs.name_max,
        frsize: fs.block_size,
        flags,
    })
}

async fn statfs_by_name(cx: &SyscallCx, name: u64) -> Result<Statfs> {
    let name = cx.read_path(name).await?;
    let path = walk::resolve(cx, AT_FDCWD, &name, Follow::Yes).await?;
    statfs_of(&path).await
}

async fn statfs(cx: &SyscallCx, [name, to, ..]: Args) -> Result<i64> {
    let stat = statfs_by_name(cx, name).await?;
    put(cx, to, &stat.encode_statfs_i386()?).await
}

async fn fstatfs(cx: &SyscallCx, [fd, to, ..]: Args) -> Result<i64> {
    let file = cx.files().get_any(fd as i32)?;
    put(cx, to, &statfs_of(file.path()).await?.encode_statfs_i386()?).await
}

fn check_statfs64_size(size: u64) -> Result<()> {
    // 88 is what programs with an aligned struct pass.
    if matches!(size, 84 | 88) { Ok(()) } else { Err(Errno::EINVAL) }
}

async fn statfs64(cx: &SyscallCx, [name, size, to, ..]: Args) -> Result<i64> {
    check_statfs64_size(size)?;
    let stat = statfs_by_name(cx, name).await?;
    put(cx, to, &stat.encode_statfs64_i386()).await
}

async fn fstatfs64(cx: &SyscallCx, [fd, size, to, ..]: Args) -> Result<i64> {
    check_statfs64_size(size)?;
    let file = cx.files().get_any(fd as i32)?;
    put(cx, to, &statfs_of(file.path()).await?.encode_statfs64_i386()).await
}
