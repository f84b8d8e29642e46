//! Attributes: access(2), chmod(2), chown(2), utime(2), truncate(2).

use linux_abi::fcntl::{AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use linux_abi::layout::Reader;
use linux_abi::time::Timespec;

use super::read_write::{offset, wide};
use super::stat::place_at;
use super::table::{Args, Row, wait};
use crate::task::{Credentials, cap};
use crate::vfs::attr::{self, NewTime};
use crate::vfs::permission::{self, May};
use crate::vfs::{FileType, Path, mount};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(15, "chmod", chmod),
    wait!(16, "lchown", lchown),
    wait!(30, "utime", utime),
    wait!(33, "access", access),
    wait!(92, "truncate", truncate),
    wait!(93, "ftruncate", ftruncate),
    wait!(94, "fchmod", fchmod),
    wait!(95, "fchown", fchown),
    wait!(182, "chown", chown),
    wait!(193, "truncate64", truncate64),
    wait!(194, "ftruncate64", ftruncate64),
    wait!(198, "lchown32", lchown32),
    wait!(207, "fchown32", fchown32),
    wait!(212, "chown32", chown32),
    wait!(271, "utimes", utimes),
    wait!(298, "fchownat", fchownat),
    wait!(299, "futimesat", futimesat),
    wait!(306, "fchmodat", fchmodat),
    wait!(307, "faccessat", faccessat),
    wait!(320, "utimensat", utimensat),
    wait!(412, "utimensat_time64", utimensat_time64),
    wait!(439, "faccessat2", faccessat2),
    wait!(452, "fchmodat2", fchmodat2),
];

const CWD: u64 = AT_FDCWD as u32 as u64;
const NOFOLLOW: u64 = AT_SYMLINK_NOFOLLOW as u64;

// access(2)

async fn access(cx: &SyscallCx, [name, mode, ..]: Args) -> Result<i64> {
    faccessat2(cx, [CWD, name, mode, 0, 0, 0]).await
}

async fn faccessat(cx: &SyscallCx, [at, name, mode, ..]: Args) -> Result<i64> {
    faccessat2(cx, [at, name, mode, 0, 0, 0]).await
}

async fn faccessat2(cx: &SyscallCx, [at, name, mode, flags, ..]: Args) -> Result<i64> {
    let flags = flags as u32;
    if mode & !7 != 0 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = place_at(cx, at, name, flags).await?;
    let creds = cx.creds();
    if flags & AT_EACCESS != 0 {
        check_access(&path, &creds, mode as u32)?;
    } else {
        check_access(&path, &real(&creds), mode as u32)?;
    }
    Ok(0)
}

/// The credentials that access(2) asks about: the real ids, and for non-root no capabilities.
fn real(creds: &Credentials) -> Credentials {
    let cap_effective = if creds.uid == creds.user_ns.root() { creds.cap_permitted } else { 0 };
    Credentials { fsuid: creds.uid, fsgid: creds.gid, cap_effective, ..creds.clone() }
}

fn check_access(path: &Path, creds: &Credentials, mode: u32) -> Result<()> {
    let meta = path.inode().metadata();
    let kind = meta.file_type();
    if mode & May::EXEC.0 != 0 && kind == FileType::Regular && path.mount.flags() & mount::flags::NOEXEC != 0 {
        return Err(Errno::EACCES);
    }
    permission::check(&meta, creds, May(mode))?;
    let special = matches!(kind, FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket);
    if mode & May::WRITE.0 != 0 && !special && path.mount.read_only() {
        return Err(Errno::EROFS);
    }
    Ok(())
}

// chmod(2)

async fn chmod(cx: &SyscallCx, [name, mode, ..]: Args) -> Result<i64> {
    fchmodat2(cx, [CWD, name, mode, 0, 0, 0]).await
}

async fn fchmodat(cx: &SyscallCx, [at, name, mode, ..]: Args) -> Result<i64> {
    fchmodat2(cx, [at, name, mode, 0, 0, 0]).await
}

