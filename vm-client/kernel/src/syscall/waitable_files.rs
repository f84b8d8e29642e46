//! Signals and timers as descriptors: signalfd(2), timerfd_create(2).

use std::rc::Rc;
use std::time::Duration;

use linux_abi::fcntl::{O_CLOEXEC, O_NONBLOCK, O_RDONLY, O_RDWR};
use linux_abi::layout::{Reader, Writer};
use linux_abi::signal::{SigSet, Signal};
use linux_abi::time::Timespec;

use super::event_files::install;
use super::table::{Args, Row, now, wait};
use crate::fs::signalfd::SignalFd;
use crate::fs::timerfd::TimerFd;
use crate::vfs::OpenFile;
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(321, "signalfd", signalfd),
    now!(322, "timerfd_create", timerfd_create),
    wait!(325, "timerfd_settime", timerfd_settime, "TFD_TIMER_CANCEL_ON_SET does not cancel"),
    wait!(326, "timerfd_gettime", timerfd_gettime),
    wait!(327, "signalfd4", signalfd4),
    wait!(410, "timerfd_gettime64", timerfd_gettime64),
    wait!(411, "timerfd_settime64", timerfd_settime64, "TFD_TIMER_CANCEL_ON_SET does not cancel"),
];

async fn signalfd(cx: &SyscallCx, [fd, mask, size, ..]: Args) -> Result<i64> {
    signalfd4(cx, [fd, mask, size, 0, 0, 0]).await
}

async fn signalfd4(cx: &SyscallCx, [fd, mask, size, flags, ..]: Args) -> Result<i64> {
    let flags = flags as u32;
    if size != 8 || flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut raw = [0; 8];
    cx.read_user(mask, &mut raw).await?;
    let mut wanted = SigSet(u64::from_le_bytes(raw));
    wanted.remove(Signal::KILL);
    wanted.remove(Signal::STOP);
    if fd as i32 == -1 {
        return install(cx, SignalFd::new(cx, wanted), O_RDWR, flags);
    }
    let file = cx.files().get(fd as i32)?;
    file.downcast::<SignalFd>().ok_or(Errno::EINVAL)?.set(cx, wanted);
    Ok(i64::from(fd as i32))
}

fn timerfd_create(cx: &SyscallCx, [clock, flags, ..]: Args) -> Result<i64> {
    let flags = flags as u32;
    // CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME and the two alarm clocks.
    let real_time = match clock {
        0 | 8 => true,
        1 | 7 | 9 => false,
        _ => return Err(Errno::EINVAL),
    };
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    install(cx, TimerFd::new(cx, real_time), O_RDONLY, flags)
}

fn timer(file: &Rc<OpenFile>) -> Result<&TimerFd> {
    file.downcast().ok_or(Errno::EINVAL)
}

/// Interval and first expiration, as `struct itimerspec` has them.
fn encode(left: Duration, interval: Duration, wide: bool) -> Vec<u8> {
    let times = [Timespec::from(interval), Timespec::from(left)];
    let mut out = vec![0; if wide { 32 } else { 16 }];
    let mut w = Writer::new(&mut out);
    for (index, time) in times.into_iter().enumerate() {
        if wide {
            w.u64(index * 16, time.sec as u64);
            w.u64(index * 16 + 8, u64::from(time.nsec));
        } else {
            w.u32(index * 8, time.sec as u32);
            w.u32(index * 8 + 4, time.nsec);
        }
    }
    out
}

fn decode(raw: &[u8], wide: bool) -> Result<(Timespec, Timespec)> {
    let r = Reader::new(raw);
    let time = |sec: i64, nsec: u32| {
        if sec < 0 || nsec > 999_999_999 { Err(Errno::EINVAL) } else { Ok(Timespec { sec, nsec }) }
    };
    if wide {
        Ok((time(r.i64(0), r.u32(8))?, time(r.i64(16), r.u32(24))?))
    } else {
        Ok((time(i64::from(r.i32(0)), r.u32(4))?, time(i64::from(r.i32(8)), r.u32(12))?))
    }
}

async fn set(cx: &SyscallCx, [fd, flags, new, old, ..]: Args, wide: bool) -> Result<i64> {
    const ABSTIME: u64 = 1;
    const CANCEL_ON_SET: u64 = 2;
    if flags & !(ABSTIME | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut raw = vec![0; if wide { 32 } else { 16 }];
    cx.read_user(new, &mut raw).await?;
    let (interval, first) = decode(&raw, wide)?;
    let file = cx.files().get(fd as i32)?;
    let timer = timer(&file)?;
    let now = cx.kernel.now_monotonic();
    let before = timer.get(now);
    let next = if first == Timespec::default() {
        None
    } else if flags & ABSTIME == 0 {
        Some(now.saturating_add(first.to_duration()))
    } else if timer.real_time {
        Some(cx.kernel.realtime_deadline(first))
    } else {
        Some(first.to_duration())
    };
    timer.set(next, interval.to_duration());
    if old != 0 {
        cx.write_user(old, &encode(before.0, before.1, wide)).await?;
    }
    Ok(0)
}

async fn get(cx: &SyscallCx, [fd, to, ..]: Args, wide: bool) -> Result<i64> {
    let file = cx.files().get(fd as i32)?;
    let (left, interval) = timer(&file)?.get(cx.kernel.now_monotonic());
    cx.write_user(to, &encode(left, interval, wide)).await?;
    Ok(0)
}

async fn timerfd_settime(cx: &SyscallCx, args: Args) -> Result<i64> {
    set(cx, args, false).await
}

async fn timerfd_settime64(cx: &SyscallCx, args: Args) -> Result<i64> {
    set(cx, args, true).await
}

async fn timerfd_gettime(cx: &SyscallCx, args: Args) -> Result<i64> {
    get(cx, args, false).await
}

async fn timerfd_gettime64(cx: &SyscallCx, args: Args) -> Result<i64> {
    get(cx, args, true).await
}
