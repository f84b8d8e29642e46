//! POSIX message queues (mq_overview(7)). The C library has taken the slash from the names.

use std::rc::Rc;

use linux_abi::fcntl::{O_ACCMODE, O_CLOEXEC, O_CREAT, O_EXCL, O_NONBLOCK, O_RDONLY, O_WRONLY};
use linux_abi::layout::{Reader, Writer};
use linux_abi::signal::Signal;
use linux_abi::stat::S_IFREG;
use linux_abi::time::Timespec;

use super::table::{Args, Row, wait};
use super::time::{read_timespec32, read_timespec64};
use crate::ipc::mqueue::{MESSAGES_DEFAULT, Notice, PRIORITY_MAX, Patience, Queue, QueueFile, SIZE_DEFAULT, cost};
use crate::task::{Resource, cap};
use crate::vfs::permission::{self, May};
use crate::vfs::{Anonymous, Metadata, OnExec, OpenFile, OpenFlags};
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(277, "mq_open", mq_open),
    wait!(278, "mq_unlink", mq_unlink),
    wait!(279, "mq_timedsend", mq_timedsend),
    wait!(280, "mq_timedreceive", mq_timedreceive),
    wait!(281, "mq_notify", mq_notify, "no SIGEV_THREAD"),
    wait!(282, "mq_getsetattr", mq_getsetattr),
    wait!(418, "mq_timedsend_time64", mq_timedsend_time64),
    wait!(419, "mq_timedreceive_time64", mq_timedreceive_time64),
];

/// Bytes of `struct mq_attr`.
const ATTR: usize = 32;
/// Most messages, and bytes of one, that the superuser may ask for.
const HARD: (u32, u32) = (65_536, 16 << 20);

async fn read_name(cx: &SyscallCx, at: u64) -> Result<Vec<u8>> {
    let name = cx.read_path(at).await?;
    match name.as_slice() {
        b"" => Err(Errno::ENOENT),
        b"." | b".." => Err(Errno::EACCES),
        name if name.contains(&b'/') => Err(Errno::EACCES),
        name if name.len() > 255 => Err(Errno::ENAMETOOLONG),
        _ => Ok(name),
    }
}

async fn mq_open(cx: &SyscallCx, [name, flags, mode, attr, ..]: Args) -> Result<i64> {
    let flags = flags as u32;
    let wanted = if flags & O_CREAT != 0 && attr != 0 { Some(read_attr(cx, attr).await?) } else { None };
    let name = read_name(cx, name).await?;
    let queues = &cx.kernel.ipc.mqueues;
    let queue = match queues.find(&name) {
        Some(_) if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL => return Err(Errno::EEXIST),
        Some(queue) => {
            let may: &[May] = match flags & O_ACCMODE {
                O_RDONLY => &[May::READ],
                O_WRONLY => &[May::WRITE],
                O_ACCMODE => return Err(Errno::EINVAL),
                _ => &[May::READ, May::WRITE],
            };
            let meta = Metadata { uid: queue.uid, gid: queue.gid, mode: S_IFREG | queue.mode, ..Metadata::default() };
            for may in may {
                permission::check(&meta, &cx.creds(), *may)?;
            }
            queue
        }
        None if flags & O_CREAT == 0 => return Err(Errno::ENOENT),
        None => {
            let queue = make(cx, &name, mode as u32, wanted)?;
            queues.add(&name, &queue)?;
            queue
        }
    };
    let mode = S_IFREG | queue.mode;
    let status = OpenFlags(flags & (O_ACCMODE | O_NONBLOCK));
    let file = cx.kernel.vfs.open_anonymous(cx, Anonymous::Event, mode, Rc::new(QueueFile(queue)), status);
    // Unlike other descriptors these are closed by execve(2) unless asked otherwise: mq_open(3) sets FD_CLOEXEC.
    cx.install(file, OnExec::from_flag(flags | O_CLOEXEC, O_CLOEXEC)).map(i64::from)
}

fn make(cx: &SyscallCx, name: &[u8], mode: u32, wanted: Option<[i32; 4]>) -> Result<Rc<Queue>> {
    let creds = cx.creds();
    let (most, size) = match wanted {
        None => (MESSAGES_DEFAULT, SIZE_DEFAULT),
        Some([_, most, size, _]) => {
            let (Ok(most), Ok(size)) = (u32::try_from(most), u32::try_from(size)) else { return Err(Errno::EINVAL) };
            let limit = if creds.capable(cap::SYS_RESOURCE) { HARD } else { (MESSAGES_DEFAULT, SIZE_DEFAULT) };
            if most == 0 || size == 0 || most > limit.0 || size > limit.1 {
                return Err(Errno::EINVAL);
            }
            (most, size)
        }
    };
    let limit = cx.task.group.rlimits.borrow().soft(Resource::Msgqueue);
    if cx.kernel.ipc.mqueues.charged(creds.fsuid).saturating_add(cost(most, size)) > limit {
        return Err(Errno::EMFILE);
    }
    let mode = mode & 0o7777 & !cx.fs().umask();
    Ok(Queue::new(name, (creds.fsuid, creds.fsgid), mode, most, size))
}

async fn read_attr(cx: &SyscallCx, at: u64) -> Result<[i32; 4]> {
    let mut raw = [0; ATTR];
    cx.read_user(at, &mut raw).await?;
    let r = Reader::new(&raw);
    Ok([0, 4, 8, 12].map(|at| r.i32(at)))
}

