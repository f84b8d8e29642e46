//! Creating, linking, renaming and removing names.

use std::rc::Rc;

use linux_abi::stat;

use super::permission::{self, May};
use super::walk::{self, Follow, Last, Parent};
use super::{Dentry, FileType, Inode, Metadata, Path, mount, notify};
use crate::task::cap;
use crate::{Errno, Result, SyscallCx};

/// Do not replace what is there.
pub const RENAME_NOREPLACE: u32 = 1;
/// Let two names change places.
pub const RENAME_EXCHANGE: u32 = 2;

/// What an unlinkat(2) removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remove {
    /// A directory that is empty.
    Directory,
    /// Anything else.
    File,
}

/// mknodat(2) and mkdirat(2): `mode` has the type bits; the umask is applied here.
pub async fn create(cx: &SyscallCx, at: i32, name: &[u8], mode: u32, rdev: u64) -> Result<Path> {
    let parent = walk::resolve_parent(cx, at, name).await?;
    let is_dir = mode & stat::S_IFMT == stat::S_IFDIR;
    let last = new_name(cx, &parent, if is_dir { Slash::Allowed } else { Slash::Refused }).await?;
    let device = matches!(FileType::from_mode(mode), Some(FileType::CharDevice | FileType::BlockDevice));
    if device && !cx.creds().capable(cap::MKNOD) {
        return Err(Errno::EPERM);
    }
    let mode = mode & !(cx.fs().umask() & 0o777);
    create_in(cx, &parent.dir, &last, mode, rdev).await
}

/// Creates a file of any type in a directory; `mode` is complete.
pub(super) async fn create_in(cx: &SyscallCx, dir: &Path, name: &[u8], mode: u32, rdev: u64) -> Result<Path> {
    let vfs = &cx.kernel.vfs;
    let _guard = dir.dentry.lock.lock().await;
    check_change(cx, dir)?;
    if vfs.dentries.lookup_locked(cx, &dir.dentry, name).await?.is_some() {
        return Err(Errno::EEXIST);
    }
    if dir.dentry.unlinked() {
        return Err(Errno::ENOENT);
    }
    let inode = dir.inode().create(name, mode, rdev, &cx.creds(), cx.now()).await?;
    let dentry = vfs.dentries.insert(&dir.dentry, name, inode);
    vfs.notifier.name(&dentry, notify::CREATE, 0);
    Ok(Path { mount: Rc::clone(&dir.mount), dentry })
}

/// Makes a file without a name, for O_TMPFILE; `mode` has no type bits, and the umask is applied here.
pub(super) async fn create_unnamed(cx: &SyscallCx, dir: &Path, mode: u32, linkable: bool) -> Result<Path> {
    check_change(cx, dir)?;
    let mode = stat::S_IFREG | (mode & 0o7777 & !cx.fs().umask());
    let inode = dir.inode().create_unnamed(mode, &cx.creds(), cx.now()).await?;
    let dentry = Dentry::unnamed_child(&dir.dentry, inode, linkable);
    Ok(Path { mount: Rc::clone(&dir.mount), dentry })
}

/// symlinkat(2).
pub async fn symlink(cx: &SyscallCx, target: &[u8], at: i32, name: &[u8]) -> Result<()> {
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let parent = walk::resolve_parent(cx, at, name).await?;
    let last = new_name(cx, &parent, Slash::Refused).await?;
    let vfs = &cx.kernel.vfs;
    let dir = &parent.dir;
    let _guard = dir.dentry.lock.lock().await;
    check_change(cx, dir)?;
    if vfs.dentries.lookup_locked(cx, &dir.dentry, &last).await?.is_some() {
        return Err(Errno::EEXIST);
    }
    let inode = dir.inode().symlink(&last, target, &cx.creds(), cx.now()).await?;
    let dentry = vfs.dentries.insert(&dir.dentry, &last, inode);
    vfs.notifier.name(&dentry, notify::CREATE, 0);
    Ok(())
}

