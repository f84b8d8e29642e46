//! Extended attributes (xattr(7)).

use linux_abi::fcntl::AT_FDCWD;

use super::table::{Args, Row, wait};
use crate::vfs::attr::check_xattr;
use crate::vfs::permission::May;
use crate::vfs::{Follow, Path, names, notify, walk};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(226, "setxattr", setxattr),
    wait!(227, "lsetxattr", lsetxattr),
    wait!(228, "fsetxattr", fsetxattr),
    wait!(229, "getxattr", getxattr),
    wait!(230, "lgetxattr", lgetxattr),
    wait!(231, "fgetxattr", fgetxattr),
    wait!(232, "listxattr", listxattr),
    wait!(233, "llistxattr", llistxattr),
    wait!(234, "flistxattr", flistxattr),
    wait!(235, "removexattr", removexattr),
    wait!(236, "lremovexattr", lremovexattr),
    wait!(237, "fremovexattr", fremovexattr),
];

const NAME_MAX: usize = 255;
const SIZE_MAX: u64 = 65_536;

async fn named(cx: &SyscallCx, name: u64, follow: Follow) -> Result<Path> {
    let name = cx.read_path(name).await?;
    walk::resolve(cx, AT_FDCWD, &name, follow).await
}

fn opened(cx: &SyscallCx, fd: u64) -> Result<Path> {
    Ok(cx.files().get(fd as i32)?.path().clone())
}

async fn attribute_name(cx: &SyscallCx, from: u64) -> Result<Vec<u8>> {
    let name = cx.read_cstr(from, NAME_MAX, Errno::ERANGE).await?;
    if name.is_empty() { Err(Errno::ERANGE) } else { Ok(name) }
}

async fn set(cx: &SyscallCx, path: Path, [_, name, value, size, flags, _]: Args) -> Result<i64> {
    if flags & !3 != 0 {
        return Err(Errno::EINVAL);
    }
    let name = attribute_name(cx, name).await?;
    if size > SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let mut data = vec![0; size as usize];
    cx.read_user(value, &mut data).await?;
    let inode = names::writable_inode(&path)?;
    check_xattr(cx, inode, &name, May::WRITE)?;
    inode.set_xattr(&name, &data, flags as u32, cx.now()).await?;
    cx.kernel.vfs.notifier.changed(&path.dentry, notify::ATTRIB);
    Ok(0)
}

async fn get(cx: &SyscallCx, path: Path, [_, name, value, size, ..]: Args) -> Result<i64> {
    let name = attribute_name(cx, name).await?;
    check_xattr(cx, path.inode(), &name, May::READ)?;
    let data = path.inode().get_xattr(&name).await?;
    give(cx, value, size, &data).await
}

async fn list(cx: &SyscallCx, path: Path, [_, to, size, ..]: Args) -> Result<i64> {
    let admin = cx.creds().capable(crate::task::cap::SYS_ADMIN);
    let mut out = Vec::new();
    for name in path.inode().list_xattr().await? {
        if admin || !name.starts_with(b"trusted.") {
            out.extend_from_slice(&name);
            out.push(0);
        }
    }
    give(cx, to, size, &out).await
}

/// Copies out, or only tells the size where none was given.
async fn give(cx: &SyscallCx, to: u64, size: u64, data: &[u8]) -> Result<i64> {
    if size != 0 {
        if data.len() as u64 > size {
            return Err(Errno::ERANGE);
        }
        cx.write_user(to, data).await?;
    }
    Ok(data.len() as i64)
}

async fn remove(cx: &SyscallCx, path: Path, [_, name, ..]: Args) -> Result<i64> {
    let name = attribute_name(cx, name).await?;
    let inode = names::writable_inode(&path)?;
    check_xattr(cx, inode, &name, May::WRITE)?;
    inode.remove_xattr(&name, cx.now()).await?;
    cx.kernel.vfs.notifier.changed(&path.dentry, notify::ATTRIB);
    Ok(0)
}

async fn setxattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    set(cx, named(cx, args[0], Follow::Yes).await?, args).await
}
async fn lsetxattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    set(cx, named(cx, args[0], Follow::No).await?, args).await
}
async fn fsetxattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    set(cx, opened(cx, args[0])?, args).await
}
async fn getxattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    get(cx, named(cx, args[0], Follow::Yes).await?, args).await
}
async fn lgetxattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    get(cx, named(cx, args[0], Follow::No).await?, args).await
}
async fn fgetxattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    get(cx, opened(cx, args[0])?, args).await
}
async fn listxattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    list(cx, named(cx, args[0], Follow::Yes).await?, args).await
}
async fn llistxattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    list(cx, named(cx, args[0], Follow::No).await?, args).await
}
async fn flistxattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    list(cx, opened(cx, args[0])?, args).await
}
async fn removexattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    remove(cx, named(cx, args[0], Follow::Yes).await?, args).await
}
async fn lremovexattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    remove(cx, named(cx, args[0], Follow::No).await?, args).await
}
async fn fremovexattr(cx: &SyscallCx, args: Args) -> Result<i64> {
    remove(cx, opened(cx, args[0])?, args).await
}
