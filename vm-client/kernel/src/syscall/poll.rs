//! poll(2), ppoll(2), select(2), pselect(2).

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use linux_abi::poll::Ready;
use linux_abi::signal::{SigSet, Signal};
use linux_abi::time::Timespec;
use vm_rt::Io;

use super::table::{Args, Row, wait};
use crate::task::Resource;
use crate::time::RestartBlock;
use crate::vfs::OpenFile;
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    wait!(82, "select", old_select),
    wait!(142, "_newselect", select),
    wait!(168, "poll", poll),
    wait!(308, "pselect6", pselect6),
    wait!(309, "ppoll", ppoll),
    wait!(413, "pselect6_time64", pselect6_time64),
    wait!(414, "ppoll_time64", ppoll_time64),
];

/// One file somebody waits for.
struct Watched {
    file: Option<Rc<OpenFile>>,
    interest: Ready,
}

/// Reported whether asked for or not.
const ALWAYS_REPORTED: Ready = Ready(Ready::ERR.0 | Ready::HUP.0);

impl Watched {
    fn ready(&self) -> Ready {
        match &self.file {
            None => Ready::NONE,
            Some(file) => file.file().poll(self.interest) & (self.interest | ALWAYS_REPORTED),
        }
    }
}

/// Waits until a file has something to report or the deadline (guest monotonic time) has passed; what it is, is for the
/// caller to see.
async fn wait_ready(
    cx: &SyscallCx,
    watched: &[Watched],
    deadline: Option<Duration>,
    reports: impl Fn(&Watched) -> bool,
) -> Result<()> {
    loop {
        if watched.iter().any(&reports) || deadline.is_some_and(|deadline| cx.kernel.now_monotonic() >= deadline) {
            return Ok(());
        }
        // Registered now, before anything else can run: no change between the look above and the wait is lost. A file
        // whose wait is over at once never changes, so it cannot become ready either.
        let mut waits: Vec<Io<'_, ()>> = watched
            .iter()
            .filter_map(|one| one.file.as_ref().map(|file| file.file().wait(one.interest)))
            .filter(|wait| matches!(wait, Io::Later(_)))
            .collect();
        let mut timer = deadline.map(|deadline| cx.kernel.timers.sleep_until(deadline));
        let any = std::future::poll_fn(|context| {
            let mut woken = waits.iter_mut().any(|wait| Pin::new(wait).poll(context).is_ready());
            if let Some(timer) = &mut timer {
                woken |= Pin::new(timer).poll(context).is_ready();
            }
            if woken { Poll::Ready(()) } else { Poll::Pending }
        });
        cx.interruptible(any).await?;
    }
}

/// Exchanges the signal mask for the time of a call, as ppoll(2) and pselect(2) do. When a signal ended the wait, the old
/// mask comes back only after its handler was set up.
pub(super) struct TemporaryMask<'a> {
    cx: &'a SyscallCx,
    old: Option<SigSet>,
}

impl<'a> TemporaryMask<'a> {
    pub(super) async fn install(cx: &'a SyscallCx, addr: u64, size: u64) -> Result<Self> {
        if addr == 0 {
            return Ok(Self { cx, old: None });
        }
        if size != 8 {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; 8];
        cx.read_user(addr, &mut bytes).await?;
        let mut mask = SigSet(u64::from_le_bytes(bytes));
        mask.remove(Signal::KILL);
        mask.remove(Signal::STOP);
        let old = cx.task.blocked.replace(mask);
        Ok(Self { cx, old: Some(old) })
    }

    pub(super) fn finish<T>(self, result: Result<T>) -> Result<T> {
        if let Some(old) = self.old {
            if matches!(result, Err(Errno::ERESTARTNOHAND | Errno::EINTR)) {
                self.cx.task.saved_mask.set(Some(old));
            } else {
                self.cx.task.blocked.set(old);
            }
        }
        result
    }
}

/// A time from now, on guest monotonic time.
pub(super) fn after(cx: &SyscallCx, timeout: Duration) -> Duration {
    cx.kernel.now_monotonic().saturating_add(timeout)
}