/// linkat(2), with the source resolved already.
pub async fn link(cx: &SyscallCx, from: &Path, at: i32, name: &[u8]) -> Result<()> {
    let parent = walk::resolve_parent(cx, at, name).await?;
    let last = new_name(cx, &parent, Slash::Refused).await?;
    let dir = &parent.dir;
    if !Rc::ptr_eq(&from.mount, &dir.mount) {
        return Err(Errno::EXDEV);
    }
    let meta = from.inode().metadata();
    if meta.file_type() == FileType::Directory {
        return Err(Errno::EPERM);
    }
    let vfs = &cx.kernel.vfs;
    let _guard = dir.dentry.lock.lock().await;
    check_change(cx, dir)?;
    if vfs.dentries.lookup_locked(cx, &dir.dentry, &last).await?.is_some() {
        return Err(Errno::EEXIST);
    }
    // A file whose last name is gone cannot come back; one that never had any may get one.
    if from.inode().metadata().nlink == 0 && !from.dentry.is_linkable() {
        return Err(Errno::ENOENT);
    }
    dir.inode().link(&last, from.inode(), cx.now()).await?;
    let dentry = vfs.dentries.insert(&dir.dentry, &last, Rc::clone(from.inode()));
    vfs.notifier.itself(&from.dentry, notify::ATTRIB);
    vfs.notifier.name(&dentry, notify::CREATE, 0);
    Ok(())
}

/// unlinkat(2).
pub async fn remove(cx: &SyscallCx, at: i32, name: &[u8], what: Remove) -> Result<()> {
    let parent = walk::resolve_parent(cx, at, name).await?;
    let last = match (&parent.last, what) {
        (Last::Name(last), _) => last,
        (Last::Dot, Remove::Directory) if is_root(cx, &parent.dir) => return Err(Errno::EBUSY),
        (Last::Dot, Remove::Directory) => return Err(Errno::EINVAL),
        (Last::DotDot, Remove::Directory) => return Err(Errno::ENOTEMPTY),
        (_, Remove::File) => return Err(Errno::EISDIR),
    };
    let vfs = &cx.kernel.vfs;
    let dir = &parent.dir;
    let victim = {
        let _guard = dir.dentry.lock.lock().await;
        let victim = vfs.dentries.lookup_locked(cx, &dir.dentry, last).await?.ok_or(Errno::ENOENT)?;
        check_writable(dir)?;
        let meta = victim.inode().metadata();
        permission::check_delete(&dir.inode().metadata(), &meta, &cx.creds())?;
        let is_dir = meta.file_type() == FileType::Directory;
        match what {
            Remove::File if is_dir => return Err(Errno::EISDIR),
            Remove::File if parent.slash => return Err(Errno::ENOTDIR),
            Remove::Directory if !is_dir => return Err(Errno::ENOTDIR),
            _ => {}
        }
        if victim.mounted.get() > 0 {
            return Err(Errno::EBUSY);
        }
        match what {
            Remove::File => dir.inode().unlink(last, cx.now()).await?,
            Remove::Directory => {
                let _victim_guard = victim.lock.lock().await;
                dir.inode().rmdir(last, cx.now()).await?;
            }
        }
        vfs.dentries.unlink(&victim);
        victim
    };
    removed(cx, &victim);
    Ok(())
}

/// Tells watchers that a name went, and the file with it if it was the last one.
fn removed(cx: &SyscallCx, victim: &Rc<Dentry>) {
    let notifier = &cx.kernel.vfs.notifier;
    if !victim.is_dir() {
        notifier.itself(victim, notify::ATTRIB);
    }
    notifier.name(victim, notify::DELETE, 0);
    lost_name(cx, victim);
}

/// Tells that a file is gone if that was its last name and nobody has it open; who closes it last tells it otherwise.
fn lost_name(cx: &SyscallCx, victim: &Rc<Dentry>) {
    let in_use = Rc::strong_count(victim) > 1;
    if victim.is_dir() || (victim.inode().metadata().nlink == 0 && !in_use) {
        cx.kernel.vfs.notifier.gone(victim);
    }
}

