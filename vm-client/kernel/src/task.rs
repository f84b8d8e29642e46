//! Tasks (guest threads), thread groups (processes), process groups and sessions.
//!
//! A [`Task`] is one future (`run`) that loops "run guest code, handle why it stopped, deliver signals". A [`ThreadGroup`] is
//! what Linux calls a process. Both are found by number in the [`ProcessTable`] of the kernel. The registers live in the task
//! and are lent to the engine only while it runs, so that at every await others may look at them.

pub(crate) mod clone;
mod credentials;
pub(crate) mod exec;
pub(crate) mod exit;
mod group;
mod interrupt;
mod job_control;
mod rlimit;
mod run;
mod session;
mod spawn;
mod status;
mod table;
pub(crate) mod wait;

pub use credentials::{Credentials, cap};
pub use group::{Rusage, ThreadGroup};

pub use rlimit::{RLIM_INFINITY, Resource, Rlimit, Rlimits};
pub use session::Session;
pub use spawn::{NewSession, StartProgram};
pub use status::WaitStatus;
pub use table::ProcessTable;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use linux_abi::signal::SigSet;
use vm_cpu::Cpu;

use crate::mm::Mm;
use crate::namespace::Namespaces;
use crate::ptrace::Trace;
use crate::seccomp::Seccomp;
use crate::signal::{AltStack, SigQueue};
use crate::time::RestartBlock;
use crate::vfs::{FdTable, FsContext};

/// A process, thread, process group or session number.
pub type Pid = i32;

/// What a task is doing, as /proc/PID/stat shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Running or able to (R).
    Running,
    /// Waiting, signals end the wait (S).
    Sleeping,
    /// Waiting for a disk, only SIGKILL ends the wait (D).
    DiskSleep,
    /// Stopped by a signal (T).
    Stopped,
    /// Stopped for its tracer (t).
    Tracing,
    /// Finished, not yet waited for (Z).
    Zombie,
}

impl TaskState {
    /// The letter in /proc/PID/stat.
    pub fn letter(self) -> char {
        match self {
            Self::Running => 'R',
            Self::Sleeping => 'S',
            Self::DiskSleep => 'D',
            Self::Stopped => 'T',
            Self::Tracing => 't',
            Self::Zombie => 'Z',
        }
    }

    /// The word in /proc/PID/status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::DiskSleep => "disk sleep",
            Self::Stopped => "stopped",
            Self::Tracing => "tracing stop",
            Self::Zombie => "zombie",
        }
    }
}

/// A guest thread.
pub struct Task {
    tid: Cell<Pid>,
    /// The process it belongs to.
    pub group: Rc<ThreadGroup>,
    /// Registers; lent to the engine only while it runs.
    pub cpu: RefCell<Cpu>,
    /// Address space; `None` once the task has ended (and in the built-in init).
    pub mm: RefCell<Option<Rc<Mm>>>,
    /// Who it acts as.
    pub creds: RefCell<Rc<Credentials>>,
    /// Open descriptors.
    pub files: RefCell<Rc<FdTable>>,
    /// Root, working directory and umask.
    pub fs: RefCell<Rc<FsContext>>,
    /// What it has of its own where others share the machine's.
    pub namespaces: RefCell<Rc<Namespaces>>,
    /// Name shown by ps(1), at most 15 bytes.
    pub comm: RefCell<Vec<u8>>,
    /// Blocked signals.
    pub blocked: Cell<SigSet>,
    /// The mask to go back to once the signals that sigsuspend(2), ppoll(2) and the like let in are delivered.
    pub saved_mask: Cell<Option<SigSet>>,
    /// Signals sent to this thread.
    pub pending: RefCell<SigQueue>,
    /// The alternate signal stack.
    pub altstack: Cell<AltStack>,
    /// Address and length given to set_robust_list(2).
    pub robust_list: Cell<(u64, u64)>,
    /// The word to clear and wake when the thread ends (set_tid_address(2), CLONE_CHILD_CLEARTID); 0 is none.
    pub clear_child_tid: Cell<u64>,
    /// How restart_syscall(2) goes on.
    pub restart: RefCell<Option<RestartBlock>>,
    /// What it is doing.
    pub state: Cell<TaskState>,
    /// The system call number it entered the kernel with, -1 when something else brought it there (`orig_eax`).
    pub(crate) orig_ax: Cell<i32>,
    /// What ptrace(2) knows of it.
    pub(crate) trace: Trace,
    /// Number of the system call it is in.
    pub in_syscall: Cell<Option<u32>>,
    /// nice(2) value.
    pub nice: Cell<i32>,
    /// sched_setscheduler(2) policy.
    pub policy: Cell<u32>,
    /// personality(2).
    pub personality: Cell<u32>,
    /// What seccomp(2) lets it do.
    pub(crate) seccomp: RefCell<Option<Rc<Seccomp>>>,
    /// prctl(2) PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: Cell<bool>,
    /// prctl(2) PR_SET_KEEPCAPS.
    pub keep_caps: Cell<bool>,
    /// prctl(2) PR_SET_PDEATHSIG; 0 is none.
    pub parent_death_signal: Cell<u32>,
    /// prctl(2) PR_SET_TIMERSLACK, nanoseconds.
    pub timer_slack: Cell<u64>,
    /// CPU time, faults and switches.
    pub usage: Cell<Rusage>,
    /// Guest monotonic time at which it began.
    pub started: Duration,
    /// Woken when this task, made by vfork(2), execs or ends.
    pub(crate) vfork_parent: RefCell<Option<Rc<VforkWait>>>,
    /// Wakes the task's future.
    waker: RefCell<Option<Waker>>,
    /// The thread alone is to end (another thread of its group execs).
    pub(crate) dying: Cell<bool>,
    /// What the thread passed to exit(2).
    pub(crate) exit_code: Cell<u8>,
    /// Takes part in a group stop now.
    pub(crate) stopped: Cell<bool>,
    /// Processor exception number and error code of the last fault, for signal frames.
    pub(crate) last_fault: Cell<FaultRegs>,
}

