//! Timers of a process: alarm(2), setitimer(2), timer_create(2).

use std::rc::Rc;
use std::time::Duration;

use linux_abi::signal::Signal;
use linux_abi::time::Timespec;

use super::table::{Args, Row, now, wait};
use super::time::clock;
use crate::time::{ItimerKind, Notify, PosixTimer};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    now!(27, "alarm", alarm),
    wait!(104, "setitimer", setitimer),
    wait!(105, "getitimer", getitimer),
    wait!(259, "timer_create", timer_create, "no CPU-time clocks"),
    wait!(260, "timer_settime", timer_settime),
    wait!(261, "timer_gettime", timer_gettime),
    now!(262, "timer_getoverrun", timer_getoverrun),
    now!(263, "timer_delete", timer_delete),
    wait!(408, "timer_gettime64", timer_gettime64),
    wait!(409, "timer_settime64", timer_settime64),
];

fn alarm(cx: &SyscallCx, [seconds, ..]: Args) -> Result<i64> {
    let group = &cx.task.group;
    let (left, _) = group.itimers[ItimerKind::Real as usize].get(cx.kernel.now_monotonic());
    cx.kernel.set_itimer(group, ItimerKind::Real, Duration::from_secs(seconds), Duration::ZERO);
    // Rounded, but an armed alarm never reports 0.
    let rounded = (left + Duration::from_millis(500)).as_secs();
    Ok(if left.is_zero() { 0 } else { rounded.max(1) as i64 })
}

/// `struct itimerval`: interval, then value, each seconds and microseconds.
fn encode_itimerval(value: Duration, interval: Duration) -> [u8; 16] {
    let mut raw = [0; 16];
    let words = [interval.as_secs() as u32, interval.subsec_micros(), value.as_secs() as u32, value.subsec_micros()];
    for (index, word) in words.into_iter().enumerate() {
        raw[4 * index..4 * index + 4].copy_from_slice(&word.to_le_bytes());
    }
    raw
}

async fn getitimer(cx: &SyscallCx, [which, at, ..]: Args) -> Result<i64> {
    let kind = ItimerKind::new(which).ok_or(Errno::EINVAL)?;
    let group = &cx.task.group;
    let (left, interval) = group.itimers[kind as usize].get(cx.kernel.itimer_now(group, kind));
    cx.write_user(at, &encode_itimerval(left, interval)).await?;
    Ok(0)
}

async fn setitimer(cx: &SyscallCx, [which, new, old, ..]: Args) -> Result<i64> {
    let kind = ItimerKind::new(which).ok_or(Errno::EINVAL)?;
    let (mut value, mut interval) = (Duration::ZERO, Duration::ZERO);
    // A missing new value disarms the timer (a BSD leftover that Linux keeps).
    if new != 0 {
        let mut raw = [0; 16];
        cx.read_user(new, &mut raw).await?;
        let word = |index: usize| {
            i32::from_le_bytes([raw[4 * index], raw[4 * index + 1], raw[4 * index + 2], raw[4 * index + 3]])
        };
        let time = |sec: i32, micros: i32| {
            let valid = sec >= 0 && (0..1_000_000).contains(&micros);
            valid.then(|| Duration::new(sec as u64, micros as u32 * 1000)).ok_or(Errno::EINVAL)
        };
        interval = time(word(0), word(1))?;
        value = time(word(2), word(3))?;
    }
    let group = &cx.task.group;
    let before = group.itimers[kind as usize].get(cx.kernel.itimer_now(group, kind));
    cx.kernel.set_itimer(group, kind, value, interval);
    if old != 0 {
        cx.write_user(old, &encode_itimerval(before.0, before.1)).await?;
    }
    Ok(0)
}

// ---- timer_create(2) ----

fn find(cx: &SyscallCx, id: u64) -> Result<Rc<PosixTimer>> {
    cx.task.group.posix_timers.borrow().get(&(id as i32)).cloned().ok_or(Errno::EINVAL)
}

