//! setitimer(2) and alarm(2).

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use linux_abi::siginfo::SigInfo;
use linux_abi::signal::Signal;
use vm_rt::{Either, WaitQueue, first_of};

use crate::Kernel;
use crate::task::{RLIM_INFINITY, Resource, ThreadGroup};

/// Which of the three timers of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItimerKind {
    /// Real time, SIGALRM.
    Real = 0,
    /// Time in guest code, SIGVTALRM.
    Virtual = 1,
    /// Time in guest code and system calls, SIGPROF.
    Prof = 2,
}

impl ItimerKind {
    /// The timer with this number.
    pub fn new(which: u64) -> Option<Self> {
        [Self::Real, Self::Virtual, Self::Prof].into_iter().find(|kind| *kind as u64 == which)
    }

    fn signal(self) -> Signal {
        match self {
            Self::Real => Signal::ALRM,
            Self::Virtual => Signal::VTALRM,
            Self::Prof => Signal::PROF,
        }
    }
}

/// One interval timer. For `Real` the deadline is on monotonic time, for the others on the CPU time of the process.
#[derive(Default)]
pub struct IntervalTimer {
    deadline: Cell<Option<Duration>>,
    interval: Cell<Duration>,
    /// Ends the future that waits for the deadline of a real timer.
    changed: WaitQueue,
}

impl IntervalTimer {
    /// Time left (zero when disarmed) and interval.
    pub fn get(&self, now: Duration) -> (Duration, Duration) {
        let left = match self.deadline.get() {
            // Armed timers never report zero.
            Some(deadline) => deadline.saturating_sub(now).max(Duration::from_micros(1)),
            None => Duration::ZERO,
        };
        (left, self.interval.get())
    }

    /// Stops it.
    pub(crate) fn disarm(&self) {
        self.deadline.set(None);
        self.changed.wake_all();
    }
}

impl Kernel {
    /// The time an interval timer counts.
    pub(crate) fn itimer_now(&self, group: &ThreadGroup, kind: ItimerKind) -> Duration {
        match kind {
            ItimerKind::Real => self.now_monotonic(),
            ItimerKind::Virtual => group.usage().user,
            ItimerKind::Prof => {
                let usage = group.usage();
                usage.user + usage.system
            }
        }
    }

    /// Arms (or with zero disarms) an interval timer.
    pub(crate) fn set_itimer(&self, group: &Rc<ThreadGroup>, kind: ItimerKind, value: Duration, interval: Duration) {
        let timer = &group.itimers[kind as usize];
        timer.disarm();
        timer.interval.set(interval);
        if value.is_zero() {
            return;
        }
        timer.deadline.set(Some(self.itimer_now(group, kind) + value));
        if kind == ItimerKind::Real {
            let (kernel, group) = (self.weak(), Rc::downgrade(group));
            self.executor.spawn(async move { run_real_timer(kernel, group).await });
        }
    }

    /// Sends the signals of CPU-time timers that have run out; called after each slice of a task.
    pub(crate) fn check_cpu_timers(&self, group: &Rc<ThreadGroup>) {
        self.check_cpu_limit(group);
        for kind in [ItimerKind::Virtual, ItimerKind::Prof] {
            let timer = &group.itimers[kind as usize];
            let Some(deadline) = timer.deadline.get() else { continue };
            let now = self.itimer_now(group, kind);
            if now < deadline {
                continue;
            }
            let interval = timer.interval.get();
            timer.deadline.set((!interval.is_zero()).then(|| now + interval));
            self.send_signal_group(group, SigInfo::kernel(kind.signal()));
        }
    }
}

impl Kernel {
    /// RLIMIT_CPU: SIGXCPU every second beyond the soft limit, SIGKILL at the hard one.
    fn check_cpu_limit(&self, group: &Rc<ThreadGroup>) {
        let limit = group.rlimits.borrow().get(Resource::Cpu);
        if limit.soft == RLIM_INFINITY || group.is_exiting() {
            return;
        }
        let seconds = self.itimer_now(group, ItimerKind::Prof).as_secs();
        if seconds >= limit.hard.max(1) {
            self.send_signal_group(group, SigInfo::kernel(Signal::KILL));
        } else if seconds >= limit.soft.max(1) && seconds > group.cpu_warned.replace(seconds) {
            self.send_signal_group(group, SigInfo::kernel(Signal::XCPU));
        }
    }
}

async fn run_real_timer(kernel: Weak<Kernel>, group: Weak<ThreadGroup>) {
    loop {
        let (sleep, changed) = {
            let (Some(kernel), Some(group)) = (kernel.upgrade(), group.upgrade()) else { return };
            let timer = &group.itimers[ItimerKind::Real as usize];
            let Some(deadline) = timer.deadline.get() else { return };
            (kernel.timers.sleep_until(deadline), timer.changed.wait())
        };
        if matches!(first_of(changed, sleep).await, Either::First(())) {
            return;
        }
        let (Some(kernel), Some(group)) = (kernel.upgrade(), group.upgrade()) else { return };
        let timer = &group.itimers[ItimerKind::Real as usize];
        let Some(deadline) = timer.deadline.get() else { return };
        let interval = timer.interval.get();
        if interval.is_zero() {
            timer.deadline.set(None);
        } else {
            // Missed periods are skipped, the phase is kept.
            let late = kernel.now_monotonic().saturating_sub(deadline);
            let periods = late.as_nanos() / interval.as_nanos() + 1;
            let step = Duration::from_nanos((interval.as_nanos() * periods).min(u128::from(u64::MAX)) as u64);
            timer.deadline.set(Some(deadline + step));
        }
        kernel.send_signal_group(&group, SigInfo::kernel(Signal::ALRM));
    }
}