// ---- poll ----

const POLLFD_SIZE: usize = 8;

async fn poll_fds(cx: &SyscallCx, addr: u64, count: u64, deadline: Option<Duration>) -> Result<i64> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    if count as u64 > cx.task.group.rlimits.borrow().soft(Resource::Nofile) {
        return Err(Errno::EINVAL);
    }
    let mut fds = vec![0; count * POLLFD_SIZE];
    cx.read_user(addr, &mut fds).await?;
    let table = cx.task.fd_table();
    let mut watched = Vec::with_capacity(count);
    let mut invalid = false;
    for fd in fds.chunks_exact(POLLFD_SIZE) {
        let number = i32::from_le_bytes([fd[0], fd[1], fd[2], fd[3]]);
        let interest = Ready(u32::from(u16::from_le_bytes([fd[4], fd[5]])));
        let file = if number < 0 { None } else { table.get(number).ok() };
        invalid |= number >= 0 && file.is_none();
        watched.push(Watched { file, interest });
    }
    if !invalid {
        wait_ready(cx, &watched, deadline, |one| !one.ready().is_empty()).await?;
    }
    let mut ready_count = 0;
    for (fd, one) in fds.chunks_exact_mut(POLLFD_SIZE).zip(&watched) {
        let negative = fd[3] & 0x80 != 0;
        let ready = if one.file.is_none() && !negative { Ready::NVAL } else { one.ready() };
        fd[6..8].copy_from_slice(&(ready.0 as u16).to_le_bytes());
        ready_count += i64::from(!ready.is_empty());
    }
    for (index, fd) in fds.chunks_exact(POLLFD_SIZE).enumerate() {
        cx.write_user(addr + (index * POLLFD_SIZE) as u64 + 6, &fd[6..8]).await?;
    }
    Ok(ready_count)
}

async fn poll(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout_ms = args[2] as u32 as i32;
    let deadline = (timeout_ms >= 0).then(|| after(cx, Duration::from_millis(timeout_ms as u64)));
    poll_until(cx, args[0], args[1], deadline).await
}

async fn poll_until(cx: &SyscallCx, addr: u64, count: u64, deadline: Option<Duration>) -> Result<i64> {
    match poll_fds(cx, addr, count, deadline).await {
        Err(Errno::ERESTARTSYS) => {
            let block =
                RestartBlock::Poll { fds: addr, count: count as u32, deadline: deadline.unwrap_or(Duration::MAX) };
            *cx.task.restart.borrow_mut() = Some(block);
            Err(Errno::ERESTARTBLOCK)
        }
        done => done,
    }
}

/// restart_syscall(2) of an interrupted poll(2): the deadline stays what it was.
pub(crate) async fn restart(cx: &SyscallCx, fds: u64, count: u32, deadline: Duration) -> Result<i64> {
    poll_until(cx, fds, u64::from(count), (deadline != Duration::MAX).then_some(deadline)).await
}

async fn ppoll(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout = Timeout::read(cx, args[2], TimeLayout::Timespec32).await?;
    let mask = TemporaryMask::install(cx, args[3], args[4]).await?;
    let result = poll_fds(cx, args[0], args[1], timeout.deadline).await;
    timeout.write_back(cx).await;
    mask.finish(no_handler_restarts(result))
}

async fn ppoll_time64(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout = Timeout::read(cx, args[2], TimeLayout::Timespec64).await?;
    let mask = TemporaryMask::install(cx, args[3], args[4]).await?;
    let result = poll_fds(cx, args[0], args[1], timeout.deadline).await;
    timeout.write_back(cx).await;
    mask.finish(no_handler_restarts(result))
}

fn no_handler_restarts(result: Result<i64>) -> Result<i64> {
    result.map_err(|error| if error == Errno::ERESTARTSYS { Errno::ERESTARTNOHAND } else { error })
}

// ---- timeouts that the calls write back ----

