//! Clocks and sleeping (time(7)).

use std::time::Duration;

use linux_abi::time::Timespec;

use super::table::{Args, Row, wait};
use crate::task::cap;
use crate::time::RestartBlock;
use crate::{Errno, Kernel, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    wait!(13, "time", time),
    wait!(25, "stime", stime),
    wait!(43, "times", times),
    wait!(78, "gettimeofday", gettimeofday),
    wait!(79, "settimeofday", settimeofday),
    wait!(124, "adjtimex", adjtimex, "reads only"),
    wait!(162, "nanosleep", nanosleep),
    wait!(264, "clock_settime", clock_settime),
    wait!(265, "clock_gettime", clock_gettime),
    wait!(266, "clock_getres", clock_getres),
    wait!(267, "clock_nanosleep", clock_nanosleep),
    wait!(343, "clock_adjtime", clock_adjtime, "reads only"),
    wait!(403, "clock_gettime64", clock_gettime64),
    wait!(404, "clock_settime64", clock_settime64),
    wait!(406, "clock_getres_time64", clock_getres_time64),
    wait!(407, "clock_nanosleep_time64", clock_nanosleep_time64),
];

/// Clock numbers.
pub(super) mod clock {
    pub(crate) const REALTIME: i32 = 0;
    pub(crate) const MONOTONIC: i32 = 1;
    pub(crate) const PROCESS_CPUTIME: i32 = 2;
    pub(crate) const THREAD_CPUTIME: i32 = 3;
    pub(crate) const MONOTONIC_RAW: i32 = 4;
    pub(crate) const REALTIME_COARSE: i32 = 5;
    pub(crate) const MONOTONIC_COARSE: i32 = 6;
    pub(crate) const BOOTTIME: i32 = 7;
    pub(crate) const REALTIME_ALARM: i32 = 8;
    pub(crate) const BOOTTIME_ALARM: i32 = 9;
    pub(crate) const TAI: i32 = 11;
}

// ---- layouts ----

/// Reads a `timespec` with 32-bit seconds; EINVAL unless it is a valid time not before zero.
pub(super) async fn read_timespec32(cx: &SyscallCx, at: u64) -> Result<Timespec> {
    let mut raw = [0; 8];
    cx.read_user(at, &mut raw).await?;
    let sec = i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
    let nsec = i32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]);
    checked(i64::from(sec), i64::from(nsec))
}

/// Reads a `timespec` with 64-bit seconds. The upper half of the nanoseconds is padding for a 32-bit program.
pub(super) async fn read_timespec64(cx: &SyscallCx, at: u64) -> Result<Timespec> {
    let mut raw = [0; 16];
    cx.read_user(at, &mut raw).await?;
    let mut sec = [0; 8];
    sec.copy_from_slice(&raw[..8]);
    let nsec = i32::from_le_bytes([raw[8], raw[9], raw[10], raw[11]]);
    checked(i64::from_le_bytes(sec), i64::from(nsec))
}

fn checked(sec: i64, nsec: i64) -> Result<Timespec> {
    if sec < 0 || !(0..1_000_000_000).contains(&nsec) {
        return Err(Errno::EINVAL);
    }
    Ok(Timespec { sec, nsec: nsec as u32 })
}

/// Writes a `timespec` in either layout.
pub(super) async fn write_timespec(cx: &SyscallCx, at: u64, time: Timespec, wide: bool) -> Result<()> {
    let mut raw = [0; 16];
    if wide {
        raw[..8].copy_from_slice(&time.sec.to_le_bytes());
        raw[8..12].copy_from_slice(&time.nsec.to_le_bytes());
        cx.write_user(at, &raw).await
    } else {
        raw[..4].copy_from_slice(&(time.sec as u32).to_le_bytes());
        raw[4..8].copy_from_slice(&time.nsec.to_le_bytes());
        cx.write_user(at, &raw[..8]).await
    }
}

impl Kernel {
    /// The monotonic time at which the real time will be `until`, if nobody sets the clock.
    pub(crate) fn realtime_deadline(&self, until: Timespec) -> Duration {
        let at = i128::from(until.sec) * 1_000_000_000 + i128::from(until.nsec) - self.clock.realtime_offset_ns();
        Duration::from_nanos(u64::try_from(at.max(0)).unwrap_or(u64::MAX))
    }
}

// ---- reading clocks ----

