//! What a process does with each signal (sigaction(2)).

use std::cell::RefCell;

use linux_abi::signal::{SigSet, Signal};

/// Flags of sigaction(2).
#[expect(missing_docs, reason = "the names are Linux's own")]
pub mod sa {
    pub const NOCLDSTOP: u32 = 1;
    pub const NOCLDWAIT: u32 = 2;
    pub const SIGINFO: u32 = 4;
    pub const RESTORER: u32 = 0x0400_0000;
    pub const ONSTACK: u32 = 0x0800_0000;
    pub const RESTART: u32 = 0x1000_0000;
    pub const NODEFER: u32 = 0x4000_0000;
    pub const RESETHAND: u32 = 0x8000_0000;
}

/// Where a signal goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handler {
    /// SIG_DFL
    #[default]
    Default,
    /// SIG_IGN
    Ignore,
    /// A function in the program.
    Function(u64),
}

/// One `struct sigaction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// `sa_handler`
    pub handler: Handler,
    /// `sa_flags`, see [`sa`].
    pub flags: u32,
    /// `sa_restorer`
    pub restorer: u64,
    /// `sa_mask`
    pub mask: SigSet,
}

impl Action {
    /// Whether a flag is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// What SIG_DFL does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of signal(7)")]
pub enum DefaultAction {
    Terminate,
    Core,
    Ignore,
    Stop,
    Continue,
}

/// What SIG_DFL does for a signal.
pub fn default_action(signal: Signal) -> DefaultAction {
    match signal {
        Signal::CHLD | Signal::URG | Signal::WINCH => DefaultAction::Ignore,
        Signal::CONT => DefaultAction::Continue,
        Signal::STOP | Signal::TSTP | Signal::TTIN | Signal::TTOU => DefaultAction::Stop,
        Signal::QUIT
        | Signal::ILL
        | Signal::TRAP
        | Signal::ABRT
        | Signal::BUS
        | Signal::FPE
        | Signal::SEGV
        | Signal::XCPU
        | Signal::XFSZ
        | Signal::SYS => DefaultAction::Core,
        _ => DefaultAction::Terminate,
    }
}

/// The actions of a process; shared by processes made with CLONE_SIGHAND.
pub struct SigHand {
    actions: RefCell<[Action; 64]>,
}

impl Default for SigHand {
    fn default() -> Self {
        Self { actions: RefCell::new([Action::default(); 64]) }
    }
}

impl SigHand {
    /// A copy, for fork(2).
    pub(crate) fn duplicate(&self) -> Self {
        Self { actions: RefCell::new(*self.actions.borrow()) }
    }

    /// The action for a signal.
    pub fn get(&self, signal: Signal) -> Action {
        self.actions.borrow()[signal.number() as usize - 1]
    }

    pub(crate) fn set(&self, signal: Signal, action: Action) {
        self.actions.borrow_mut()[signal.number() as usize - 1] = action;
    }

    /// What execve(2) does: handlers go back to the default, ignored signals stay ignored.
    pub(crate) fn reset_for_exec(&self) {
        for action in self.actions.borrow_mut().iter_mut() {
            let handler = match action.handler {
                Handler::Ignore => Handler::Ignore,
                _ => Handler::Default,
            };
            *action = Action { handler, ..Action::default() };
        }
    }

    /// Whether the signal would have no effect: ignored, or by default without one.
    pub fn ignores(&self, signal: Signal) -> bool {
        match self.get(signal).handler {
            Handler::Ignore => true,
            Handler::Default => matches!(default_action(signal), DefaultAction::Ignore | DefaultAction::Continue),
            Handler::Function(_) => false,
        }
    }
}

/// The alternate signal stack (sigaltstack(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    /// Lowest address.
    pub base: u64,
    /// Bytes; 0 when there is none.
    pub size: u64,
    /// `ss_flags` as set.
    pub flags: u32,
}

impl AltStack {
    /// Whether the stack pointer is on it.
    pub fn contains(&self, sp: u64) -> bool {
        sp > self.base && sp - self.base <= self.size
    }
}