/// How a timeout is laid out in the caller's memory.
#[derive(Clone, Copy)]
pub(super) enum TimeLayout {
    Timeval32,
    Timespec32,
    Timespec64,
}

/// A timeout that the caller gave by address.
pub(super) struct Timeout {
    addr: u64,
    layout: TimeLayout,
    deadline: Option<Duration>,
}

impl Timeout {
    /// When it ends, on guest monotonic time; `None` is never.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    pub(super) async fn read(cx: &SyscallCx, addr: u64, layout: TimeLayout) -> Result<Self> {
        if addr == 0 {
            return Ok(Self { addr, layout, deadline: None });
        }
        let time = match layout {
            TimeLayout::Timeval32 | TimeLayout::Timespec32 => {
                let sec = cx.read_u32(addr).await? as i32;
                let fraction = cx.read_u32(addr + 4).await? as i32;
                let unit = if matches!(layout, TimeLayout::Timeval32) { 1000 } else { 1 };
                (i64::from(sec), i64::from(fraction).checked_mul(unit).ok_or(Errno::EINVAL)?)
            }
            TimeLayout::Timespec64 => {
                let mut bytes = [0; 16];
                cx.read_user(addr, &mut bytes).await?;
                let mut sec = [0; 8];
                sec.copy_from_slice(&bytes[..8]);
                // The upper half of the nanoseconds is padding for 32-bit callers.
                let nsec = i32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
                (i64::from_le_bytes(sec), i64::from(nsec))
            }
        };
        let (mut sec, mut nsec) = time;
        if matches!(layout, TimeLayout::Timeval32) && nsec >= 0 {
            // select(2) takes microseconds beyond a second.
            sec = sec.saturating_add(nsec / 1_000_000_000);
            nsec %= 1_000_000_000;
        }
        if sec < 0 || !(0..1_000_000_000).contains(&nsec) {
            return Err(Errno::EINVAL);
        }
        let length = Timespec { sec, nsec: nsec as u32 }.to_duration();
        Ok(Self { addr, layout, deadline: Some(after(cx, length)) })
    }

    /// Writes the time that was left. Failure changes nothing, as in Linux.
    async fn write_back(&self, cx: &SyscallCx) {
        let Some(deadline) = self.deadline else { return };
        let left = deadline.saturating_sub(cx.kernel.now_monotonic());
        let mut bytes = [0; 16];
        let used = match self.layout {
            TimeLayout::Timeval32 | TimeLayout::Timespec32 => {
                let fraction = if matches!(self.layout, TimeLayout::Timeval32) {
                    left.subsec_micros()
                } else {
                    left.subsec_nanos()
                };
                bytes[..4].copy_from_slice(&(left.as_secs() as u32).to_le_bytes());
                bytes[4..8].copy_from_slice(&fraction.to_le_bytes());
                8
            }
            TimeLayout::Timespec64 => {
                bytes[..8].copy_from_slice(&left.as_secs().to_le_bytes());
                bytes[8..12].copy_from_slice(&left.subsec_nanos().to_le_bytes());
                16
            }
        };
        let _ = cx.write_user(self.addr, &bytes[..used]).await;
    }
}

// ---- select ----

const SETS: [Ready; 3] = [
    // What makes a descriptor readable, writable and exceptional for select(2).
    Ready(Ready::IN.0 | Ready::RDNORM.0 | Ready::RDBAND.0 | Ready::HUP.0 | Ready::ERR.0),
    Ready(Ready::OUT.0 | Ready::WRNORM.0 | Ready::WRBAND.0 | Ready::ERR.0),
    Ready(Ready::PRI.0),
];

struct FdSets {
    addrs: [u64; 3],
    count: usize,
    words: [Vec<u32>; 3],
}

