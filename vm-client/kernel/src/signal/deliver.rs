//! Delivering signals on the way back to guest code.

use std::rc::Rc;

use linux_abi::siginfo::SigInfo;
use linux_abi::signal::{SigSet, Signal};
use vm_cpu::reg;

use super::action::{DefaultAction, Handler, default_action};
use super::describe::describe;
use super::{Action, frame_i386, sa};
use crate::task::{Task, WaitStatus};
use crate::{Errno, SyscallCx, strace};

/// `restart_syscall(2)` on i386.
const NR_RESTART_SYSCALL: u64 = 0;
/// `int $0x80` is two bytes long.
const GATE_LENGTH: u64 = 2;

/// A system call that ended with one of the restart codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interrupted {
    /// Its number.
    pub(crate) number: u32,
    /// ERESTARTSYS and relatives.
    pub(crate) how: Errno,
}

/// What the task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Runs guest code.
    Run,
    /// Ends.
    Exit,
}

/// Delivers what is pending: stops, ends or redirects the task to a handler, and decides whether an interrupted call is
/// made again.
pub(crate) async fn deliver(cx: &SyscallCx, mut interrupted: Option<Interrupted>) -> Next {
    let task = &cx.task;
    loop {
        if task.dying.get() || task.group.exiting.get().is_some() {
            return Next::Exit;
        }
        if task.group.stop.get().is_some() {
            cx.kernel.stop_here(task).await;
            continue;
        }
        let Some(info) = dequeue(task, SigSet(!task.blocked.get().0)) else { break };
        let sighand = Rc::clone(&task.group.sighand.borrow());
        let action = sighand.get(info.signal);
        if cx.kernel.strace.borrow().is_some() {
            strace::signal(cx, &describe(&info));
        }
        match action.handler {
            Handler::Ignore => {}
            Handler::Function(handler) => {
                if action.has(sa::RESETHAND) {
                    sighand.set(info.signal, Action { handler: Handler::Default, ..action });
                }
                if let Some(call) = interrupted.take() {
                    resolve_for_handler(task, call, &action);
                }
                handle(cx, &action, handler, &info).await;
                // Further signals interrupt the handler before its first instruction.
            }
            Handler::Default => default(cx, &info),
        }
    }
    if let Some(call) = interrupted {
        resolve_without_handler(task, call);
    }
    if let Some(mask) = task.saved_mask.take() {
        task.blocked.set(mask);
        // What the old mask lets in is delivered at once.
        if task.signal_pending() {
            return Box::pin(deliver(cx, None)).await;
        }
    }
    Next::Run
}

/// Takes the next signal for the task: its own first, then the process's.
pub(crate) fn dequeue(task: &Task, wanted: SigSet) -> Option<SigInfo> {
    let own = task.pending.borrow_mut().take(wanted);
    own.or_else(|| task.group.shared_pending.borrow_mut().take(wanted))
}

fn default(cx: &SyscallCx, info: &SigInfo) {
    let group = &cx.task.group;
    if group.unkillable.get() {
        return;
    }
    match default_action(info.signal) {
        DefaultAction::Ignore | DefaultAction::Continue => {}
        DefaultAction::Stop => {
            // SIGTSTP and the terminal's two do nothing when nobody could continue the group; SIGSTOP always stops.
            if info.signal == Signal::STOP || !cx.kernel.is_orphaned_pgrp(group.pgrp.get()) {
                cx.kernel.begin_group_stop(group, info.signal);
            }
        }
        DefaultAction::Terminate => {
            cx.kernel.begin_group_exit(group, WaitStatus::Signaled { signal: info.signal, core: false });
        }
        DefaultAction::Core => {
            cx.kernel.begin_group_exit(group, WaitStatus::Signaled { signal: info.signal, core: dumps_core(&cx.task) });
        }
    }
}

/// Whether the status says that a core was dumped: as Linux with a core limit of zero and no core pattern program, no.
fn dumps_core(task: &Task) -> bool {
    let limit = task.group.rlimits.borrow().soft(crate::task::Resource::Core);
    limit > 0 && task.group.dumpable.get() == 1
}

async fn handle(cx: &SyscallCx, action: &Action, handler: u64, info: &SigInfo) {
    let task = &cx.task;
    let old = task.saved_mask.take().unwrap_or_else(|| task.blocked.get());
    let mm = cx.mm();
    if frame_i386::push(task, &mm, action, handler, info, old).await.is_err() {
        // No stack to run the handler on. When the signal says just that, nothing else helps.
        if info.signal == Signal::SEGV {
            task.group.sighand.borrow().set(Signal::SEGV, Action::default());
        }
        task.blocked.set(old);
        cx.kernel.force_signal(task, SigInfo::kernel(Signal::SEGV));
        return;
    }
    let mut mask = task.blocked.get();
    mask.0 |= action.mask.0;
    if !action.has(sa::NODEFER) {
        mask.insert(info.signal);
    }
    task.blocked.set(without_uncatchable(mask));
}

/// A mask as it can be set: SIGKILL and SIGSTOP are never blocked.
pub(crate) fn without_uncatchable(mask: SigSet) -> SigSet {
    SigSet(mask.0 & !(Signal::KILL.bit() | Signal::STOP.bit()))
}

fn resolve_for_handler(task: &Task, call: Interrupted, action: &Action) {
    let again = match call.how {
        Errno::ERESTARTNOINTR => true,
        Errno::ERESTARTSYS => action.has(sa::RESTART),
        _ => false,
    };
    if again {
        make_again(task, u64::from(call.number));
    } else {
        task.cpu.borrow_mut().gpr[reg::RAX] = u64::from((-Errno::EINTR.number()) as u32);
    }
}

fn resolve_without_handler(task: &Task, call: Interrupted) {
    let number = if call.how == Errno::ERESTARTBLOCK { NR_RESTART_SYSCALL } else { u64::from(call.number) };
    make_again(task, number);
}

fn make_again(task: &Task, number: u64) {
    let mut cpu = task.cpu.borrow_mut();
    cpu.gpr[reg::RAX] = number;
    cpu.rip = cpu.rip.wrapping_sub(GATE_LENGTH);
}
