//! Names: mkdir(2), mknod(2), link(2), symlink(2), readlink(2), rename(2), unlink(2), rmdir(2).

use linux_abi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW};
use linux_abi::stat;

use super::table::{Args, Row, wait};
use crate::task::cap;
use crate::vfs::names::{self, Remove};
use crate::vfs::{FileType, Follow, walk};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(9, "link", link),
    wait!(10, "unlink", unlink),
    wait!(14, "mknod", mknod),
    wait!(38, "rename", rename),
    wait!(39, "mkdir", mkdir),
    wait!(40, "rmdir", rmdir),
    wait!(83, "symlink", symlink),
    wait!(85, "readlink", readlink),
    wait!(296, "mkdirat", mkdirat),
    wait!(297, "mknodat", mknodat),
    wait!(301, "unlinkat", unlinkat),
    wait!(302, "renameat", renameat),
    wait!(303, "linkat", linkat),
    wait!(304, "symlinkat", symlinkat),
    wait!(305, "readlinkat", readlinkat),
    wait!(353, "renameat2", renameat2, "RENAME_WHITEOUT is EINVAL"),
];

const CWD: u64 = AT_FDCWD as u32 as u64;

async fn mkdir(cx: &SyscallCx, [name, mode, ..]: Args) -> Result<i64> {
    mkdirat(cx, [CWD, name, mode, 0, 0, 0]).await
}

async fn mkdirat(cx: &SyscallCx, [at, name, mode, ..]: Args) -> Result<i64> {
    let name = cx.read_path(name).await?;
    names::create(cx, at as i32, &name, stat::S_IFDIR | (mode as u32 & 0o1777), 0).await?;
    Ok(0)
}

async fn mknod(cx: &SyscallCx, [name, mode, dev, ..]: Args) -> Result<i64> {
    mknodat(cx, [CWD, name, mode, dev, 0, 0]).await
}

async fn mknodat(cx: &SyscallCx, [at, name, mode, dev, ..]: Args) -> Result<i64> {
    let name = cx.read_path(name).await?;
    let mut mode = mode as u32;
    if mode & stat::S_IFMT == 0 {
        mode |= stat::S_IFREG;
    }
    match FileType::from_mode(mode) {
        None | Some(FileType::Symlink) => return Err(Errno::EINVAL),
        Some(FileType::Directory) => return Err(Errno::EPERM),
        Some(_) => {}
    }
    names::create(cx, at as i32, &name, mode & (stat::S_IFMT | 0o7777), dev & 0xffff_ffff).await?;
    Ok(0)
}

async fn unlink(cx: &SyscallCx, [name, ..]: Args) -> Result<i64> {
    let name = cx.read_path(name).await?;
    names::remove(cx, AT_FDCWD, &name, Remove::File).await?;
    Ok(0)
}

async fn rmdir(cx: &SyscallCx, [name, ..]: Args) -> Result<i64> {
    let name = cx.read_path(name).await?;
    names::remove(cx, AT_FDCWD, &name, Remove::Directory).await?;
    Ok(0)
}

async fn unlinkat(cx: &SyscallCx, [at, name, flags, ..]: Args) -> Result<i64> {
    if flags as u32 & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    let what = if flags as u32 & AT_REMOVEDIR != 0 { Remove::Directory } else { Remove::File };
    let name = cx.read_path(name).await?;
    names::remove(cx, at as i32, &name, what).await?;
    Ok(0)
}

async fn rename(cx: &SyscallCx, [from, to, ..]: Args) -> Result<i64> {
    renameat2(cx, [CWD, from, CWD, to, 0, 0]).await
}

async fn renameat(cx: &SyscallCx, [from_at, from, to_at, to, ..]: Args) -> Result<i64> {
    renameat2(cx, [from_at, from, to_at, to, 0, 0]).await
}

async fn renameat2(cx: &SyscallCx, [from_at, from, to_at, to, flags, _]: Args) -> Result<i64> {
    let from = cx.read_path(from).await?;
    let to = cx.read_path(to).await?;
    names::rename(cx, from_at as i32, &from, to_at as i32, &to, flags as u32).await?;
    Ok(0)
}

async fn link(cx: &SyscallCx, [from, to, ..]: Args) -> Result<i64> {
    linkat(cx, [CWD, from, CWD, to, 0, 0]).await
}

async fn linkat(cx: &SyscallCx, [from_at, from, to_at, to, flags, _]: Args) -> Result<i64> {
    let flags = flags as u32;
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let from = cx.read_path(from).await?;
    if flags & AT_EMPTY_PATH != 0 && from.is_empty() && !cx.creds().capable(cap::DAC_READ_SEARCH) {
        return Err(Errno::ENOENT);
    }
    let to = cx.read_path(to).await?;
    let source = names::link_source(cx, from_at as i32, &from, flags).await?;
    names::link(cx, &source, to_at as i32, &to).await?;
    Ok(0)
}

async fn symlink(cx: &SyscallCx, [target, name, ..]: Args) -> Result<i64> {
    symlinkat(cx, [target, CWD, name, 0, 0, 0]).await
}

async fn symlinkat(cx: &SyscallCx, [target, at, name, ..]: Args) -> Result<i64> {
    let target = cx.read_path(target).await?;
    let name = cx.read_path(name).await?;
    names::symlink(cx, &target, at as i32, &name).await?;
    Ok(0)
}

async fn readlink(cx: &SyscallCx, [name, to, size, ..]: Args) -> Result<i64> {
    readlinkat(cx, [CWD, name, to, size, 0, 0]).await
}

async fn readlinkat(cx: &SyscallCx, [at, name, to, size, ..]: Args) -> Result<i64> {
    let size = usize::try_from(size as i32).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let name = cx.read_path(name).await?;
    // An empty name means the link that an O_PATH descriptor refers to.
    let empty = name.is_empty();
    let path = walk::resolve_or_fd(cx, at as i32, &name, Follow::No).await?;
    if path.inode().metadata().file_type() != FileType::Symlink {
        return Err(if empty { Errno::ENOENT } else { Errno::EINVAL });
    }
    let target = path.inode().read_link(cx).await?;
    let target = target.get(..size).unwrap_or(&target);
    cx.write_user(to, target).await?;
    Ok(target.len() as i64)
}
