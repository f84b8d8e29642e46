//! Changing attributes: chmod(2), chown(2), utimensat(2), truncate(2).

use std::rc::Rc;

use linux_abi::time::Timespec;

use super::permission::{self, May};
use super::{FileType, Inode, Path, SetAttr, names, notify};
use crate::namespace::IdKind;
use crate::{Errno, Result, SyscallCx};

/// A new time of utimensat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTime {
    /// UTIME_OMIT: as it was.
    Keep,
    /// UTIME_NOW.
    Now,
    /// This one.
    At(Timespec),
}

async fn apply(cx: &SyscallCx, path: &Path, change: SetAttr) -> Result<()> {
    path.inode().set_attr(change).await?;
    cx.kernel.vfs.notifier.changed(&path.dentry, notify::ATTRIB);
    Ok(())
}

/// chmod(2).
pub async fn chmod(cx: &SyscallCx, path: &Path, mode: u32) -> Result<()> {
    names::check_mount_writable(path)?;
    let meta = path.inode().metadata();
    if meta.file_type() == FileType::Symlink {
        return Err(Errno::EOPNOTSUPP);
    }
    let creds = cx.creds();
    permission::check_owner(&meta, &creds)?;
    let mode = permission::mode_after_chmod(&meta, mode, &creds);
    apply(cx, path, SetAttr { mode: Some(mode), ctime: cx.now(), ..SetAttr::default() }).await
}

/// chown(2).
pub async fn chown(cx: &SyscallCx, path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    names::check_mount_writable(path)?;
    let meta = path.inode().metadata();
    let ns = cx.creds().user_ns.clone();
    let kernel = |kind, id: Option<u32>| id.map(|id| ns.kernel(kind, id).ok_or(Errno::EINVAL)).transpose();
    let (uid, gid) = (kernel(IdKind::User, uid)?, kernel(IdKind::Group, gid)?);
    let mode = permission::check_chown(&meta, uid, gid, &cx.creds())?;
    apply(cx, path, SetAttr { mode, uid, gid, ctime: cx.now(), ..SetAttr::default() }).await
}

/// utimensat(2).
pub async fn set_times(cx: &SyscallCx, path: &Path, atime: NewTime, mtime: NewTime) -> Result<()> {
    if atime == NewTime::Keep && mtime == NewTime::Keep {
        return Ok(());
    }
    names::check_mount_writable(path)?;
    let meta = path.inode().metadata();
    let creds = cx.creds();
    if atime == NewTime::Now && mtime == NewTime::Now {
        // Who may write a file may touch it.
        if permission::check_owner(&meta, &creds).is_err() {
            permission::check(&meta, &creds, May::WRITE)?;
        }
    } else {
        permission::check_owner(&meta, &creds)?;
    }
    let now = cx.now();
    let value = |time| match time {
        NewTime::Keep => None,
        NewTime::Now => Some(now),
        NewTime::At(time) => Some(time),
    };
    apply(cx, path, SetAttr { atime: value(atime), mtime: value(mtime), ctime: now, ..SetAttr::default() }).await
}

/// truncate(2).
pub async fn truncate(cx: &SyscallCx, path: &Path, size: u64) -> Result<()> {
    let meta = path.inode().metadata();
    match meta.file_type() {
        FileType::Regular => {}
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    }
    names::check_mount_writable(path)?;
    permission::check(&meta, &cx.creds(), May::WRITE)?;
    resize(cx, path, size).await
}

/// ftruncate(2), for a file that is open for writing.
pub async fn resize(cx: &SyscallCx, path: &Path, size: u64) -> Result<()> {
    if i64::try_from(size).is_err() {
        return Err(Errno::EINVAL);
    }
    super::regular::check_file_limit(cx, size)?;
    let meta = path.inode().metadata();
    let now = cx.now();
    let mode = permission::mode_without_set_id(&meta);
    let change = SetAttr { size: Some(size), mode, mtime: Some(now), ctime: now, ..SetAttr::default() };
    path.inode().set_attr(change).await?;
    cx.kernel.vfs.notifier.changed(&path.dentry, notify::MODIFY);
    Ok(())
}

/// Whether xattr names of this kind may be read or written by the caller (xattr(7)).
pub fn check_xattr(cx: &SyscallCx, inode: &Rc<dyn Inode>, name: &[u8], may: May) -> Result<()> {
    let meta = inode.metadata();
    let creds = cx.creds();
    let writes = may == May::WRITE;
    if name.starts_with(b"user.") {
        if !matches!(meta.file_type(), FileType::Regular | FileType::Directory) {
            return Err(if writes { Errno::EPERM } else { Errno::ENODATA });
        }
        let sticky = meta.file_type() == FileType::Directory && meta.mode & linux_abi::stat::S_ISVTX != 0;
        if writes && sticky {
            permission::check_owner(&meta, &creds)?;
        }
        return permission::check(&meta, &creds, may);
    }
    if name.starts_with(b"trusted.") {
        let admin = creds.capable(crate::task::cap::SYS_ADMIN);
        return if admin { Ok(()) } else { Err(if writes { Errno::EPERM } else { Errno::ENODATA }) };
    }
    if name.starts_with(b"security.") || name.starts_with(b"system.") {
        if !writes {
            return Ok(());
        }
        if name.starts_with(b"system.") {
            return permission::check_owner(&meta, &creds);
        }
        return if creds.capable(crate::task::cap::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) };
    }
    Err(Errno::EOPNOTSUPP)
}
