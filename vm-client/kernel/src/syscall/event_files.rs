//! Descriptors that are no files: eventfd(2), inotify_init(2), memfd_create(2).

use std::rc::Rc;

use linux_abi::fcntl::{AT_FDCWD, F_SEAL_SEAL, O_CLOEXEC, O_NONBLOCK, O_RDONLY, O_RDWR};

use super::table::{Args, Row, now, wait};
use crate::fs::eventfd::{EventFd, Take};
use crate::fs::inotify::{IN_MASK_ADD, IN_MASK_CREATE, Inotify};
use crate::fs::memfd;
use crate::vfs::permission::{self, May};
use crate::vfs::{Anonymous, File, FileType, Follow, OnExec, OpenFlags, walk};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    now!(291, "inotify_init", inotify_init),
    wait!(292, "inotify_add_watch", inotify_add_watch),
    now!(293, "inotify_rm_watch", inotify_rm_watch),
    now!(323, "eventfd", eventfd),
    now!(328, "eventfd2", eventfd2),
    now!(332, "inotify_init1", inotify_init1),
    wait!(356, "memfd_create", memfd_create, "no huge pages"),
];

/// Gives a file without a name a descriptor.
pub(super) fn install(cx: &SyscallCx, file: Rc<dyn File>, access: u32, flags: u32) -> Result<i64> {
    let status = OpenFlags(access | (flags & O_NONBLOCK));
    let file = cx.kernel.vfs.open_anonymous(cx, Anonymous::Event, 0o600, file, status);
    cx.install(file, OnExec::from_flag(flags, O_CLOEXEC)).map(i64::from)
}

fn eventfd(cx: &SyscallCx, [count, ..]: Args) -> Result<i64> {
    eventfd2(cx, [count, 0, 0, 0, 0, 0])
}

fn eventfd2(cx: &SyscallCx, [count, flags, ..]: Args) -> Result<i64> {
    const SEMAPHORE: u32 = 1;
    let flags = flags as u32;
    if flags & !(SEMAPHORE | O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let take = if flags & SEMAPHORE != 0 { Take::One } else { Take::All };
    install(cx, EventFd::new(u64::from(count as u32), take), O_RDWR, flags)
}

fn inotify_init(cx: &SyscallCx, _: Args) -> Result<i64> {
    install(cx, Inotify::new(&cx.kernel.vfs), O_RDONLY, 0)
}

fn inotify_init1(cx: &SyscallCx, [flags, ..]: Args) -> Result<i64> {
    if flags as u32 & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    install(cx, Inotify::new(&cx.kernel.vfs), O_RDONLY, flags as u32)
}

async fn inotify_add_watch(cx: &SyscallCx, [fd, name, mask, ..]: Args) -> Result<i64> {
    const ONLYDIR: u32 = 0x0100_0000;
    const DONT_FOLLOW: u32 = 0x0200_0000;
    let mask = mask as u32;
    if mask & 0xfff == 0 || mask & (IN_MASK_ADD | IN_MASK_CREATE) == IN_MASK_ADD | IN_MASK_CREATE {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get(fd as i32)?;
    let instance = file.downcast::<Inotify>().ok_or(Errno::EINVAL)?;
    let name = cx.read_path(name).await?;
    let follow = if mask & DONT_FOLLOW != 0 { Follow::No } else { Follow::Yes };
    let path = walk::resolve(cx, AT_FDCWD, &name, follow).await?;
    let meta = path.inode().metadata();
    if mask & ONLYDIR != 0 && meta.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    permission::check(&meta, &cx.creds(), May::READ)?;
    instance.add(path.inode(), mask).map(i64::from)
}

fn inotify_rm_watch(cx: &SyscallCx, [fd, watch, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    file.downcast::<Inotify>().ok_or(Errno::EINVAL)?.remove(watch as i32)?;
    Ok(0)
}

async fn memfd_create(cx: &SyscallCx, [name, flags, ..]: Args) -> Result<i64> {
    const CLOEXEC: u64 = 1;
    const ALLOW_SEALING: u64 = 2;
    const NAME_MAX: usize = 249;
    if flags & !(CLOEXEC | ALLOW_SEALING) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = cx.read_cstr(name, NAME_MAX, Errno::EINVAL).await?;
    let seals = if flags & ALLOW_SEALING != 0 { 0 } else { F_SEAL_SEAL };
    let file = memfd::open(cx, &name, seals).await?;
    let on_exec = if flags & CLOEXEC != 0 { OnExec::Close } else { OnExec::Keep };
    cx.install(file, on_exec).map(i64::from)
}