/// The time on a clock.
pub(super) fn read_clock(cx: &SyscallCx, id: i32) -> Result<Timespec> {
    match id {
        clock::REALTIME | clock::REALTIME_COARSE | clock::REALTIME_ALARM => Ok(cx.kernel.now_realtime()),
        // TAI is UTC until somebody sets the offset.
        clock::TAI => Ok(cx.kernel.now_realtime()),
        clock::MONOTONIC | clock::MONOTONIC_RAW | clock::MONOTONIC_COARSE | clock::BOOTTIME | clock::BOOTTIME_ALARM => {
            Ok(cx.kernel.now_monotonic().into())
        }
        clock::PROCESS_CPUTIME => {
            let usage = cx.task.group.usage();
            Ok((usage.user + usage.system + cx.kernel.running_for()).into())
        }
        clock::THREAD_CPUTIME => {
            let usage = cx.task.usage.get();
            Ok((usage.user + usage.system + cx.kernel.running_for()).into())
        }
        id if id < 0 => cpu_clock(cx, id),
        _ => Err(Errno::EINVAL),
    }
}

/// The CPU clock of another process or thread: its number inverted, over three bits that say which.
fn cpu_clock(cx: &SyscallCx, id: i32) -> Result<Timespec> {
    const PER_THREAD: i32 = 4;
    let number = !(id >> 3);
    if id & 3 == 3 {
        return Err(Errno::EINVAL);
    }
    let usage = if id & PER_THREAD != 0 {
        let task = if number == 0 { Some(std::rc::Rc::clone(&cx.task)) } else { cx.kernel.processes.task(number) };
        task.filter(|task| std::rc::Rc::ptr_eq(&task.group, &cx.task.group)).ok_or(Errno::EINVAL)?.usage.get()
    } else {
        let group =
            if number == 0 { Some(std::rc::Rc::clone(&cx.task.group)) } else { cx.kernel.processes.group(number) };
        group.ok_or(Errno::EINVAL)?.usage()
    };
    let time = if id & 3 == 1 { usage.user } else { usage.user + usage.system };
    Ok(time.into())
}

async fn clock_gettime(cx: &SyscallCx, [id, at, ..]: Args) -> Result<i64> {
    let now = read_clock(cx, id as i32)?;
    write_timespec(cx, at, now, false).await?;
    Ok(0)
}

async fn clock_gettime64(cx: &SyscallCx, [id, at, ..]: Args) -> Result<i64> {
    let now = read_clock(cx, id as i32)?;
    write_timespec(cx, at, now, true).await?;
    Ok(0)
}

fn resolution(cx: &SyscallCx, id: i32) -> Result<Timespec> {
    read_clock(cx, id)?;
    let coarse = matches!(id, clock::REALTIME_COARSE | clock::MONOTONIC_COARSE);
    Ok(if coarse { Duration::from_millis(4) } else { cx.kernel.clock.resolution() }.into())
}

async fn clock_getres(cx: &SyscallCx, [id, at, ..]: Args) -> Result<i64> {
    let value = resolution(cx, id as i32)?;
    if at != 0 {
        write_timespec(cx, at, value, false).await?;
    }
    Ok(0)
}

async fn clock_getres_time64(cx: &SyscallCx, [id, at, ..]: Args) -> Result<i64> {
    let value = resolution(cx, id as i32)?;
    if at != 0 {
        write_timespec(cx, at, value, true).await?;
    }
    Ok(0)
}

async fn time(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    let now = cx.kernel.now_realtime().sec;
    if at != 0 {
        cx.write_u32(at, now as u32).await?;
    }
    Ok(now)
}

async fn gettimeofday(cx: &SyscallCx, [time, zone, ..]: Args) -> Result<i64> {
    if time != 0 {
        let now = cx.kernel.now_realtime();
        let mut raw = [0; 8];
        raw[..4].copy_from_slice(&(now.sec as u32).to_le_bytes());
        raw[4..].copy_from_slice(&(now.nsec / 1000).to_le_bytes());
        cx.write_user(time, &raw).await?;
    }
    if zone != 0 {
        cx.write_user(zone, &[0; 8]).await?;
    }
    Ok(0)
}

async fn times(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    let ticks = |time: Duration| (time.as_millis() / 10) as u32;
    if at != 0 {
        let (own, children) = (cx.task.group.usage(), cx.task.group.children_usage());
        let mut raw = [0; 16];
        for (index, time) in [own.user, own.system, children.user, children.system].into_iter().enumerate() {
            raw[4 * index..4 * index + 4].copy_from_slice(&ticks(time).to_le_bytes());
        }
        cx.write_user(at, &raw).await?;
    }
    Ok(i64::from(ticks(cx.kernel.now_monotonic())))
}

// ---- setting clocks ----

fn set_realtime(cx: &SyscallCx, to: Timespec) -> Result<i64> {
    if !cx.creds().capable(cap::SYS_TIME) {
        return Err(Errno::EPERM);
    }
    cx.kernel.clock.set_realtime(to);
    cx.kernel.realtime_changed();
    Ok(0)
}

async fn clock_settime(cx: &SyscallCx, [id, at, ..]: Args) -> Result<i64> {
    let to = read_timespec32(cx, at).await?;
    if id as i32 == clock::REALTIME { set_realtime(cx, to) } else { Err(Errno::EINVAL) }
}