/// renameat2(2).
pub async fn rename(
    cx: &SyscallCx,
    from_at: i32,
    from_name: &[u8],
    to_at: i32,
    to_name: &[u8],
    flags: u32,
) -> Result<()> {
    if flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE) != 0 || flags == RENAME_NOREPLACE | RENAME_EXCHANGE {
        return Err(Errno::EINVAL);
    }
    let from = walk::resolve_parent(cx, from_at, from_name).await?;
    let to = walk::resolve_parent(cx, to_at, to_name).await?;
    if !Rc::ptr_eq(&from.dir.mount, &to.dir.mount) {
        return Err(Errno::EXDEV);
    }
    let Last::Name(old_name) = &from.last else { return Err(Errno::EBUSY) };
    let Last::Name(new_name) = &to.last else {
        return Err(if flags & RENAME_NOREPLACE != 0 { Errno::EEXIST } else { Errno::EBUSY });
    };
    let vfs = &cx.kernel.vfs;
    let (old_dir, new_dir) = (&from.dir.dentry, &to.dir.dentry);
    let same_dir = Rc::ptr_eq(old_dir, new_dir);
    // One rename between directories at a time keeps the tree still while it is looked at.
    let _tree = if same_dir { None } else { Some(vfs.rename_lock.lock().await) };
    let (first, second) = if new_dir.contains(old_dir) { (new_dir, old_dir) } else { (old_dir, new_dir) };
    let _first = first.lock.lock().await;
    let _second = if same_dir { None } else { Some(second.lock.lock().await) };

    let old = vfs.dentries.lookup_locked(cx, old_dir, old_name).await?.ok_or(Errno::ENOENT)?;
    let new = vfs.dentries.lookup_locked(cx, new_dir, new_name).await?;
    let old_meta = old.inode().metadata();
    let old_is_dir = old_meta.file_type() == FileType::Directory;
    let new_meta = new.as_ref().map(|new| new.inode().metadata());
    let new_is_dir = new_meta.is_some_and(|meta| meta.file_type() == FileType::Directory);
    let exchange = flags & RENAME_EXCHANGE != 0;
    if flags & RENAME_NOREPLACE != 0 && new.is_some() {
        return Err(Errno::EEXIST);
    }
    if exchange && new.is_none() {
        return Err(Errno::ENOENT);
    }
    if (from.slash && !old_is_dir) || (to.slash && !old_is_dir && !(exchange && new_is_dir)) {
        return Err(Errno::ENOTDIR);
    }
    // A directory cannot go below itself.
    if old_is_dir && old.contains(new_dir) {
        return Err(Errno::EINVAL);
    }
    if new.as_ref().is_some_and(|new| new.contains(old_dir)) && (!exchange || new_is_dir) {
        return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
    }
    check_writable(&from.dir)?;
    let creds = cx.creds();
    permission::check_delete(&from.dir.inode().metadata(), &old_meta, &creds)?;
    match &new_meta {
        None => check_change(cx, &to.dir)?,
        Some(meta) => permission::check_delete(&to.dir.inode().metadata(), meta, &creds)?,
    }
    // `..` of a directory that moves is written to.
    if old_is_dir && !same_dir {
        permission::check(&old_meta, &creds, May::WRITE)?;
    }
    if let (Some(new), Some(new_meta)) = (&new, &new_meta) {
        if is_same_file(&old_meta, new_meta) {
            return Ok(());
        }
        if !exchange {
            match (old_is_dir, new_is_dir) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                _ => {}
            }
        }
        if new.mounted.get() > 0 {
            return Err(Errno::EBUSY);
        }
    }
    if old.mounted.get() > 0 {
        return Err(Errno::EBUSY);
    }
    if to.dir.dentry.unlinked() {
        return Err(Errno::ENOENT);
    }
    from.dir.inode().rename(old_name, to.dir.inode(), new_name, flags, cx.now()).await?;
    let cookie = vfs.notifier.next_cookie();
    vfs.notifier.name(&old, notify::MOVED_FROM, cookie);
    match &new {
        Some(new) if exchange => {
            vfs.notifier.name(new, notify::MOVED_FROM, cookie);
            vfs.dentries.exchange(&old, new);
            vfs.notifier.name(new, notify::MOVED_TO, cookie);
        }
        new => vfs.dentries.rename(&old, new_dir, new_name, new.as_ref()),
    }
    vfs.notifier.name(&old, notify::MOVED_TO, cookie);
    if let (Some(new), false) = (&new, exchange) {
        vfs.notifier.itself(new, notify::ATTRIB);
    }
    vfs.notifier.itself(&old, notify::MOVE_SELF);
    if let (Some(new), false) = (&new, exchange) {
        lost_name(cx, new);
    }
    Ok(())
}

