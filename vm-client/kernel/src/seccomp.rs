//! seccomp(2): which system calls a task may make.
//!
//! Filters are programs for the classic BPF machine ([`bpf`]), checked when they are installed and run before each call, the
//! newest first; the strictest answer counts.

pub(crate) mod bpf;

use std::rc::Rc;

use linux_abi::layout::Writer;
use linux_abi::siginfo::{SigFields, SigInfo};
use linux_abi::signal::Signal;
use vm_cpu::reg;

use crate::ptrace::{options, request::AUDIT_ARCH_I386, stop};
use crate::task::WaitStatus;
use crate::{Errno, SyscallCx};

/// What holds for a task.
pub(crate) enum Seccomp {
    /// Only read, write, exit and sigreturn.
    Strict,
    /// What the filters say.
    Filtered(Rc<Filter>),
}

/// A filter and those installed before it.
pub(crate) struct Filter {
    pub(crate) program: bpf::Program,
    pub(crate) before: Option<Rc<Filter>>,
    /// How many there are with those before.
    pub(crate) count: u32,
}

impl Drop for Filter {
    fn drop(&mut self) {
        // A long chain must not be dropped by recursion.
        let mut next = self.before.take();
        while let Some(filter) = next {
            next = Rc::into_inner(filter).and_then(|mut filter| filter.before.take());
        }
    }
}

impl Seccomp {
    /// As in /proc/PID/status and prctl(2) PR_GET_SECCOMP.
    pub(crate) fn mode(&self) -> u8 {
        match self {
            Self::Strict => 1,
            Self::Filtered(_) => 2,
        }
    }

    /// How many filters there are.
    pub(crate) fn filters(&self) -> u32 {
        match self {
            Self::Strict => 0,
            Self::Filtered(filter) => filter.count,
        }
    }
}

/// Answers of filters, without their data.
pub(crate) mod action {
    pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
    pub(crate) const KILL_THREAD: u32 = 0;
    pub(crate) const TRAP: u32 = 0x0003_0000;
    pub(crate) const ERRNO: u32 = 0x0005_0000;
    pub(crate) const TRACE: u32 = 0x7ff0_0000;
    pub(crate) const LOG: u32 = 0x7ffc_0000;
    pub(crate) const ALLOW: u32 = 0x7fff_0000;
    pub(crate) const MASK: u32 = 0xffff_0000;
}

/// `struct seccomp_data` of the call the task is about to make.
fn data(cx: &SyscallCx) -> [u8; 64] {
    let cpu = cx.task.cpu.borrow();
    let mut raw = [0; 64];
    let mut out = Writer::new(&mut raw);
    out.u32(0, cx.task.orig_ax.get() as u32);
    out.u32(4, AUDIT_ARCH_I386);
    out.u64(8, cpu.rip & 0xffff_ffff);
    for (index, number) in [reg::RBX, reg::RCX, reg::RDX, reg::RSI, reg::RDI, reg::RBP].into_iter().enumerate() {
        out.u64(16 + 8 * index, cpu.gpr[number] & 0xffff_ffff);
    }
    raw
}

/// The strictest answer: the smallest action, as signed numbers; of equal ones the newest filter's.
fn answer(newest: &Rc<Filter>, data: &[u8; 64]) -> u32 {
    let strictness = |answer: u32| (answer & action::MASK) as i32;
    let mut strictest = newest.program.run(data);
    let mut next = newest.before.as_ref();
    while let Some(filter) = next {
        let answer = filter.program.run(data);
        if strictness(answer) < strictness(strictest) {
            strictest = answer;
        }
        next = filter.before.as_ref();
    }
    strictest
}

/// Leaves a call out, with this in eax.
fn skip(cx: &SyscallCx, eax: u32) {
    cx.task.orig_ax.set(-1);
    cx.task.cpu.borrow_mut().gpr[reg::RAX] = u64::from(eax);
}

/// Applies to the call that the task is about to make: lets it be, leaves it out, or ends the task.
pub(crate) async fn check(cx: &SyscallCx) {
    let task = &cx.task;
    let Some(seccomp) = task.seccomp.borrow().clone() else { return };
    let call = task.orig_ax.get();
    let filter = match &*seccomp {
        Seccomp::Strict => {
            // read, write, exit, sigreturn
            if ![3, 4, 1, 119].contains(&call) {
                skip(cx, 0);
                end_thread(cx, Signal::KILL);
            }
            return;
        }
        Seccomp::Filtered(filter) => filter,
    };
    let answer = answer(filter, &data(cx));
    let low = answer & !action::MASK;
    match answer & action::MASK {
        action::ALLOW | action::LOG => {}
        action::ERRNO => skip(cx, low.min(4095).wrapping_neg()),
        action::TRAP => {
            skip(cx, call as u32);
            cx.kernel.force_signal(task, sigsys(cx, call, low as i32));
        }
        action::TRACE if task.trace.has(options::TRACESECCOMP) => stop::seccomp(cx, low).await,
        action::TRACE => skip(cx, Errno::ENOSYS.number().wrapping_neg() as u32),
        action::KILL_THREAD => {
            skip(cx, call as u32);
            end_thread(cx, Signal::SYS);
        }
        // KILL_PROCESS, and whatever is not known.
        _ => {
            skip(cx, call as u32);
            cx.kernel.begin_group_exit(&task.group, WaitStatus::Signaled { signal: Signal::SYS, core: false });
        }
    }
}

fn end_thread(cx: &SyscallCx, signal: Signal) {
    let task = &cx.task;
    if task.group.threads.borrow().len() > 1 {
        task.exit_code.set(signal.number() as u8);
        task.dying.set(true);
    } else {
        cx.kernel.begin_group_exit(&task.group, WaitStatus::Signaled { signal, core: false });
    }
}

fn sigsys(cx: &SyscallCx, call: i32, errno: i32) -> SigInfo {
    const SYS_SECCOMP: i32 = 1;
    let addr = cx.task.cpu.borrow().rip as u32;
    let fields = SigFields::Sys { addr, call, arch: AUDIT_ARCH_I386 };
    SigInfo { signal: Signal::SYS, errno, code: SYS_SECCOMP, fields }
}
