//! open(2).

use std::any::Any;
use std::rc::Rc;

use linux_abi::fcntl::{O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME, O_NOFOLLOW, O_PATH, O_TMPFILE, O_TRUNC};
use linux_abi::stat;

use super::permission::{self, May};
use super::walk::{self, Last, Walk};
use super::{File, FileType, Follow, OpenFile, OpenFlags, Path, SetAttr, mount, names};
use crate::task::Credentials;
use crate::{Errno, Result, SyscallCx};

/// Opens by name. `mode` is that of a file it may create; the umask is applied here.
pub async fn open(cx: &SyscallCx, at: i32, name: &[u8], flags: OpenFlags, mode: u32) -> Result<Rc<OpenFile>> {
    if flags.has(O_PATH) {
        let follow = if flags.has(O_NOFOLLOW) { Follow::No } else { Follow::Yes };
        let path = walk::resolve(cx, at, name, follow).await?;
        if flags.has(O_DIRECTORY) && !path.dentry.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        return Ok(OpenFile::new(&cx.kernel.vfs, Rc::new(PathOnly), path, flags));
    }
    if flags.has(O_TMPFILE) {
        let dir = walk::resolve(cx, at, name, Follow::Yes).await?;
        if !dir.dentry.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let path = names::create_unnamed(cx, &dir, mode, !flags.has(O_EXCL)).await?;
        let file = Rc::clone(path.inode()).open(cx, flags).await?;
        let kept = flags.0 & !(O_EXCL | linux_abi::fcntl::O_NOCTTY | linux_abi::fcntl::O_CLOEXEC);
        return Ok(OpenFile::new(&cx.kernel.vfs, file, path, OpenFlags(kept)));
    }
    let (path, created) = if flags.has(O_CREAT) {
        find_or_create(cx, at, name, flags, mode).await?
    } else {
        let follow = if flags.has(O_NOFOLLOW) { Follow::No } else { Follow::Yes };
        (walk::resolve(cx, at, name, follow).await?, Created::No)
    };
    open_checked(cx, path, flags, created).await
}

/// Opens what is at a place, with all checks of open(2).
pub async fn open_path(cx: &SyscallCx, path: Path, flags: OpenFlags) -> Result<Rc<OpenFile>> {
    open_checked(cx, path, flags, Created::No).await
}

/// Opens a program for execve(2): a regular file that may be executed.
pub async fn open_exec(cx: &SyscallCx, at: i32, name: &[u8], follow: Follow) -> Result<Rc<OpenFile>> {
    let path = walk::resolve(cx, at, name, follow).await?;
    open_exec_path(cx, path).await
}

/// The same for a place that is known already (fexecve(3)).
pub async fn open_exec_path(cx: &SyscallCx, path: Path) -> Result<Rc<OpenFile>> {
    let meta = path.inode().metadata();
    if meta.file_type() == FileType::Symlink {
        return Err(Errno::ELOOP);
    }
    if meta.file_type() != FileType::Regular || path.mount.flags() & mount::flags::NOEXEC != 0 {
        return Err(Errno::EACCES);
    }
    permission::check(&meta, &cx.creds(), May::EXEC)?;
    let file = Rc::clone(path.inode()).open(cx, OpenFlags(0)).await?;
    Ok(OpenFile::new(&cx.kernel.vfs, file, path, OpenFlags(0)))
}

/// Whether this open made the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Created {
    Yes,
    No,
}

