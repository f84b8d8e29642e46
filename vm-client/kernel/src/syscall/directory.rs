//! Directories: getdents(2), chdir(2), getcwd(2), chroot(2), umask(2).

use linux_abi::fcntl::AT_FDCWD;
use linux_abi::getdents::LinuxDirent;

use super::attr::may_chroot;
use super::table::{Args, Row, now, wait};
use crate::vfs::permission::{self, May};
use crate::vfs::{Dirent, FileType, Follow, Path, walk};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(12, "chdir", chdir),
    now!(60, "umask", umask),
    wait!(61, "chroot", chroot),
    now!(133, "fchdir", fchdir),
    wait!(141, "getdents", getdents),
    wait!(183, "getcwd", getcwd),
    wait!(220, "getdents64", getdents64),
];

fn encode(entry: &Dirent) -> LinuxDirent<'_> {
    LinuxDirent { ino: entry.ino, next: entry.next, kind: entry.kind.dirent_type(), name: &entry.name }
}

async fn getdents(cx: &SyscallCx, args: Args) -> Result<i64> {
    read_entries(cx, args, |entry| encode(entry).encode_i386()).await
}

async fn getdents64(cx: &SyscallCx, args: Args) -> Result<i64> {
    read_entries(cx, args, |entry| encode(entry).encode_64()).await
}

async fn read_entries(cx: &SyscallCx, [fd, to, size, ..]: Args, encode: impl Fn(&Dirent) -> Vec<u8>) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    if file.inode().metadata().file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    let size = usize::try_from(size as u32).unwrap_or(usize::MAX).min(64 * 1024);
    // What was read counts only once it was copied out: a fault leaves the position.
    let before = *file.lock_position().await;
    let mut cookie = before;
    let mut out = Vec::new();
    'fill: loop {
        let entries = if file.path().dentry.unlinked() {
            return Err(Errno::ENOENT);
        } else {
            file.inode().read_dir(cx, cookie).await?
        };
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            let encoded = encode(entry);
            if out.len() + encoded.len() > size {
                if out.is_empty() {
                    return Err(Errno::EINVAL);
                }
                break 'fill;
            }
            out.extend_from_slice(&encoded);
            cookie = entry.next;
        }
    }
    cx.write_user(to, &out).await?;
    let mut position = file.lock_position().await;
    if *position == before {
        *position = cookie;
    }
    Ok(out.len() as i64)
}

fn check_enter(cx: &SyscallCx, path: &Path) -> Result<()> {
    let meta = path.inode().metadata();
    if meta.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    permission::check(&meta, &cx.creds(), May::EXEC)
}

async fn chdir(cx: &SyscallCx, [name, ..]: Args) -> Result<i64> {
    let name = cx.read_path(name).await?;
    let path = walk::resolve(cx, AT_FDCWD, &name, Follow::Yes).await?;
    check_enter(cx, &path)?;
    cx.fs().set_cwd(path);
    Ok(0)
}

fn fchdir(cx: &SyscallCx, [fd, ..]: Args) -> Result<i64> {
    let file = cx.files().get_any(fd as i32)?;
    check_enter(cx, file.path())?;
    cx.fs().set_cwd(file.path().clone());
    Ok(0)
}

async fn chroot(cx: &SyscallCx, [name, ..]: Args) -> Result<i64> {
    let name = cx.read_path(name).await?;
    let path = walk::resolve(cx, AT_FDCWD, &name, Follow::Yes).await?;
    check_enter(cx, &path)?;
    may_chroot(cx)?;
    cx.fs().set_root(path);
    Ok(0)
}

async fn getcwd(cx: &SyscallCx, [to, size, ..]: Args) -> Result<i64> {
    let fs = cx.fs();
    let cwd = fs.cwd();
    if cwd.dentry.unlinked() {
        return Err(Errno::ENOENT);
    }
    let mut name = cwd.display(&fs.root());
    name.push(0);
    if name.len() > 4096 {
        return Err(Errno::ENAMETOOLONG);
    }
    if name.len() as u64 > size {
        return Err(Errno::ERANGE);
    }
    cx.write_user(to, &name).await?;
    Ok(name.len() as i64)
}

fn umask(cx: &SyscallCx, [mask, ..]: Args) -> Result<i64> {
    Ok(i64::from(cx.fs().set_umask(mask as u32)))
}
