//! What comes with a signal (`siginfo_t`, sigaction(2)), i386 layout.

use crate::signal::Signal;

/// Bytes of a `siginfo_t`.
pub const SIGINFO_SIZE: usize = 128;

/// Values of `si_code`.
#[expect(missing_docs, reason = "the names are Linux's own")]
pub mod code {
    pub const SI_USER: i32 = 0;
    pub const SI_KERNEL: i32 = 0x80;
    pub const SI_QUEUE: i32 = -1;
    pub const SI_TIMER: i32 = -2;
    pub const SI_MESGQ: i32 = -3;
    pub const SI_ASYNCIO: i32 = -4;
    pub const SI_SIGIO: i32 = -5;
    pub const SI_TKILL: i32 = -6;
    pub const ILL_ILLOPN: i32 = 2;
    pub const FPE_INTDIV: i32 = 1;
    pub const FPE_INTOVF: i32 = 2;
    pub const FPE_FLTDIV: i32 = 3;
    pub const FPE_FLTOVF: i32 = 4;
    pub const FPE_FLTUND: i32 = 5;
    pub const FPE_FLTRES: i32 = 6;
    pub const FPE_FLTINV: i32 = 7;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const TRAP_BRKPT: i32 = 1;
    pub const TRAP_TRACE: i32 = 2;
    pub const TRAP_HWBKPT: i32 = 4;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_TRAPPED: i32 = 4;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
}

/// The part of a `siginfo_t` that depends on where the signal came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the si_ fields")]
pub enum SigFields {
    /// Nothing: the kernel itself.
    None,
    /// kill(2) and tgkill(2).
    Kill { pid: i32, uid: u32 },
    /// A POSIX timer.
    Timer { id: i32, overrun: i32, value: u32 },
    /// sigqueue(3).
    Queue { pid: i32, uid: u32, value: u32 },
    /// SIGCHLD; times are in clock ticks.
    Child { pid: i32, uid: u32, status: i32, utime: u32, stime: u32 },
    /// A fault at an address.
    Fault { addr: u32 },
    /// SIGSYS of a filter: address of the call, its number, the architecture.
    Sys { addr: u32, call: i32, arch: u32 },
    /// SIGIO and SIGPOLL.
    Poll { band: u32, fd: i32 },
    /// What a program passed to rt_sigqueueinfo(2), from offset 12 on.
    Raw([u8; SIGINFO_SIZE - 12]),
}

/// A signal with where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigInfo {
    /// `si_signo`
    pub signal: Signal,
    /// `si_errno`
    pub errno: i32,
    /// `si_code`
    pub code: i32,
    /// The rest.
    pub fields: SigFields,
}

impl SigInfo {
    /// A signal that the kernel sends by itself (SI_KERNEL).
    pub fn kernel(signal: Signal) -> Self {
        Self { signal, errno: 0, code: code::SI_KERNEL, fields: SigFields::None }
    }

    /// A signal sent by kill(2).
    pub fn kill(signal: Signal, pid: i32, uid: u32) -> Self {
        Self { signal, errno: 0, code: code::SI_USER, fields: SigFields::Kill { pid, uid } }
    }

    /// A signal caused by an instruction.
    pub fn fault(signal: Signal, code: i32, addr: u32) -> Self {
        Self { signal, errno: 0, code, fields: SigFields::Fault { addr } }
    }

    /// Reads what a program passed to rt_sigqueueinfo(2).
    pub fn decode(signal: Signal, bytes: &[u8; SIGINFO_SIZE]) -> Self {
        let word = |at: usize| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut raw = [0; SIGINFO_SIZE - 12];
        raw.copy_from_slice(&bytes[12..]);
        Self { signal, errno: word(4), code: word(8), fields: SigFields::Raw(raw) }
    }

    /// The layout programs see.
    pub fn encode(&self) -> [u8; SIGINFO_SIZE] {
        let mut out = [0; SIGINFO_SIZE];
        let mut put = |at: usize, value: u32| out[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(0, self.signal.number());
        put(4, self.errno as u32);
        put(8, self.code as u32);
        match self.fields {
            SigFields::None => {}
            SigFields::Kill { pid, uid } => {
                put(12, pid as u32);
                put(16, uid);
            }
            SigFields::Timer { id, overrun, value } => {
                put(12, id as u32);
                put(16, overrun as u32);
                put(20, value);
            }
            SigFields::Queue { pid, uid, value } => {
                put(12, pid as u32);
                put(16, uid);
                put(20, value);
            }
            SigFields::Child { pid, uid, status, utime, stime } => {
                put(12, pid as u32);
                put(16, uid);
                put(20, status as u32);
                put(24, utime);
                put(28, stime);
            }
            SigFields::Fault { addr } => put(12, addr),
            SigFields::Sys { addr, call, arch } => {
                put(12, addr);
                put(16, call as u32);
                put(20, arch);
            }
            SigFields::Poll { band, fd } => {
                put(12, band);
                put(16, fd as u32);
            }
            SigFields::Raw(raw) => out[12..].copy_from_slice(&raw),
        }
        out
    }
}
