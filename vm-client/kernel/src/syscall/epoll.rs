//! epoll_create(2), epoll_ctl(2), epoll_wait(2).

use std::rc::Rc;
use std::time::Duration;

use linux_abi::epoll::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EpollEvent};
use linux_abi::fcntl::{O_CLOEXEC, O_RDWR};
use vm_mem::{Access, VirtAddr};
use vm_rt::first_of;

use super::event_files::install;
use super::poll::{TemporaryMask, TimeLayout, Timeout, after};
use super::table::{Args, Row, now, wait};
use crate::fs::epoll::Epoll;
use crate::vfs::OpenFile;
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    now!(254, "epoll_create", epoll_create),
    wait!(255, "epoll_ctl", epoll_ctl),
    wait!(256, "epoll_wait", epoll_wait),
    wait!(319, "epoll_pwait", epoll_pwait),
    now!(329, "epoll_create1", epoll_create1),
    wait!(441, "epoll_pwait2", epoll_pwait2),
];

fn epoll_create(cx: &SyscallCx, [size, ..]: Args) -> Result<i64> {
    if size as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    create(cx, 0)
}

fn epoll_create1(cx: &SyscallCx, [flags, ..]: Args) -> Result<i64> {
    if flags as u32 & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    create(cx, flags as u32)
}

fn create(cx: &SyscallCx, flags: u32) -> Result<i64> {
    install(cx, Epoll::new(&cx.kernel.epoll_watches), O_RDWR, flags)
}

fn instance(file: &OpenFile) -> Result<&Epoll> {
    file.downcast().ok_or(Errno::EINVAL)
}

async fn epoll_ctl(cx: &SyscallCx, [epfd, operation, fd, event, ..]: Args) -> Result<i64> {
    let operation = operation as u32;
    let event = if operation == EPOLL_CTL_DEL {
        EpollEvent::default()
    } else {
        let mut raw = [0; EpollEvent::SIZE];
        cx.read_user(event, &mut raw).await?;
        EpollEvent::decode(&raw)
    };
    let files = cx.files();
    let epoll_file = files.get(epfd as i32)?;
    let file = files.get(fd as i32)?;
    if Rc::ptr_eq(&epoll_file, &file) {
        return Err(Errno::EINVAL);
    }
    let epoll = instance(&epoll_file)?;
    let fd = fd as i32;
    match operation {
        EPOLL_CTL_ADD => epoll.add(fd, &file, event)?,
        EPOLL_CTL_MOD => epoll.modify(fd, &file, event)?,
        EPOLL_CTL_DEL => epoll.remove(fd, &file)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

async fn wait_events(cx: &SyscallCx, [epfd, to, max, ..]: Args, deadline: Option<Duration>) -> Result<i64> {
    let max = i32::try_from(max as u32).ok().filter(|max| *max > 0).ok_or(Errno::EINVAL)? as usize;
    if max > i32::MAX as usize / EpollEvent::SIZE {
        return Err(Errno::EINVAL);
    }
    let file = cx.files().get(epfd as i32)?;
    let epoll = instance(&file)?;
    loop {
        // What is collected must reach the caller: no more is taken than there is memory for.
        let mut room = max.min(epoll.listed_count());
        if room > 0 {
            let writable = cx.mm().populate(VirtAddr(to), room * EpollEvent::SIZE, Access::Write).await?;
            room = room.min(writable / EpollEvent::SIZE);
            if room == 0 {
                return Err(Errno::EFAULT);
            }
        }
        let events = epoll.collect(room);
        if !events.is_empty() {
            let raw: Vec<u8> = events.iter().flat_map(EpollEvent::encode).collect();
            cx.write_user(to, &raw).await?;
            return Ok(events.len() as i64);
        }
        if epoll.listed_count() > 0 {
            continue;
        }
        if deadline.is_some_and(|deadline| deadline <= cx.kernel.now_monotonic()) {
            return Ok(0);
        }
        let listed = epoll.listed();
        let waited = match deadline {
            None => cx.interruptible(listed).await,
            Some(deadline) => {
                let sleep = cx.kernel.timers.sleep_until(deadline);
                cx.interruptible(first_of(listed, sleep)).await.map(|_| ())
            }
        };
        waited.map_err(|_| Errno::EINTR)?;
    }
}

/// The end of a timeout in milliseconds; negative is never.
fn deadline(cx: &SyscallCx, timeout_ms: u64) -> Option<Duration> {
    let timeout_ms = timeout_ms as u32 as i32;
    (timeout_ms >= 0).then(|| after(cx, Duration::from_millis(timeout_ms as u64)))
}

async fn epoll_wait(cx: &SyscallCx, args: Args) -> Result<i64> {
    wait_events(cx, args, deadline(cx, args[3])).await
}

async fn epoll_pwait(cx: &SyscallCx, args: Args) -> Result<i64> {
    let deadline = deadline(cx, args[3]);
    let mask = TemporaryMask::install(cx, args[4], args[5]).await?;
    mask.finish(wait_events(cx, args, deadline).await)
}

async fn epoll_pwait2(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout = Timeout::read(cx, args[3], TimeLayout::Timespec64).await?;
    let mask = TemporaryMask::install(cx, args[4], args[5]).await?;
    mask.finish(wait_events(cx, args, timeout.deadline()).await)
}
