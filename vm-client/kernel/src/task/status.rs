//! What wait(2) reports.

use linux_abi::siginfo::code;
use linux_abi::signal::Signal;

/// A change of state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitStatus {
    /// It called exit(2) with this code.
    Exited(u8),
    /// A signal ended it.
    Signaled {
        /// Which.
        signal: Signal,
        /// Whether a core file was written.
        core: bool,
    },
    /// A signal stopped it.
    Stopped(Signal),
    /// It stopped for its tracer: a signal, with an event above it (ptrace(2)).
    Trapped(u32),
    /// SIGCONT continued it.
    Continued,
}

impl WaitStatus {
    /// The status word of wait4(2).
    pub fn encode(self) -> u32 {
        match self {
            Self::Exited(code) => u32::from(code) << 8,
            Self::Signaled { signal, core } => signal.number() | if core { 0x80 } else { 0 },
            Self::Stopped(signal) => signal.number() << 8 | 0x7f,
            Self::Trapped(code) => code << 8 | 0x7f,
            Self::Continued => 0xffff,
        }
    }

    /// `si_code` and `si_status` of the SIGCHLD and of waitid(2).
    pub fn child_code(self) -> (i32, i32) {
        match self {
            Self::Exited(status) => (code::CLD_EXITED, i32::from(status)),
            Self::Signaled { signal, core: false } => (code::CLD_KILLED, signal.number() as i32),
            Self::Signaled { signal, core: true } => (code::CLD_DUMPED, signal.number() as i32),
            Self::Stopped(signal) => (code::CLD_STOPPED, signal.number() as i32),
            Self::Trapped(stop) => (code::CLD_TRAPPED, stop as i32),
            Self::Continued => (code::CLD_CONTINUED, Signal::CONT.number() as i32),
        }
    }

    /// The exit code a shell would report.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Exited(code) => i32::from(code),
            Self::Signaled { signal, .. } | Self::Stopped(signal) => 128 + signal.number() as i32,
            Self::Trapped(stop) => 128 + (stop & 0x7f) as i32,
            Self::Continued => 0,
        }
    }
}