async fn clock_settime64(cx: &SyscallCx, [id, at, ..]: Args) -> Result<i64> {
    let to = read_timespec64(cx, at).await?;
    if id as i32 == clock::REALTIME { set_realtime(cx, to) } else { Err(Errno::EINVAL) }
}

async fn stime(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    let sec = cx.read_u32(at).await? as i32;
    set_realtime(cx, Timespec { sec: i64::from(sec), nsec: 0 })
}

async fn settimeofday(cx: &SyscallCx, [time, ..]: Args) -> Result<i64> {
    if time == 0 {
        return if cx.creds().capable(cap::SYS_TIME) { Ok(0) } else { Err(Errno::EPERM) };
    }
    let mut raw = [0; 8];
    cx.read_user(time, &mut raw).await?;
    let sec = i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
    let micros = i32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]);
    let to = checked(i64::from(sec), i64::from(micros).saturating_mul(1000))?;
    set_realtime(cx, to)
}

/// `struct timex` of i386 is 128 bytes; what is not set here is 0.
async fn adjtimex(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    const TIME_ERROR: i64 = 5;
    const STA_UNSYNC: u32 = 0x40;
    if cx.read_u32(at).await? != 0 {
        return Err(Errno::EPERM);
    }
    let now = cx.kernel.now_realtime();
    let mut raw = [0; 128];
    let mut put = |index: usize, value: u32| raw[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
    put(3, 16_000_000);
    put(4, 16_000_000);
    put(5, STA_UNSYNC);
    put(7, 1);
    put(8, 32_768_000);
    put(9, now.sec as u32);
    put(10, now.nsec / 1000);
    put(11, 10_000);
    cx.write_user(at, &raw).await?;
    Ok(TIME_ERROR)
}

async fn clock_adjtime(cx: &SyscallCx, [id, at, rest @ ..]: Args) -> Result<i64> {
    if id as i32 != clock::REALTIME {
        return Err(Errno::EINVAL);
    }
    adjtimex(cx, [at, rest[0], rest[1], rest[2], rest[3], 0]).await
}

// ---- sleeping ----

async fn nanosleep(cx: &SyscallCx, [time, remaining, ..]: Args) -> Result<i64> {
    let time = read_timespec32(cx, time).await?;
    let deadline = cx.kernel.now_monotonic() + time.to_duration();
    sleep_relative(cx, clock::MONOTONIC, deadline, remaining, false).await
}

async fn clock_nanosleep(cx: &SyscallCx, [id, flags, time, remaining, ..]: Args) -> Result<i64> {
    let time = read_timespec32(cx, time).await?;
    sleep_on(cx, id as i32, flags, time, remaining, false).await
}

async fn clock_nanosleep_time64(cx: &SyscallCx, [id, flags, time, remaining, ..]: Args) -> Result<i64> {
    let time = read_timespec64(cx, time).await?;
    sleep_on(cx, id as i32, flags, time, remaining, true).await
}

async fn sleep_on(cx: &SyscallCx, id: i32, flags: u64, time: Timespec, remaining: u64, wide: bool) -> Result<i64> {
    const TIMER_ABSTIME: u64 = 1;
    let real = match id {
        clock::REALTIME | clock::TAI | clock::REALTIME_ALARM => true,
        clock::MONOTONIC | clock::BOOTTIME | clock::BOOTTIME_ALARM => false,
        clock::PROCESS_CPUTIME => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    if flags & TIMER_ABSTIME == 0 {
        let deadline = cx.kernel.now_monotonic().saturating_add(time.to_duration());
        return sleep_relative(cx, id, deadline, remaining, wide).await;
    }
    loop {
        let deadline = if real { cx.kernel.realtime_deadline(time) } else { time.to_duration() };
        if cx.kernel.now_monotonic() >= deadline {
            return Ok(0);
        }
        // A set clock moves the deadline.
        let moved = cx.kernel.realtime_moved.wait();
        let sleep = cx.kernel.timers.sleep_until(deadline);
        if cx.interruptible(vm_rt::first_of(moved, sleep)).await.is_err() {
            return Err(Errno::ERESTARTNOHAND);
        }
    }
}

/// Sleeps to a deadline on monotonic time; what is left goes to the program when a handler interrupts.
pub(super) async fn sleep_relative(
    cx: &SyscallCx,
    clock: i32,
    deadline: Duration,
    remaining: u64,
    wide: bool,
) -> Result<i64> {
    if cx.interruptible(cx.kernel.timers.sleep_until(deadline)).await.is_ok() {
        return Ok(0);
    }
    let left = deadline.saturating_sub(cx.kernel.now_monotonic());
    if left.is_zero() {
        return Ok(0);
    }
    if remaining != 0 {
        write_timespec(cx, remaining, left.into(), wide).await?;
    }
    *cx.task.restart.borrow_mut() = Some(RestartBlock::Nanosleep { clock, deadline, remaining, wide });
    Err(Errno::ERESTARTBLOCK)
}
