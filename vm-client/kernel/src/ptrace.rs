//! ptrace(2): one task watches and changes another.
//!
//! A traced task stops ([`stop`]) where its tracer is to be told something, and goes on when the tracer says so. While it is
//! stopped its registers ([`registers`]) and memory (`Mm::peek`, `Mm::poke`) are the tracer's. [`attach`] ties and unties the
//! two, [`wait`] is what wait(2) sees of tracees, [`request`] the calls. Nothing here costs an untraced task more than the
//! look at one flag.

pub(crate) mod attach;
pub(crate) mod registers;
pub(crate) mod request;
pub(crate) mod stop;
pub(crate) mod wait;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::signal::SigInfo;
use crate::task::{Credentials, Task, WaitStatus, cap};
use crate::{Errno, Result, SyscallCx};

/// Options of PTRACE_SETOPTIONS that are looked at by name; those of events are bits by the event's number.
pub(crate) mod options {
    pub(crate) const TRACESYSGOOD: u32 = 1;
    pub(crate) const TRACEEXEC: u32 = 1 << event::EXEC;
    pub(crate) const TRACEEXIT: u32 = 1 << event::EXIT;
    pub(crate) const TRACESECCOMP: u32 = 1 << event::SECCOMP;
    pub(crate) const EXITKILL: u32 = 1 << 20;
    pub(crate) const SUSPEND_SECCOMP: u32 = 1 << 21;
    pub(crate) const ALL: u32 = 0xff | EXITKILL | SUSPEND_SECCOMP;

    use super::event;
}

/// Numbers of PTRACE_EVENT stops; an option's bit is its event's number.
pub(crate) mod event {
    pub(crate) const FORK: u32 = 1;
    pub(crate) const VFORK: u32 = 2;
    pub(crate) const CLONE: u32 = 3;
    pub(crate) const EXEC: u32 = 4;
    pub(crate) const VFORK_DONE: u32 = 5;
    pub(crate) const EXIT: u32 = 6;
    pub(crate) const SECCOMP: u32 = 7;
    pub(crate) const STOP: u32 = 128;
}

/// How a tracee was let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// PTRACE_CONT
    #[default]
    Run,
    /// PTRACE_SYSCALL: stops before and after system calls.
    Syscall,
    /// PTRACE_SINGLESTEP
    Step,
    /// PTRACE_SYSEMU: stops before system calls and leaves them out.
    Emulate,
    /// PTRACE_SYSEMU_SINGLESTEP
    EmulateStep,
}

/// What kind of system call stop a tracee is in, for PTRACE_GET_SYSCALL_INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CallStop {
    #[default]
    None,
    Entry,
    Exit,
    Seccomp,
}

/// A stop of a tracee.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// The upper part of the wait status: a signal, with an event above it.
    pub(crate) code: u32,
    /// What PTRACE_GETSIGINFO gives; a group stop has nothing.
    pub(crate) info: Option<SigInfo>,
    pub(crate) call: CallStop,
    /// Whether wait(2) has told of it.
    pub(crate) reported: bool,
    /// PTRACE_LISTEN: stopped, but not for the tracer.
    pub(crate) listening: bool,
}

/// The ptrace(2) state of a task.
#[derive(Default)]
pub(crate) struct Trace {
    on: Cell<bool>,
    tracer: RefCell<Weak<Task>>,
    /// Attached by PTRACE_SEIZE.
    pub(crate) seized: Cell<bool>,
    pub(crate) options: Cell<u32>,
    pub(crate) mode: Cell<Mode>,
    pub(crate) stop: RefCell<Option<Stop>>,
    /// The signal it goes on with.
    pub(crate) inject: Cell<u32>,
    /// What PTRACE_GETEVENTMSG gives.
    pub(crate) message: Cell<u32>,
    /// PTRACE_INTERRUPT, or an attachment, wants it to stop.
    pub(crate) interrupt: Cell<bool>,
    /// The trap flag is the tracer's, not the program's.
    pub(crate) forced_step: Cell<bool>,
    /// The thread has ended and its tracer has not waited for it.
    pub(crate) ended: Cell<Option<WaitStatus>>,
}

impl Trace {
    /// Whether the task is traced.
    pub(crate) fn on(&self) -> bool {
        self.on.get()
    }

    /// The tracing task.
    pub(crate) fn tracer(&self) -> Option<Rc<Task>> {
        if self.on() { self.tracer.borrow().upgrade() } else { None }
    }

    pub(crate) fn has(&self, option: u32) -> bool {
        self.on() && self.options.get() & option != 0
    }

    /// Whether system calls stop the task.
    pub(crate) fn stops_at_calls(&self) -> bool {
        self.on() && matches!(self.mode.get(), Mode::Syscall | Mode::Emulate | Mode::EmulateStep)
    }

    /// Whether every instruction stops the task.
    pub(crate) fn steps(&self) -> bool {
        self.on() && matches!(self.mode.get(), Mode::Step | Mode::EmulateStep)
    }
}

/// Which identity counts in an access check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The file-system one, for /proc.
    FileSystem,
    /// The real one, for system calls.
    Real,
}

/// Whether the caller may look into a task (ptrace(2), "Ptrace access mode checking").
pub(crate) fn may_access(cx: &SyscallCx, task: &Task, identity: Identity) -> bool {
    if cx.task.pid() == task.pid() {
        return true;
    }
    let (mine, theirs) = (cx.task.credentials(), task.credentials());
    if mine.capable_in(&theirs.user_ns, cap::SYS_PTRACE) {
        return true;
    }
    let (uid, gid) = match identity {
        Identity::FileSystem => (mine.fsuid, mine.fsgid),
        Identity::Real => (mine.uid, mine.gid),
    };
    same_owner(&theirs, uid, gid) && task.group.dumpable.get() == 1 && theirs.cap_permitted & !mine.cap_effective == 0
}

fn same_owner(theirs: &Credentials, uid: u32, gid: u32) -> bool {
    [theirs.uid, theirs.euid, theirs.suid].iter().all(|id| *id == uid)
        && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|id| *id == gid)
}

/// EPERM unless the caller may attach to a task or touch its memory.
pub(crate) fn check_access(cx: &SyscallCx, task: &Task) -> Result<()> {
    if may_access(cx, task, Identity::Real) { Ok(()) } else { Err(Errno::EPERM) }
}