/// A parent suspended by vfork(2).
#[derive(Default)]
pub(crate) struct VforkWait {
    /// The child has its own memory now, or has ended.
    pub(crate) done: Cell<bool>,
    /// Woken then.
    pub(crate) queue: vm_rt::WaitQueue,
}

/// What a signal frame says of the last processor exception.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRegs {
    /// Exception vector.
    pub trapno: u32,
    /// Error code.
    pub err: u32,
    /// Faulting address.
    pub cr2: u32,
}

/// What a new task is made of.
pub(crate) struct TaskParts {
    pub(crate) tid: Pid,
    pub(crate) group: Rc<ThreadGroup>,
    pub(crate) cpu: Cpu,
    pub(crate) mm: Option<Rc<Mm>>,
    pub(crate) creds: Rc<Credentials>,
    pub(crate) files: Rc<FdTable>,
    pub(crate) fs: Rc<FsContext>,
    pub(crate) comm: Vec<u8>,
    pub(crate) started: Duration,
}

impl Task {
    pub(crate) fn new(parts: TaskParts) -> Self {
        let TaskParts { tid, group, cpu, mm, creds, files, fs, comm, started } = parts;
        Self {
            tid: Cell::new(tid),
            group,
            cpu: RefCell::new(cpu),
            mm: RefCell::new(mm),
            creds: RefCell::new(creds),
            files: RefCell::new(files),
            fs: RefCell::new(fs),
            namespaces: RefCell::default(),
            comm: RefCell::new(comm),
            blocked: Cell::default(),
            saved_mask: Cell::default(),
            pending: RefCell::default(),
            altstack: Cell::default(),
            robust_list: Cell::default(),
            clear_child_tid: Cell::default(),
            restart: RefCell::default(),
            state: Cell::new(TaskState::Running),
            orig_ax: Cell::new(-1),
            trace: Trace::default(),
            in_syscall: Cell::default(),
            nice: Cell::default(),
            policy: Cell::default(),
            personality: Cell::default(),
            seccomp: RefCell::default(),
            no_new_privs: Cell::default(),
            keep_caps: Cell::default(),
            parent_death_signal: Cell::default(),
            timer_slack: Cell::new(50_000),
            usage: Cell::default(),
            started,
            vfork_parent: RefCell::default(),
            waker: RefCell::default(),
            dying: Cell::default(),
            exit_code: Cell::default(),
            stopped: Cell::default(),
            last_fault: Cell::default(),
        }
    }

    /// Thread number (gettid(2)). It changes once in a life at most: the thread that execs becomes the leader.
    pub fn tid(&self) -> Pid {
        self.tid.get()
    }

    pub(crate) fn set_tid(&self, tid: Pid) {
        self.tid.set(tid);
    }

    /// Process number (getpid(2)).
    pub fn pid(&self) -> Pid {
        self.group.pid
    }

    /// Whether it is the thread whose number is the process number.
    pub fn is_leader(&self) -> bool {
        self.tid() == self.group.pid
    }

    /// The address space, unless the task has ended.
    pub fn mm(&self) -> Option<Rc<Mm>> {
        self.mm.borrow().clone()
    }

    /// Who it acts as.
    pub fn credentials(&self) -> Rc<Credentials> {
        Rc::clone(&self.creds.borrow())
    }

    /// Its descriptors.
    pub fn fd_table(&self) -> Rc<FdTable> {
        Rc::clone(&self.files.borrow())
    }

    /// Its root, working directory and umask.
    pub fn fs_context(&self) -> Rc<FsContext> {
        Rc::clone(&self.fs.borrow())
    }

    /// Sets the name shown by ps(1), cut to 15 bytes.
    pub fn set_comm(&self, name: &[u8]) {
        *self.comm.borrow_mut() = name.iter().copied().take(15).take_while(|b| *b != 0).collect();
    }

    /// The name shown by ps(1).
    pub fn comm_text(&self) -> String {
        String::from_utf8_lossy(&self.comm.borrow()).into_owned()
    }
}
