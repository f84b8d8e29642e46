//! fcntl(2) and flock(2).

use std::rc::Rc;

use linux_abi::fcntl::*;
use linux_abi::flock::{F_RDLCK, F_UNLCK, F_WRLCK, Flock};
use linux_abi::layout::{Reader, Writer};

use super::fd::fd_flags;
use super::table::{Args, Row, wait};
use crate::fs::{memfd, pipe};
use crate::task::cap;
use crate::vfs::locks::{FileLock, LockKind, LockOwner};
use crate::vfs::{OnExec, OpenFile};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(55, "fcntl", fcntl, "no leases, no dnotify, no signal-driven I/O"),
    wait!(143, "flock", flock),
    wait!(221, "fcntl64", fcntl64, "no leases, no dnotify, no signal-driven I/O"),
];

/// Flags that F_SETFL can change.
const SETTABLE: u32 = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK;
/// Commands that O_PATH descriptors know.
const FOR_PATH: &[u32] = &[F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL];

async fn fcntl(cx: &SyscallCx, args: Args) -> Result<i64> {
    // The 64-bit commands are for fcntl64 only.
    if matches!(args[1] as u32, F_GETLK64 | F_SETLK64 | F_SETLKW64 | F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW) {
        return Err(Errno::EINVAL);
    }
    fcntl64(cx, args).await
}

async fn fcntl64(cx: &SyscallCx, [fd, command, arg, ..]: Args) -> Result<i64> {
    let files = cx.files();
    let fd = fd as i32;
    let command = command as u32;
    let file = files.get_any(fd)?;
    if file.is_path_only() && !FOR_PATH.contains(&command) {
        return Err(Errno::EBADF);
    }
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            let min = usize::try_from(arg).ok().filter(|min| (*min as u64) < cx.nofile_limit()).ok_or(Errno::EINVAL)?;
            let on_exec = if command == F_DUPFD { OnExec::Keep } else { OnExec::Close };
            files.insert_from(min, file, on_exec, cx.nofile_limit()).map(i64::from)
        }
        F_GETFD => files.on_exec(fd).map(fd_flags),
        F_SETFD => files.set_on_exec(fd, OnExec::from_flag(arg as u32, FD_CLOEXEC)).map(|()| 0),
        F_GETFL => Ok(i64::from(file.flags().0)),
        F_SETFL => set_flags(cx, &file, arg as u32),
        F_GETOWN => Ok(i64::from(file.owner())),
        F_SETOWN => {
            file.set_owner(arg as i32);
            Ok(0)
        }
        F_GETOWN_EX => {
            let (kind, id) = if file.owner() < 0 { (2, -file.owner()) } else { (1, file.owner()) };
            let mut out = [0; 8];
            let mut w = Writer::new(&mut out);
            w.u32(0, kind);
            w.u32(4, id as u32);
            cx.write_user(arg, &out).await?;
            Ok(0)
        }
        F_SETOWN_EX => {
            let mut raw = [0; 8];
            cx.read_user(arg, &mut raw).await?;
            let reader = Reader::new(&raw);
            let id = reader.i32(4);
            file.set_owner(match reader.u32(0) {
                0 | 1 => id,
                2 => -id,
                _ => return Err(Errno::EINVAL),
            });
            Ok(0)
        }
        F_GETSIG => Ok(0),
        F_SETSIG if arg == 0 => Ok(0),
        F_GETLK | F_GETLK64 | F_OFD_GETLK => get_lock(cx, &file, command, arg).await,
        F_SETLK | F_SETLK64 | F_OFD_SETLK | F_SETLKW | F_SETLKW64 | F_OFD_SETLKW => {
            set_lock(cx, &file, command, arg).await
        }
        F_GETPIPE_SZ => Ok(pipe_of(&file)?.capacity() as i64),
        F_SETPIPE_SZ => {
            let wanted = usize::try_from(arg as i32).map_err(|_| Errno::EINVAL)?;
            if wanted > pipe::MAX_CAPACITY && !cx.creds().capable(cap::SYS_RESOURCE) {
                return Err(Errno::EPERM);
            }
            pipe_of(&file)?.set_capacity(wanted).map(|size| size as i64)
        }
        F_GET_SEALS => memfd::seals(&file).map(i64::from),
        F_ADD_SEALS => memfd::add_seals(cx, &file, arg as u32).map(|()| 0),
        other => {
            cx.kernel.count_missing("fcntl", other, cx.task.comm_text());
            Err(Errno::EINVAL)
        }
    }
}

fn set_flags(cx: &SyscallCx, file: &OpenFile, flags: u32) -> Result<i64> {
    if flags & O_NOATIME != 0 && !file.flags().has(O_NOATIME) {
        crate::vfs::permission::check_owner(&file.inode().metadata(), &cx.creds())?;
    }
    file.set_flags(SETTABLE, flags);
    Ok(0)
}

fn pipe_of(file: &OpenFile) -> Result<&Rc<pipe::Pipe>> {
    file.downcast::<pipe::PipeEnd>().map(pipe::PipeEnd::pipe).ok_or(Errno::EBADF)
}

fn is_wide(command: u32) -> bool {
    !matches!(command, F_GETLK | F_SETLK | F_SETLKW)
}

