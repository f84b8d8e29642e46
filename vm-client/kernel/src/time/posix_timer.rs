//! timer_create(2) and its family.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use linux_abi::siginfo::{SigFields, SigInfo, code};
use linux_abi::signal::Signal;
use vm_rt::{Either, WaitQueue, first_of};

use crate::Kernel;
use crate::task::{Pid, ThreadGroup};

/// Whom an expiry is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Nobody (SIGEV_NONE).
    Nobody,
    /// The process (SIGEV_SIGNAL).
    Process(Signal),
    /// One thread (SIGEV_THREAD_ID).
    Thread(Signal, Pid),
}

/// One timer of timer_create(2).
pub struct PosixTimer {
    /// Its number.
    pub id: i32,
    /// Clock number as given.
    pub clock: i32,
    /// Whom to tell.
    pub notify: Notify,
    /// `sigev_value`
    pub value: u32,
    deadline: Cell<Option<Duration>>,
    interval: Cell<Duration>,
    overrun: Cell<i32>,
    changed: WaitQueue,
}

impl PosixTimer {
    pub(crate) fn new(id: i32, clock: i32, notify: Notify, value: u32) -> Self {
        Self {
            id,
            clock,
            notify,
            value,
            deadline: Cell::default(),
            interval: Cell::default(),
            overrun: Cell::default(),
            changed: WaitQueue::new(),
        }
    }

    /// Time left (zero when disarmed) and interval.
    pub fn get(&self, now: Duration) -> (Duration, Duration) {
        let left = self.deadline.get().map_or(Duration::ZERO, |at| at.saturating_sub(now).max(Duration::from_nanos(1)));
        (left, self.interval.get())
    }

    /// Expiries missed by the last signal (timer_getoverrun(2)).
    pub fn overrun(&self) -> i32 {
        self.overrun.get()
    }

    pub(crate) fn disarm(&self) {
        self.deadline.set(None);
        self.changed.wake_all();
    }
}

impl Kernel {
    /// Arms (or with `None` disarms) a timer; the deadline is on monotonic time.
    pub(crate) fn set_posix_timer(
        &self,
        group: &Rc<ThreadGroup>,
        timer: &Rc<PosixTimer>,
        deadline: Option<Duration>,
        interval: Duration,
    ) {
        timer.disarm();
        timer.interval.set(interval);
        timer.overrun.set(0);
        timer.deadline.set(deadline);
        if deadline.is_some() {
            let (kernel, group, timer) = (self.weak(), Rc::downgrade(group), Rc::downgrade(timer));
            self.executor.spawn(async move { run_timer(kernel, group, timer).await });
        }
    }
}

async fn run_timer(kernel: Weak<Kernel>, group: Weak<ThreadGroup>, timer: Weak<PosixTimer>) {
    loop {
        let (sleep, changed) = {
            let (Some(kernel), Some(timer)) = (kernel.upgrade(), timer.upgrade()) else { return };
            let Some(deadline) = timer.deadline.get() else { return };
            (kernel.timers.sleep_until(deadline), timer.changed.wait())
        };
        if matches!(first_of(changed, sleep).await, Either::First(())) {
            return;
        }
        let (Some(kernel), Some(group), Some(timer)) = (kernel.upgrade(), group.upgrade(), timer.upgrade()) else {
            return;
        };
        let Some(deadline) = timer.deadline.get() else { return };
        let interval = timer.interval.get();
        let mut periods = 1;
        if interval.is_zero() {
            timer.deadline.set(None);
        } else {
            let late = kernel.now_monotonic().saturating_sub(deadline);
            periods = late.as_nanos() / interval.as_nanos() + 1;
            let step = Duration::from_nanos((interval.as_nanos() * periods).min(u128::from(u64::MAX)) as u64);
            timer.deadline.set(Some(deadline + step));
        }
        expire(&kernel, &group, &timer, i32::try_from(periods).unwrap_or(i32::MAX));
    }
}

fn expire(kernel: &Kernel, group: &Rc<ThreadGroup>, timer: &PosixTimer, periods: i32) {
    let info = |signal| SigInfo {
        signal,
        errno: 0,
        code: code::SI_TIMER,
        fields: SigFields::Timer { id: timer.id, overrun: periods - 1, value: timer.value },
    };
    match timer.notify {
        Notify::Nobody => {}
        Notify::Process(signal) => {
            if group.shared_pending.borrow_mut().add_overrun(timer.id, periods) {
                timer.overrun.set(timer.overrun.get().saturating_add(periods));
                return;
            }
            timer.overrun.set(periods - 1);
            kernel.send_signal_group(group, info(signal));
        }
        Notify::Thread(signal, tid) => {
            let Some(task) = kernel.processes.task(tid).filter(|task| Rc::ptr_eq(&task.group, group)) else { return };
            if task.pending.borrow_mut().add_overrun(timer.id, periods) {
                timer.overrun.set(timer.overrun.get().saturating_add(periods));
                return;
            }
            timer.overrun.set(periods - 1);
            kernel.send_signal_task(&task, info(signal));
        }
    }
}