async fn mq_unlink(cx: &SyscallCx, [name, ..]: Args) -> Result<i64> {
    let name = read_name(cx, name).await?;
    let queues = &cx.kernel.ipc.mqueues;
    let queue = queues.find(&name).ok_or(Errno::ENOENT)?;
    let meta = Metadata { uid: queue.uid, ..Metadata::default() };
    permission::check_owner(&meta, &cx.creds())?;
    queues.remove(&name);
    Ok(0)
}

fn find(cx: &SyscallCx, fd: u64) -> Result<Rc<OpenFile>> {
    let file = cx.files().get(fd as i32)?;
    file.downcast::<QueueFile>().ok_or(Errno::EBADF)?;
    Ok(file)
}

fn queue(file: &OpenFile) -> Result<&Rc<Queue>> {
    file.downcast::<QueueFile>().map(|file| &file.0).ok_or(Errno::EBADF)
}

fn patience(cx: &SyscallCx, file: &OpenFile, until: Option<Timespec>) -> Patience {
    Patience { nonblock: file.nonblock(), deadline: until.map(|until| cx.kernel.realtime_deadline(until)) }
}

async fn time32(cx: &SyscallCx, at: u64) -> Result<Option<Timespec>> {
    Ok(if at == 0 { None } else { Some(read_timespec32(cx, at).await?) })
}

async fn time64(cx: &SyscallCx, at: u64) -> Result<Option<Timespec>> {
    Ok(if at == 0 { None } else { Some(read_timespec64(cx, at).await?) })
}

async fn mq_timedsend(cx: &SyscallCx, args: Args) -> Result<i64> {
    let until = time32(cx, args[4]).await?;
    send(cx, args, until).await
}

async fn mq_timedsend_time64(cx: &SyscallCx, args: Args) -> Result<i64> {
    let until = time64(cx, args[4]).await?;
    send(cx, args, until).await
}

async fn send(cx: &SyscallCx, [fd, at, len, priority, ..]: Args, until: Option<Timespec>) -> Result<i64> {
    let priority = priority as u32;
    if priority >= PRIORITY_MAX {
        return Err(Errno::EINVAL);
    }
    let file = find(cx, fd)?;
    file.check_writable()?;
    let queue = queue(&file)?;
    if len > u64::from(queue.size) {
        return Err(Errno::EMSGSIZE);
    }
    let mut text = vec![0; len as usize];
    cx.read_user(at, &mut text).await?;
    queue.send(cx, priority, text, patience(cx, &file, until)).await?;
    Ok(0)
}

async fn mq_timedreceive(cx: &SyscallCx, args: Args) -> Result<i64> {
    let until = time32(cx, args[4]).await?;
    receive(cx, args, until).await
}

async fn mq_timedreceive_time64(cx: &SyscallCx, args: Args) -> Result<i64> {
    let until = time64(cx, args[4]).await?;
    receive(cx, args, until).await
}

async fn receive(cx: &SyscallCx, [fd, at, len, priority_at, ..]: Args, until: Option<Timespec>) -> Result<i64> {
    let file = find(cx, fd)?;
    file.check_readable()?;
    let (priority, text) = queue(&file)?.receive(cx, len as usize, patience(cx, &file, until)).await?;
    if priority_at != 0 {
        cx.write_u32(priority_at, priority).await?;
    }
    cx.write_user(at, &text).await?;
    Ok(text.len() as i64)
}

/// `struct sigevent`: value, signal, how.
async fn mq_notify(cx: &SyscallCx, [fd, event, ..]: Args) -> Result<i64> {
    const SIGEV_SIGNAL: u32 = 0;
    const SIGEV_NONE: u32 = 1;
    const SIGEV_THREAD: u32 = 2;
    let notice = if event == 0 {
        None
    } else {
        let mut raw = [0; 12];
        cx.read_user(event, &mut raw).await?;
        let r = Reader::new(&raw);
        Some(match r.u32(8) {
            SIGEV_NONE => Notice::Nothing,
            SIGEV_SIGNAL => Notice::Signal(Signal::new(r.u32(4)).ok_or(Errno::EINVAL)?, r.u32(0)),
            SIGEV_THREAD => {
                cx.kernel.count_missing("mq_notify with SIGEV", SIGEV_THREAD, cx.task.comm_text());
                return Err(Errno::ENOSYS);
            }
            _ => return Err(Errno::EINVAL),
        })
    };
    let file = find(cx, fd)?;
    queue(&file)?.set_notice(cx.task.pid(), notice)?;
    Ok(0)
}

async fn mq_getsetattr(cx: &SyscallCx, [fd, new, old, ..]: Args) -> Result<i64> {
    let new = if new == 0 { None } else { Some(read_attr(cx, new).await?[0] as u32) };
    if new.is_some_and(|flags| flags & !O_NONBLOCK != 0) {
        return Err(Errno::EINVAL);
    }
    let file = find(cx, fd)?;
    let queue = queue(&file)?;
    let mut raw = [0; ATTR];
    let mut w = Writer::new(&mut raw);
    let words = [file.flags().0 & O_NONBLOCK, queue.most, queue.size, queue.len()];
    for (index, word) in words.into_iter().enumerate() {
        w.u32(4 * index, word);
    }
    if let Some(flags) = new {
        file.set_flags(O_NONBLOCK, flags);
    }
    if old != 0 {
        cx.write_user(old, &raw).await?;
    }
    Ok(0)
}