fn is_same_file(a: &Metadata, b: &Metadata) -> bool {
    a.dev == b.dev && a.ino == b.ino
}

fn is_root(cx: &SyscallCx, path: &Path) -> bool {
    path.is_same(&cx.fs().root())
}

/// Whether slashes may follow a new name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    Allowed,
    Refused,
}

async fn new_name(cx: &SyscallCx, parent: &Parent, slash: Slash) -> Result<Vec<u8>> {
    let Last::Name(last) = &parent.last else { return Err(Errno::EEXIST) };
    if parent.slash && slash == Slash::Refused {
        let exists = walk::child(cx, &parent.dir, last).await?.is_some();
        return Err(if exists { Errno::EEXIST } else { Errno::ENOENT });
    }
    Ok(last.clone())
}

fn check_writable(dir: &Path) -> Result<()> {
    if dir.mount.read_only() { Err(Errno::EROFS) } else { Ok(()) }
}

/// Whether a name can be added to a directory.
fn check_change(cx: &SyscallCx, dir: &Path) -> Result<()> {
    check_writable(dir)?;
    permission::check(&dir.inode().metadata(), &cx.creds(), May::CHANGE_DIR)
}

/// The owner, group and mode of a new file in a directory (set-group-ID directories hand theirs down).
pub fn inherit(dir: &Metadata, mode: u32, creds: &crate::task::Credentials) -> (u32, u32, u32) {
    let mut mode = mode;
    let mut gid = creds.fsgid;
    if dir.mode & stat::S_ISGID != 0 {
        gid = dir.gid;
        if mode & stat::S_IFMT == stat::S_IFDIR {
            mode |= stat::S_ISGID;
        }
    }
    if mode & stat::S_IFMT == stat::S_IFREG
        && mode & (stat::S_ISGID | 0o010) == stat::S_ISGID | 0o010
        && !creds.in_group(gid)
        && !creds.capable(cap::FSETID)
    {
        mode &= !stat::S_ISGID;
    }
    (creds.fsuid, gid, mode)
}

/// Where the old name of linkat(2) leads.
pub async fn link_source(cx: &SyscallCx, at: i32, name: &[u8], flags: u32) -> Result<Path> {
    use linux_abi::fcntl::{AT_EMPTY_PATH, AT_SYMLINK_FOLLOW};
    let follow = if flags & AT_SYMLINK_FOLLOW != 0 { Follow::Yes } else { Follow::No };
    if flags & AT_EMPTY_PATH != 0 {
        return walk::resolve_or_fd(cx, at, name, follow).await;
    }
    walk::resolve(cx, at, name, follow).await
}

/// EROFS where a mount or its file system cannot be written.
pub fn check_mount_writable(path: &Path) -> Result<()> {
    if path.mount.flags() & mount::flags::RDONLY != 0 || path.mount.fs().read_only() {
        return Err(Errno::EROFS);
    }
    Ok(())
}

/// The inode of a place, once its mount was found to be writable.
pub(crate) fn writable_inode(path: &Path) -> Result<&Rc<dyn Inode>> {
    check_mount_writable(path)?;
    Ok(path.inode())
}
