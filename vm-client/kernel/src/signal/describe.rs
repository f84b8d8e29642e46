//! Signals in the form strace(1) prints.

use linux_abi::siginfo::{SigFields, SigInfo, code};
use linux_abi::signal::Signal;

/// `SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL}`
pub(super) fn describe(info: &SigInfo) -> String {
    let fields = match info.fields {
        SigFields::None | SigFields::Raw(_) => String::new(),
        SigFields::Kill { pid, uid } => format!(", si_pid={pid}, si_uid={uid}"),
        SigFields::Timer { id, overrun, value } => {
            format!(", si_timerid={id:#x}, si_overrun={overrun}, si_value={{int={}, ptr={value:#x}}}", value as i32)
        }
        SigFields::Queue { pid, uid, value } => {
            format!(", si_pid={pid}, si_uid={uid}, si_value={{int={}, ptr={value:#x}}}", value as i32)
        }
        SigFields::Child { pid, uid, status, utime, stime } => {
            let status = match info.code {
                code::CLD_EXITED => status.to_string(),
                _ => Signal::new(status as u32).map_or_else(|| status.to_string(), |signal| signal.to_string()),
            };
            format!(", si_pid={pid}, si_uid={uid}, si_status={status}, si_utime={utime}, si_stime={stime}")
        }
        SigFields::Fault { addr: 0 } => ", si_addr=NULL".to_owned(),
        SigFields::Fault { addr } => format!(", si_addr={addr:#x}"),
        SigFields::Sys { addr, call, arch } => {
            format!(", si_call_addr={addr:#x}, si_syscall={call}, si_arch={arch:#x}")
        }
        SigFields::Poll { band, fd } => format!(", si_band={band}, si_fd={fd}"),
    };
    format!("{0} {{si_signo={0}, si_code={1}{fields}}}", info.signal, code_name(info))
}

fn code_name(info: &SigInfo) -> String {
    let name = match (info.signal, info.code) {
        (_, code::SI_USER) => "SI_USER",
        (_, code::SI_KERNEL) => "SI_KERNEL",
        (_, code::SI_QUEUE) => "SI_QUEUE",
        (_, code::SI_TIMER) => "SI_TIMER",
        (_, code::SI_TKILL) => "SI_TKILL",
        (_, code::SI_SIGIO) => "SI_SIGIO",
        (Signal::SEGV, code::SEGV_MAPERR) => "SEGV_MAPERR",
        (Signal::SEGV, code::SEGV_ACCERR) => "SEGV_ACCERR",
        (Signal::BUS, code::BUS_ADRALN) => "BUS_ADRALN",
        (Signal::BUS, code::BUS_ADRERR) => "BUS_ADRERR",
        (Signal::ILL, code::ILL_ILLOPN) => "ILL_ILLOPN",
        (Signal::TRAP, code::TRAP_BRKPT) => "TRAP_BRKPT",
        (Signal::TRAP, code::TRAP_TRACE) => "TRAP_TRACE",
        (Signal::FPE, code::FPE_INTDIV) => "FPE_INTDIV",
        (Signal::FPE, code::FPE_INTOVF) => "FPE_INTOVF",
        (Signal::FPE, code::FPE_FLTDIV) => "FPE_FLTDIV",
        (Signal::FPE, code::FPE_FLTOVF) => "FPE_FLTOVF",
        (Signal::FPE, code::FPE_FLTUND) => "FPE_FLTUND",
        (Signal::FPE, code::FPE_FLTRES) => "FPE_FLTRES",
        (Signal::FPE, code::FPE_FLTINV) => "FPE_FLTINV",
        (Signal::CHLD, code::CLD_EXITED) => "CLD_EXITED",
        (Signal::CHLD, code::CLD_KILLED) => "CLD_KILLED",
        (Signal::CHLD, code::CLD_DUMPED) => "CLD_DUMPED",
        (Signal::CHLD, code::CLD_STOPPED) => "CLD_STOPPED",
        (Signal::CHLD, code::CLD_CONTINUED) => "CLD_CONTINUED",
        (_, other) => return format!("{other:#x}"),
    };
    name.to_owned()
}