fn is_ofd(command: u32) -> bool {
    matches!(command, F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW)
}

async fn read_lock(cx: &SyscallCx, command: u32, from: u64) -> Result<Flock> {
    if is_wide(command) {
        let mut raw = [0; Flock::SIZE_64_I386];
        cx.read_user(from, &mut raw).await?;
        Ok(Flock::decode_64_i386(&raw))
    } else {
        let mut raw = [0; Flock::SIZE_I386];
        cx.read_user(from, &mut raw).await?;
        Ok(Flock::decode_i386(&raw))
    }
}

fn owner(cx: &SyscallCx, file: &Rc<OpenFile>, command: u32, lock: &Flock) -> Result<LockOwner> {
    if is_ofd(command) {
        if lock.pid != 0 {
            return Err(Errno::EINVAL);
        }
        return Ok(LockOwner::Ofd(Rc::as_ptr(file) as usize));
    }
    Ok(LockOwner::Posix { table: cx.files().id(), pid: cx.task.pid() })
}

/// First and last byte that a `struct flock` names.
fn range(file: &OpenFile, lock: &Flock) -> Result<(u64, u64)> {
    let base = match lock.whence {
        0 => 0,
        1 => file.position_now() as i64,
        2 => file.file().size() as i64,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(lock.start).ok_or(Errno::EOVERFLOW)?;
    let (start, end) = match lock.len {
        0 => (start, i64::MAX),
        len if len > 0 => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        len => (start.checked_add(len).ok_or(Errno::EINVAL)?, start - 1),
    };
    let start = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    Ok((start, if end == i64::MAX { u64::MAX } else { end as u64 }))
}

fn kind(kind: i16) -> Result<LockKind> {
    match kind {
        F_RDLCK => Ok(LockKind::Read),
        F_WRLCK => Ok(LockKind::Write),
        _ => Err(Errno::EINVAL),
    }
}

async fn get_lock(cx: &SyscallCx, file: &Rc<OpenFile>, command: u32, arg: u64) -> Result<i64> {
    let asked = read_lock(cx, command, arg).await?;
    let (start, end) = range(file, &asked)?;
    let wanted = FileLock { owner: owner(cx, file, command, &asked)?, kind: kind(asked.kind)?, start, end };
    let answer = match cx.kernel.vfs.locks.conflict(file.inode(), &wanted) {
        None => Flock { kind: F_UNLCK, ..asked },
        Some(held) => Flock {
            kind: if held.kind == LockKind::Read { F_RDLCK } else { F_WRLCK },
            whence: 0,
            start: held.start as i64,
            len: if held.end == u64::MAX { 0 } else { (held.end - held.start + 1) as i64 },
            pid: if let LockOwner::Posix { pid, .. } = held.owner { pid } else { -1 },
        },
    };
    if is_wide(command) {
        cx.write_user(arg, &answer.encode_64_i386()).await?;
    } else {
        cx.write_user(arg, &answer.encode_i386()?).await?;
    }
    Ok(0)
}

async fn set_lock(cx: &SyscallCx, file: &Rc<OpenFile>, command: u32, arg: u64) -> Result<i64> {
    let asked = read_lock(cx, command, arg).await?;
    let (start, end) = range(file, &asked)?;
    let owner = owner(cx, file, command, &asked)?;
    let locks = &cx.kernel.vfs.locks;
    if asked.kind == F_UNLCK {
        locks.unlock(file.inode(), owner, start, end);
        return Ok(0);
    }
    let wanted = FileLock { owner, kind: kind(asked.kind)?, start, end };
    match wanted.kind {
        LockKind::Read => file.check_readable()?,
        LockKind::Write => file.check_writable()?,
    }
    let waits = matches!(command, F_SETLKW | F_SETLKW64 | F_OFD_SETLKW);
    take(cx, file, wanted, waits).await
}

async fn take(cx: &SyscallCx, file: &OpenFile, wanted: FileLock, waits: bool) -> Result<i64> {
    let locks = &cx.kernel.vfs.locks;
    loop {
        let changed = locks.wait();
        let Err(held) = locks.try_lock(file.inode(), wanted) else { return Ok(0) };
        if !waits {
            return Err(Errno::EAGAIN);
        }
        // Only POSIX locks have owners that can wait for each other in a circle that Linux looks for.
        let _waiting = match wanted.owner {
            LockOwner::Posix { .. } => Some(locks.waits_for(wanted.owner, held.owner).ok_or(Errno::EDEADLK)?),
            _ => None,
        };
        cx.interruptible(changed).await?;
    }
}

async fn flock(cx: &SyscallCx, [fd, operation, ..]: Args) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    let operation = operation as u32;
    let owner = LockOwner::Flock(Rc::as_ptr(&file) as usize);
    let locks = &cx.kernel.vfs.locks;
    let kind = match operation & !LOCK_NB {
        LOCK_UN => {
            locks.unlock(file.inode(), owner, 0, u64::MAX);
            return Ok(0);
        }
        LOCK_SH => LockKind::Read,
        LOCK_EX => LockKind::Write,
        _ => return Err(Errno::EINVAL),
    };
    let wanted = FileLock { owner, kind, start: 0, end: u64::MAX };
    take(cx, &file, wanted, operation & LOCK_NB == 0).await
}