async fn fchmodat2(cx: &SyscallCx, [at, name, mode, flags, ..]: Args) -> Result<i64> {
    if flags as u32 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = place_at(cx, at, name, flags as u32).await?;
    attr::chmod(cx, &path, mode as u32).await?;
    Ok(0)
}

async fn fchmod(cx: &SyscallCx, [fd, mode, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    attr::chmod(cx, file.path(), mode as u32).await?;
    Ok(0)
}

// chown(2)

fn id32(id: u64) -> Option<u32> {
    (id as u32 != u32::MAX).then_some(id as u32)
}

fn id16(id: u64) -> Option<u32> {
    (id as u16 != u16::MAX).then_some(u32::from(id as u16))
}

async fn change_owner(
    cx: &SyscallCx,
    at: u64,
    name: u64,
    flags: u64,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<i64> {
    if flags as u32 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = place_at(cx, at, name, flags as u32).await?;
    attr::chown(cx, &path, uid, gid).await?;
    Ok(0)
}

async fn chown(cx: &SyscallCx, [name, uid, gid, ..]: Args) -> Result<i64> {
    change_owner(cx, CWD, name, 0, id16(uid), id16(gid)).await
}

async fn lchown(cx: &SyscallCx, [name, uid, gid, ..]: Args) -> Result<i64> {
    change_owner(cx, CWD, name, NOFOLLOW, id16(uid), id16(gid)).await
}

async fn chown32(cx: &SyscallCx, [name, uid, gid, ..]: Args) -> Result<i64> {
    change_owner(cx, CWD, name, 0, id32(uid), id32(gid)).await
}

async fn lchown32(cx: &SyscallCx, [name, uid, gid, ..]: Args) -> Result<i64> {
    change_owner(cx, CWD, name, NOFOLLOW, id32(uid), id32(gid)).await
}

async fn fchownat(cx: &SyscallCx, [at, name, uid, gid, flags, _]: Args) -> Result<i64> {
    change_owner(cx, at, name, flags, id32(uid), id32(gid)).await
}

async fn fchown(cx: &SyscallCx, [fd, uid, gid, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    attr::chown(cx, file.path(), id16(uid), id16(gid)).await?;
    Ok(0)
}

async fn fchown32(cx: &SyscallCx, [fd, uid, gid, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    attr::chown(cx, file.path(), id32(uid), id32(gid)).await?;
    Ok(0)
}

// utime(2)

async fn read_times<const N: usize>(
    cx: &SyscallCx,
    from: u64,
    decode: impl Fn(Reader<'_>) -> Result<(NewTime, NewTime)>,
) -> Result<(NewTime, NewTime)> {
    if from == 0 {
        return Ok((NewTime::Now, NewTime::Now));
    }
    let mut raw = [0; N];
    cx.read_user(from, &mut raw).await?;
    decode(Reader::new(&raw))
}

/// A nanosecond field of utimensat(2) with its two special values.
fn nano_time(sec: i64, nsec: u32) -> Result<NewTime> {
    const UTIME_NOW: u32 = 0x3fff_ffff;
    const UTIME_OMIT: u32 = 0x3fff_fffe;
    match nsec {
        UTIME_NOW => Ok(NewTime::Now),
        UTIME_OMIT => Ok(NewTime::Keep),
        0..=999_999_999 => Ok(NewTime::At(Timespec { sec, nsec })),
        _ => Err(Errno::EINVAL),
    }
}

fn micro_time(sec: i32, usec: u32) -> Result<NewTime> {
    if usec >= 1_000_000 {
        return Err(Errno::EINVAL);
    }
    Ok(NewTime::At(Timespec { sec: i64::from(sec), nsec: usec * 1000 }))
}

async fn utime(cx: &SyscallCx, [name, times, ..]: Args) -> Result<i64> {
    let second = |sec: i32| NewTime::At(Timespec { sec: i64::from(sec), nsec: 0 });
    let (atime, mtime) = read_times::<8>(cx, times, |r| Ok((second(r.i32(0)), second(r.i32(4))))).await?;
    let path = place_at(cx, CWD, name, 0).await?;
    attr::set_times(cx, &path, atime, mtime).await?;
    Ok(0)
}

async fn utimes(cx: &SyscallCx, [name, times, ..]: Args) -> Result<i64> {
    futimesat(cx, [CWD, name, times, 0, 0, 0]).await
}

async fn futimesat(cx: &SyscallCx, [at, name, times, ..]: Args) -> Result<i64> {
    let decode = |r: Reader<'_>| Ok((micro_time(r.i32(0), r.u32(4))?, micro_time(r.i32(8), r.u32(12))?));
    let (atime, mtime) = read_times::<16>(cx, times, decode).await?;
    set_times_at(cx, at, name, 0, atime, mtime).await
}

async fn utimensat(cx: &SyscallCx, [at, name, times, flags, ..]: Args) -> Result<i64> {
    let decode =
        |r: Reader<'_>| Ok((nano_time(i64::from(r.i32(0)), r.u32(4))?, nano_time(i64::from(r.i32(8)), r.u32(12))?));
    let (atime, mtime) = read_times::<16>(cx, times, decode).await?;
    set_times_at(cx, at, name, flags, atime, mtime).await
}

async fn utimensat_time64(cx: &SyscallCx, [at, name, times, flags, ..]: Args) -> Result<i64> {
    let decode = |r: Reader<'_>| Ok((nano_time(r.i64(0), r.u32(8))?, nano_time(r.i64(16), r.u32(24))?));
    let (atime, mtime) = read_times::<32>(cx, times, decode).await?;
    set_times_at(cx, at, name, flags, atime, mtime).await
}

async fn set_times_at(cx: &SyscallCx, at: u64, name: u64, flags: u64, atime: NewTime, mtime: NewTime) -> Result<i64> {
    if flags as u32 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    // Without a name the descriptor itself is meant (futimens(3)).
    let path = if name == 0 && at as i32 != AT_FDCWD {
        cx.files().get(at as i32)?.path().clone()
    } else {
        place_at(cx, at, name, flags as u32).await?
    };
    attr::set_times(cx, &path, atime, mtime).await?;
    Ok(0)
}

// truncate(2)

async fn truncate_to(cx: &SyscallCx, name: u64, size: u64) -> Result<i64> {
    let path = place_at(cx, CWD, name, 0).await?;
    attr::truncate(cx, &path, size).await?;
    Ok(0)
}

async fn ftruncate_to(cx: &SyscallCx, fd: u64, size: u64) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    if !file.flags().writable() || file.inode().metadata().file_type() != FileType::Regular {
        return Err(Errno::EINVAL);
    }
    attr::resize(cx, file.path(), size).await?;
    Ok(0)
}

fn size32(size: u64) -> Result<u64> {
    u64::try_from(size as i32).map_err(|_| Errno::EINVAL)
}

async fn truncate(cx: &SyscallCx, [name, size, ..]: Args) -> Result<i64> {
    truncate_to(cx, name, size32(size)?).await
}

async fn ftruncate(cx: &SyscallCx, [fd, size, ..]: Args) -> Result<i64> {
    ftruncate_to(cx, fd, size32(size)?).await
}

async fn truncate64(cx: &SyscallCx, [name, low, high, ..]: Args) -> Result<i64> {
    truncate_to(cx, name, offset(low, high)?).await
}

async fn ftruncate64(cx: &SyscallCx, [fd, low, high, ..]: Args) -> Result<i64> {
    ftruncate_to(cx, fd, offset(low, high)?).await
}

/// Whether the caller may change the root directory (chroot(2)).
pub(super) fn may_chroot(cx: &SyscallCx) -> Result<()> {
    if cx.creds().has(cap::SYS_CHROOT) { Ok(()) } else { Err(Errno::EPERM) }
}

/// A length given in two registers; EINVAL if it is not positive.
pub(super) fn length(low: u64, high: u64) -> Result<u64> {
    let len = wide(low, high);
    if len == 0 || i64::try_from(len).is_err() { Err(Errno::EINVAL) } else { Ok(len) }
}
