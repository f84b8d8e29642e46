//! timerfd_create(2): a timer as something to read.

use std::any::Any;
use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use linux_abi::poll::Ready;
use vm_rt::{Io, WaitQueue, first_of};

use crate::vfs::{File, IoMode};
use crate::{Errno, Kernel, Result, SyscallCx};

/// A timer.
pub struct TimerFd {
    kernel: Weak<Kernel>,
    /// Whether its clock is CLOCK_REALTIME.
    pub real_time: bool,
    /// Guest monotonic time of the next expiration; `None` while it is disarmed.
    next: Cell<Option<Duration>>,
    interval: Cell<Duration>,
    changed: WaitQueue,
}

impl TimerFd {
    /// A timer that is not armed.
    pub fn new(cx: &SyscallCx, real_time: bool) -> Rc<Self> {
        Rc::new(Self {
            kernel: cx.kernel.weak(),
            real_time,
            next: Cell::new(None),
            interval: Cell::default(),
            changed: WaitQueue::new(),
        })
    }

    /// Arms it for a point in guest monotonic time, or disarms it.
    pub fn set(&self, next: Option<Duration>, interval: Duration) {
        self.next.set(next);
        self.interval.set(interval);
        self.changed.wake_all();
    }

    /// Time to the next expiration (zero if disarmed) and the interval.
    pub fn get(&self, now: Duration) -> (Duration, Duration) {
        let left = match (self.next.get(), self.interval.get()) {
            (None, _) => Duration::ZERO,
            (Some(next), _) if next > now => next - now,
            (Some(_), Duration::ZERO) => Duration::ZERO,
            (Some(next), interval) => {
                Duration::from_nanos((interval.as_nanos() - (now - next).as_nanos() % interval.as_nanos()) as u64)
            }
        };
        (left, self.interval.get())
    }

    fn now(&self) -> Duration {
        self.kernel.upgrade().map_or(Duration::ZERO, |kernel| kernel.now_monotonic())
    }

    /// Expirations since the last read.
    fn pending(&self, now: Duration) -> u64 {
        let Some(next) = self.next.get().filter(|next| *next <= now) else { return 0 };
        let interval = self.interval.get();
        if interval.is_zero() { 1 } else { ((now - next).as_nanos() / interval.as_nanos()) as u64 + 1 }
    }

    /// Expirations since the last read; counts from now on again.
    fn take(&self) -> Option<u64> {
        let now = self.now();
        let next = self.next.get().filter(|next| *next <= now)?;
        let interval = self.interval.get();
        if interval.is_zero() {
            self.next.set(None);
            return Some(1);
        }
        let missed = (now - next).as_nanos() / interval.as_nanos();
        self.next.set(Some(next + Duration::from_nanos(((missed + 1) * interval.as_nanos()) as u64)));
        Some(missed as u64 + 1)
    }

    /// Waits for the next expiration or another setting; registered at once.
    fn expired(&self) -> impl Future<Output = ()> + use<> {
        let changed = self.changed.wait();
        let sleep = self.next.get().and_then(|next| Some(self.kernel.upgrade()?.timers.sleep_until(next)));
        async move {
            match sleep {
                Some(sleep) => {
                    first_of(sleep, changed).await;
                }
                None => changed.await,
            }
        }
    }
}

impl File for TimerFd {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        let Some(buf) = buf.get_mut(..8) else { return Io::ready(Err(Errno::EINVAL)) };
        if let Some(count) = self.take() {
            buf.copy_from_slice(&count.to_le_bytes());
            return Io::ready(Ok(8));
        }
        if mode.nonblock {
            return Io::ready(Err(Errno::EAGAIN));
        }
        Io::later(async move {
            loop {
                if let Some(count) = self.take() {
                    buf.copy_from_slice(&count.to_le_bytes());
                    return Ok(8);
                }
                cx.interruptible(self.expired()).await?;
            }
        })
    }

    fn poll(&self, _interest: Ready) -> Ready {
        let expired = self.next.get().is_some_and(|next| next <= self.now());
        if expired { Ready::IN | Ready::RDNORM } else { Ready::NONE }
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        Io::later(self.expired())
    }

    fn fdinfo(&self, cx: &SyscallCx) -> String {
        let now = cx.kernel.now_monotonic();
        let (left, interval) = self.get(now);
        let ticks = self.pending(now);
        let pair = |time: Duration| format!("({}, {})", time.as_secs(), time.subsec_nanos());
        let (value, interval) = (pair(left), pair(interval));
        let clock = if self.real_time { 0 } else { 1 };
        format!("clockid: {clock}\nticks: {ticks}\nsettime flags: 00\nit_value: {value}\nit_interval: {interval}\n")
    }

    fn description(&self) -> Option<String> {
        Some("anon_inode:[timerfd]".to_owned())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