impl FdSets {
    async fn read(cx: &SyscallCx, count: u64, addrs: [u64; 3]) -> Result<Self> {
        let count = count as u32 as i32;
        let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
        // Bits beyond the descriptor table mean nothing.
        let count = count.min(cx.task.fd_table().capacity().max(64));
        let mut words = [Vec::new(), Vec::new(), Vec::new()];
        for (set, addr) in words.iter_mut().zip(addrs) {
            *set = vec![0; count.div_ceil(32)];
            if addr != 0 {
                let mut bytes = vec![0; set.len() * 4];
                cx.read_user(addr, &mut bytes).await?;
                for (word, bytes) in set.iter_mut().zip(bytes.chunks_exact(4)) {
                    *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                }
            }
        }
        Ok(Self { addrs, count, words })
    }

    fn has(&self, set: usize, fd: usize) -> bool {
        self.words[set][fd / 32] & (1 << (fd % 32)) != 0
    }

    async fn write(&self, cx: &SyscallCx, result: &[Vec<u32>; 3]) -> Result<()> {
        for (addr, words) in self.addrs.into_iter().zip(result) {
            if addr != 0 {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                cx.write_user(addr, &bytes).await?;
            }
        }
        Ok(())
    }
}

async fn select_fds(cx: &SyscallCx, count: u64, addrs: [u64; 3], deadline: Option<Duration>) -> Result<i64> {
    let sets = FdSets::read(cx, count, addrs).await?;
    let table = cx.task.fd_table();
    let mut fds = Vec::new();
    let mut watched = Vec::new();
    for fd in 0..sets.count {
        let mut interest = Ready::NONE;
        for (set, events) in SETS.into_iter().enumerate() {
            if sets.has(set, fd) {
                interest |= events;
            }
        }
        if !interest.is_empty() {
            let file = table.get(fd as i32)?;
            fds.push(fd);
            watched.push(Watched { file: Some(file), interest });
        }
    }
    // A hang-up alone is nothing to a descriptor that is only in the other sets.
    wait_ready(cx, &watched, deadline, |one| one.ready().intersects(one.interest)).await?;
    let mut result = [vec![0; sets.words[0].len()], vec![0; sets.words[1].len()], vec![0; sets.words[2].len()]];
    let mut ready_count = 0;
    for (fd, one) in fds.into_iter().zip(&watched) {
        let ready = one.ready();
        for (set, events) in SETS.into_iter().enumerate() {
            if sets.has(set, fd) && ready.intersects(events) {
                result[set][fd / 32] |= 1 << (fd % 32);
                ready_count += 1;
            }
        }
    }
    sets.write(cx, &result).await?;
    Ok(ready_count)
}

async fn select(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout = Timeout::read(cx, args[4], TimeLayout::Timeval32).await?;
    let result = select_fds(cx, args[0], [args[1], args[2], args[3]], timeout.deadline).await;
    timeout.write_back(cx).await;
    no_handler_restarts(result)
}

/// The oldest form: one pointer to all five arguments.
async fn old_select(cx: &SyscallCx, args: Args) -> Result<i64> {
    let mut packed = [0; 6];
    for (index, slot) in packed.iter_mut().take(5).enumerate() {
        *slot = u64::from(cx.read_u32(args[0] + 4 * index as u64).await?);
    }
    select(cx, packed).await
}

async fn pselect(cx: &SyscallCx, args: Args, layout: TimeLayout) -> Result<i64> {
    let timeout = Timeout::read(cx, args[4], layout).await?;
    let (mask, size) = match args[5] {
        0 => (0, 8),
        packed => (u64::from(cx.read_u32(packed).await?), u64::from(cx.read_u32(packed + 4).await?)),
    };
    let mask = TemporaryMask::install(cx, mask, size).await?;
    let result = select_fds(cx, args[0], [args[1], args[2], args[3]], timeout.deadline).await;
    timeout.write_back(cx).await;
    mask.finish(no_handler_restarts(result))
}

async fn pselect6(cx: &SyscallCx, args: Args) -> Result<i64> {
    pselect(cx, args, TimeLayout::Timespec32).await
}

async fn pselect6_time64(cx: &SyscallCx, args: Args) -> Result<i64> {
    pselect(cx, args, TimeLayout::Timespec64).await
}
