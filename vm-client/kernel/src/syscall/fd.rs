//! Descriptors: close(2), dup(2), pipe(2), ioctl(2).

use linux_abi::fcntl::{FD_CLOEXEC, O_ASYNC, O_CLOEXEC, O_DIRECT, O_NONBLOCK};
use linux_abi::ioctl;

use super::table::{Args, Row, now, wait};
use crate::fs::pipe;
use crate::vfs::{FileType, OnExec, OpenFile, OpenFlags};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    now!(6, "close", close),
    now!(41, "dup", dup),
    wait!(42, "pipe", sys_pipe),
    wait!(54, "ioctl", sys_ioctl),
    now!(63, "dup2", dup2),
    now!(330, "dup3", dup3),
    wait!(331, "pipe2", sys_pipe2, "O_DIRECT is EINVAL"),
    now!(436, "close_range", close_range),
];

fn close(cx: &SyscallCx, [fd, ..]: Args) -> Result<i64> {
    let file = cx.files().remove(fd as i32)?;
    file.file().flush(cx);
    Ok(0)
}

fn close_range(cx: &SyscallCx, [first, last, flags, ..]: Args) -> Result<i64> {
    const UNSHARE: u64 = 2;
    const CLOEXEC: u64 = 4;
    let (first, last) = (first as u32, last as u32);
    if first > last || flags & !(UNSHARE | CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & UNSHARE != 0 {
        let copy = cx.files().fork();
        let old = cx.task.files.replace(copy);
        drop(old);
    }
    let files = cx.files();
    for fd in files.numbers_in(first..=last) {
        if flags & CLOEXEC != 0 {
            files.set_on_exec(fd, OnExec::Close)?;
        } else {
            files.remove(fd)?.file().flush(cx);
        }
    }
    Ok(0)
}

fn dup(cx: &SyscallCx, [fd, ..]: Args) -> Result<i64> {
    let file = cx.files().get_any(fd as i32)?;
    Ok(i64::from(cx.install(file, OnExec::Keep)?))
}

fn dup2(cx: &SyscallCx, [from, to, ..]: Args) -> Result<i64> {
    let file = cx.files().get_any(from as i32)?;
    if from as i32 != to as i32 {
        let closed = cx.files().replace(to as i32, file, OnExec::Keep, cx.nofile_limit())?;
        if let Some(closed) = closed {
            closed.file().flush(cx);
        }
    }
    Ok(i64::from(to as i32))
}

fn dup3(cx: &SyscallCx, [from, to, flags, ..]: Args) -> Result<i64> {
    if from as i32 == to as i32 || flags as u32 & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get_any(from as i32)?;
    let on_exec = OnExec::from_flag(flags as u32, O_CLOEXEC);
    if let Some(closed) = cx.files().replace(to as i32, file, on_exec, cx.nofile_limit())? {
        closed.file().flush(cx);
    }
    Ok(i64::from(to as i32))
}

async fn make_pipe(cx: &SyscallCx, fds: u64, flags: u32) -> Result<i64> {
    if flags & O_DIRECT != 0 || flags & !(O_CLOEXEC | O_NONBLOCK | O_DIRECT) != 0 {
        return Err(Errno::EINVAL);
    }
    let (reader, writer) = pipe::open_pipe(cx, OpenFlags(flags & O_NONBLOCK));
    let on_exec = OnExec::from_flag(flags, O_CLOEXEC);
    let read_fd = cx.install(reader, on_exec)?;
    let write_fd = match cx.install(writer, on_exec) {
        Ok(fd) => fd,
        Err(errno) => {
            cx.files().remove(read_fd)?;
            return Err(errno);
        }
    };
    let mut out = [0; 8];
    out[..4].copy_from_slice(&read_fd.to_le_bytes());
    out[4..].copy_from_slice(&write_fd.to_le_bytes());
    if let Err(errno) = cx.write_user(fds, &out).await {
        cx.files().remove(read_fd)?;
        cx.files().remove(write_fd)?;
        return Err(errno);
    }
    Ok(0)
}

async fn sys_pipe(cx: &SyscallCx, [fds, ..]: Args) -> Result<i64> {
    make_pipe(cx, fds, 0).await
}

async fn sys_pipe2(cx: &SyscallCx, [fds, flags, ..]: Args) -> Result<i64> {
    make_pipe(cx, fds, flags as u32).await
}

async fn sys_ioctl(cx: &SyscallCx, [fd, request, arg, ..]: Args) -> Result<i64> {
    let files = cx.files();
    let fd = fd as i32;
    let file = files.get(fd)?;
    let request = request as u32;
    match request {
        ioctl::FIOCLEX => files.set_on_exec(fd, OnExec::Close).map(|()| 0),
        ioctl::FIONCLEX => files.set_on_exec(fd, OnExec::Keep).map(|()| 0),
        ioctl::FIONBIO => set_status(cx, &file, O_NONBLOCK, arg).await,
        ioctl::FIOASYNC => set_status(cx, &file, O_ASYNC, arg).await,
        _ => {
            let result = file_ioctl(cx, &file, request, arg).await;
            super::missing::ioctl(cx, request, &result);
            result
        }
    }
}

async fn set_status(cx: &SyscallCx, file: &OpenFile, flag: u32, arg: u64) -> Result<i64> {
    let on = cx.read_u32(arg).await? != 0;
    file.set_flags(flag, if on { flag } else { 0 });
    Ok(0)
}

/// Requests that every regular file or directory knows, and the file's own.
async fn file_ioctl(cx: &SyscallCx, file: &OpenFile, request: u32, arg: u64) -> Result<i64> {
    let meta = file.inode().metadata();
    // Epoll, inotify and their like have no type at all.
    let kind = FileType::from_mode(meta.mode);
    if !matches!(kind, Some(FileType::Regular | FileType::Directory)) {
        return file.file().ioctl(cx, request, arg).await;
    }
    match request {
        ioctl::FIONREAD if kind == Some(FileType::Regular) => {
            let left = meta.size as i64 - file.position_now() as i64;
            cx.write_u32(arg, left as u32).await?;
            Ok(0)
        }
        ioctl::FIGETBSZ => {
            cx.write_u32(arg, meta.block_size).await?;
            Ok(0)
        }
        ioctl::FIOQSIZE => {
            cx.write_user(arg, &meta.size.to_le_bytes()).await?;
            Ok(0)
        }
        ioctl::FICLONE | ioctl::FICLONERANGE | ioctl::FIDEDUPERANGE | ioctl::FS_IOC_FIEMAP => Err(Errno::EOPNOTSUPP),
        _ => file.file().ioctl(cx, request, arg).await,
    }
}

/// The flag word of F_GETFD.
pub(super) fn fd_flags(on_exec: OnExec) -> i64 {
    if on_exec == OnExec::Close { i64::from(FD_CLOEXEC) } else { 0 }
}