async fn find_or_create(cx: &SyscallCx, at: i32, name: &[u8], flags: OpenFlags, mode: u32) -> Result<(Path, Created)> {
    let mut walk = Walk::start(cx, at, name)?;
    let mut name = name.to_vec();
    loop {
        let parent = walk.parent(&name).await?;
        let last = match parent.last {
            Last::Name(last) => last,
            Last::Dot | Last::DotDot if flags.has(O_EXCL) => return Err(Errno::EEXIST),
            // A directory cannot be created or written by open(2).
            Last::Dot | Last::DotDot => return Err(Errno::EISDIR),
        };
        if parent.slash {
            return Err(Errno::EISDIR);
        }
        let found = walk::child(cx, &parent.dir, &last).await?;
        let Some(found) = found else {
            let mode = stat::S_IFREG | (mode & 0o7777 & !cx.fs().umask());
            match names::create_in(cx, &parent.dir, &last, mode, 0).await {
                Ok(path) => return Ok((path, Created::Yes)),
                // Somebody was faster.
                Err(Errno::EEXIST) if !flags.has(O_EXCL) => continue,
                Err(errno) => return Err(errno),
            }
        };
        if flags.has(O_EXCL) {
            return Err(Errno::EEXIST);
        }
        if found.inode().metadata().file_type() != FileType::Symlink {
            return Ok((found, Created::No));
        }
        if flags.has(O_NOFOLLOW) {
            return Err(Errno::ELOOP);
        }
        match walk.follow(found).await? {
            Some(target) => name = target,
            None => return Ok((walk.at().clone(), Created::No)),
        }
    }
}

async fn open_checked(cx: &SyscallCx, path: Path, flags: OpenFlags, created: Created) -> Result<Rc<OpenFile>> {
    let inode = Rc::clone(path.inode());
    let meta = inode.metadata();
    let kind = meta.file_type();
    if flags.has(O_DIRECTORY) && kind != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    if kind == FileType::Symlink {
        return Err(Errno::ELOOP);
    }
    if kind == FileType::Directory && (flags.writable() || flags.has(O_CREAT)) {
        return Err(Errno::EISDIR);
    }
    let truncates = flags.has(O_TRUNC) && kind == FileType::Regular && created == Created::No;
    if created == Created::No {
        check_open(&path, &meta, flags, truncates, &cx.creds())?;
    }
    let vfs = &cx.kernel.vfs;
    let file: Rc<dyn File> = match kind {
        FileType::Directory => Rc::new(super::directory::Directory),
        FileType::Socket => return Err(Errno::ENXIO),
        FileType::CharDevice | FileType::BlockDevice => {
            if path.mount.flags() & mount::flags::NODEV != 0 {
                return Err(Errno::EACCES);
            }
            vfs.drivers.find(kind, meta.rdev)?.open(cx, meta.rdev, &path, flags).await?
        }
        FileType::Fifo => crate::fs::pipe::open_fifo(cx, &inode, flags).await?,
        FileType::Regular | FileType::Symlink => Rc::clone(&inode).open(cx, flags).await?,
    };
    if truncates {
        let now = cx.now();
        let mode = permission::mode_without_set_id(&meta);
        inode.set_attr(SetAttr { size: Some(0), mode, mtime: Some(now), ctime: now, ..SetAttr::default() }).await?;
        vfs.notifier.changed(&path.dentry, super::notify::MODIFY);
    }
    vfs.notifier.changed(&path.dentry, super::notify::OPEN);
    // The flags that only open(2) itself looks at are not kept.
    let kept = flags.0 & !(O_CREAT | O_EXCL | O_TRUNC | linux_abi::fcntl::O_NOCTTY | linux_abi::fcntl::O_CLOEXEC);
    Ok(OpenFile::new(vfs, file, path, OpenFlags(kept)))
}

fn check_open(
    path: &Path,
    meta: &super::Metadata,
    flags: OpenFlags,
    truncates: bool,
    creds: &Credentials,
) -> Result<()> {
    // Access mode 3 asks for both, for ioctl(2) only.
    let both = flags.0 & linux_abi::fcntl::O_ACCMODE == 3;
    let mut may = 0;
    if flags.readable() || both {
        may |= May::READ.0;
    }
    if flags.writable() || both || truncates {
        may |= May::WRITE.0;
        let on_disk = matches!(meta.file_type(), FileType::Regular | FileType::Directory);
        if on_disk && path.mount.read_only() {
            return Err(Errno::EROFS);
        }
    }
    permission::check(meta, creds, May(may))?;
    if flags.has(O_NOATIME) {
        permission::check_owner(meta, creds)?;
    }
    Ok(())
}

/// What an O_PATH descriptor reads and writes: nothing.
struct PathOnly;

impl File for PathOnly {
    fn as_any(&self) -> &dyn Any {
        self
    }
}
