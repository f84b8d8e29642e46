//! Thread groups: what Linux calls processes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use linux_abi::signal::Signal;
use vm_rt::WaitQueue;

use super::{Pid, Rlimits, Session, Task, WaitStatus};
use crate::signal::{SigHand, SigQueue};
use crate::time::{IntervalTimer, PosixTimer};
use crate::vfs::Path;

/// CPU time and counters, as getrusage(2) reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rusage {
    /// Time in guest code.
    pub user: Duration,
    /// Time in system calls.
    pub system: Duration,
    /// Largest resident set, KiB.
    pub max_rss: u64,
    /// Faults served from memory.
    pub minor_faults: u64,
    /// Faults that waited for a disk.
    pub major_faults: u64,
    /// Times it waited.
    pub voluntary_switches: u64,
    /// Times its slice ran out.
    pub involuntary_switches: u64,
}

impl Rusage {
    /// Adds the figures of another task or process.
    pub fn add(&mut self, other: &Rusage) {
        self.user += other.user;
        self.system += other.system;
        self.max_rss = self.max_rss.max(other.max_rss);
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
    }
}

/// A process: what its threads share whatever clone(2) flags they were made with.
pub struct ThreadGroup {
    /// Process number (getpid(2)).
    pub pid: Pid,
    pub(crate) parent: RefCell<Weak<ThreadGroup>>,
    /// Its children, zombies too.
    pub children: RefCell<Vec<Rc<ThreadGroup>>>,
    /// Its threads that have not ended; the leader first, unless it ended before the others.
    pub threads: RefCell<Vec<Rc<Task>>>,
    /// Tasks that its threads trace.
    pub(crate) tracees: RefCell<Vec<Rc<Task>>>,
    /// The leader, kept after its end until the process is waited for.
    pub(crate) leader: RefCell<Weak<Task>>,
    /// Process group.
    pub pgrp: Cell<Pid>,
    /// Session.
    pub session: RefCell<Rc<Session>>,
    /// Signal actions.
    pub sighand: RefCell<Rc<SigHand>>,
    /// Signals sent to the process as a whole.
    pub shared_pending: RefCell<SigQueue>,
    /// Resource limits.
    pub rlimits: RefCell<Rlimits>,
    /// The program it runs.
    pub exe: RefCell<Option<Path>>,
    /// Set once the process is to end, to what it ends with; every thread that sees it ends.
    pub(crate) exiting: Cell<Option<WaitStatus>>,
    /// Set when the last thread has ended.
    pub(crate) exit_status: Cell<Option<WaitStatus>>,
    /// The signal the parent gets at the end; `None` for none.
    pub exit_signal: Cell<Option<Signal>>,
    /// Set while the group is to be stopped, to the signal that did it.
    pub(crate) stop: Cell<Option<Signal>>,
    /// A stop, or (`None` in it) a continuation, that wait(2) has not reported yet.
    pub(crate) unreported: Cell<Option<WaitStatus>>,
    /// Whether the parent was told of the present stop.
    pub(crate) stop_reported: Cell<bool>,
    /// Threads waiting for SIGCONT.
    pub(crate) continued: WaitQueue,
    /// Woken when a child changes state.
    pub(crate) child_changed: WaitQueue,
    /// Woken when a thread ends.
    pub(crate) thread_ended: WaitQueue,
    /// What its ended threads used.
    pub(crate) ended_usage: Cell<Rusage>,
    /// What its children that were waited for used.
    pub(crate) children_usage: Cell<Rusage>,
    /// setitimer(2): ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
    pub(crate) itimers: [IntervalTimer; 3],
    /// Seconds of CPU time at which RLIMIT_CPU was last complained about.
    pub(crate) cpu_warned: Cell<u64>,
    /// timer_create(2).
    pub(crate) posix_timers: RefCell<BTreeMap<i32, Rc<PosixTimer>>>,
    /// Whether it has called execve(2) since fork(2): then setpgid(2) from the parent is EACCES.
    pub did_exec: Cell<bool>,
    /// prctl(2) PR_SET_DUMPABLE.
    pub dumpable: Cell<u32>,
    /// prctl(2) PR_SET_CHILD_SUBREAPER.
    pub child_subreaper: Cell<bool>,
    /// /proc/PID/oom_score_adj.
    pub oom_score_adj: Cell<i32>,
    /// Signals without a handler do not reach it (the built-in init, or an init program).
    pub unkillable: Cell<bool>,
    /// Guest monotonic time at which it began.
    pub started: Duration,
    /// Woken when the last thread has ended, for the host.
    pub(crate) ended: WaitQueue,
}

impl ThreadGroup {
    pub(crate) fn new(
        pid: Pid,
        parent: Weak<ThreadGroup>,
        pgrp: Pid,
        session: Rc<Session>,
        sighand: Rc<SigHand>,
        rlimits: Rlimits,
        started: Duration,
    ) -> Self {
        Self {
            pid,
            parent: RefCell::new(parent),
            children: RefCell::default(),
            threads: RefCell::default(),
            tracees: RefCell::default(),
            leader: RefCell::default(),
            pgrp: Cell::new(pgrp),
            session: RefCell::new(session),
            sighand: RefCell::new(sighand),
            shared_pending: RefCell::default(),
            rlimits: RefCell::new(rlimits),
            exe: RefCell::default(),
            exiting: Cell::default(),
            exit_status: Cell::default(),
            exit_signal: Cell::new(Some(Signal::CHLD)),
            stop: Cell::default(),
            unreported: Cell::default(),
            stop_reported: Cell::default(),
            continued: WaitQueue::new(),
            child_changed: WaitQueue::new(),
            thread_ended: WaitQueue::new(),
            ended_usage: Cell::default(),
            children_usage: Cell::default(),
            itimers: Default::default(),
            cpu_warned: Cell::default(),
            posix_timers: RefCell::default(),
            did_exec: Cell::default(),
            dumpable: Cell::new(1),
            child_subreaper: Cell::default(),
            oom_score_adj: Cell::default(),
            unkillable: Cell::default(),
            started,
            ended: WaitQueue::new(),
        }
    }

    /// The parent process.
    pub fn parent(&self) -> Option<Rc<ThreadGroup>> {
        self.parent.borrow().upgrade()
    }

    /// Its number; 0 without a parent.
    pub fn ppid(&self) -> Pid {
        self.parent().map_or(0, |parent| parent.pid)
    }

    /// The first thread, also after its end until the process was waited for.
    pub fn leader(&self) -> Option<Rc<Task>> {
        self.leader.borrow().upgrade().or_else(|| self.threads.borrow().first().cloned())
    }

    /// Whether it has ended and waits to be reaped.
    pub fn is_zombie(&self) -> bool {
        self.exit_status.get().is_some()
    }

    /// Whether it has ended or is about to.
    pub fn is_exiting(&self) -> bool {
        self.exiting.get().is_some() || self.is_zombie()
    }

    /// What all its threads, ended ones too, have used.
    pub fn usage(&self) -> Rusage {
        let mut sum = self.ended_usage.get();
        for task in self.threads.borrow().iter() {
            sum.add(&task.usage.get());
        }
        sum
    }

    /// What its children that were waited for have used.
    pub fn children_usage(&self) -> Rusage {
        self.children_usage.get()
    }
}