async fn timer_create(cx: &SyscallCx, [clock, event, at, ..]: Args) -> Result<i64> {
    const SIGEV_SIGNAL: u32 = 0;
    const SIGEV_NONE: u32 = 1;
    const SIGEV_THREAD: u32 = 2;
    const SIGEV_THREAD_ID: u32 = 4;
    let clock = clock as i32;
    match clock {
        clock::REALTIME | clock::MONOTONIC | clock::BOOTTIME | clock::TAI => {}
        clock::REALTIME_ALARM | clock::BOOTTIME_ALARM => return Err(Errno::EOPNOTSUPP),
        clock::PROCESS_CPUTIME | clock::THREAD_CPUTIME => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    }
    let group = &cx.task.group;
    let id = {
        let timers = group.posix_timers.borrow();
        (0..i32::MAX).find(|id| !timers.contains_key(id)).ok_or(Errno::EAGAIN)?
    };
    let limit = group.rlimits.borrow().soft(crate::task::Resource::Sigpending);
    if group.posix_timers.borrow().len() as u64 >= limit {
        return Err(Errno::EAGAIN);
    }
    let (notify, value) = if event == 0 {
        (Notify::Process(Signal::ALRM), id as u32)
    } else {
        let mut raw = [0; 16];
        cx.read_user(event, &mut raw).await?;
        let word = |index: usize| {
            u32::from_le_bytes([raw[4 * index], raw[4 * index + 1], raw[4 * index + 2], raw[4 * index + 3]])
        };
        let signal = || Signal::new(word(1)).ok_or(Errno::EINVAL);
        let notify = match word(2) {
            SIGEV_NONE => Notify::Nobody,
            SIGEV_SIGNAL | SIGEV_THREAD => Notify::Process(signal()?),
            SIGEV_THREAD_ID => {
                let tid = word(3) as i32;
                let task = cx.kernel.processes.task(tid).filter(|task| Rc::ptr_eq(&task.group, group));
                task.ok_or(Errno::EINVAL)?;
                Notify::Thread(signal()?, tid)
            }
            _ => return Err(Errno::EINVAL),
        };
        (notify, word(0))
    };
    cx.write_u32(at, id as u32).await?;
    group.posix_timers.borrow_mut().insert(id, Rc::new(PosixTimer::new(id, clock, notify, value)));
    Ok(0)
}

async fn read_spec(cx: &SyscallCx, at: u64, wide: bool) -> Result<(Timespec, Timespec)> {
    use super::time::{read_timespec32, read_timespec64};
    if wide {
        Ok((read_timespec64(cx, at).await?, read_timespec64(cx, at + 16).await?))
    } else {
        Ok((read_timespec32(cx, at).await?, read_timespec32(cx, at + 8).await?))
    }
}

async fn write_spec(cx: &SyscallCx, at: u64, (value, interval): (Duration, Duration), wide: bool) -> Result<()> {
    use super::time::write_timespec;
    write_timespec(cx, at, interval.into(), wide).await?;
    write_timespec(cx, at + if wide { 16 } else { 8 }, value.into(), wide).await
}

async fn settime(cx: &SyscallCx, [id, flags, new, old, ..]: Args, wide: bool) -> Result<i64> {
    const TIMER_ABSTIME: u64 = 1;
    let (interval, value) = read_spec(cx, new, wide).await?;
    let timer = find(cx, id)?;
    let now = cx.kernel.now_monotonic();
    let before = timer.get(now);
    let deadline = if value == Timespec::default() {
        None
    } else if flags & TIMER_ABSTIME == 0 {
        Some(now.saturating_add(value.to_duration()))
    } else if matches!(timer.clock, clock::REALTIME | clock::TAI) {
        Some(cx.kernel.realtime_deadline(value))
    } else {
        Some(value.to_duration())
    };
    cx.kernel.set_posix_timer(&cx.task.group, &timer, deadline, interval.to_duration());
    if old != 0 {
        write_spec(cx, old, before, wide).await?;
    }
    Ok(0)
}

async fn timer_settime(cx: &SyscallCx, args: Args) -> Result<i64> {
    settime(cx, args, false).await
}

async fn timer_settime64(cx: &SyscallCx, args: Args) -> Result<i64> {
    settime(cx, args, true).await
}

async fn timer_gettime(cx: &SyscallCx, [id, at, ..]: Args) -> Result<i64> {
    let state = find(cx, id)?.get(cx.kernel.now_monotonic());
    write_spec(cx, at, state, false).await?;
    Ok(0)
}

async fn timer_gettime64(cx: &SyscallCx, [id, at, ..]: Args) -> Result<i64> {
    let state = find(cx, id)?.get(cx.kernel.now_monotonic());
    write_spec(cx, at, state, true).await?;
    Ok(0)
}

fn timer_getoverrun(cx: &SyscallCx, [id, ..]: Args) -> Result<i64> {
    Ok(i64::from(find(cx, id)?.overrun()))
}

fn timer_delete(cx: &SyscallCx, [id, ..]: Args) -> Result<i64> {
    let timer = find(cx, id)?;
    timer.disarm();
    let group = &cx.task.group;
    group.posix_timers.borrow_mut().remove(&timer.id);
    group.shared_pending.borrow_mut().discard_timer(timer.id);
    for task in group.threads.borrow().iter() {
        task.pending.borrow_mut().discard_timer(timer.id);
    }
    Ok(0)
}
