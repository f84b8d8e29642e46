//! Delivering signals on the way back to guest code.

use std::rc::Rc;

use linux_abi::siginfo::SigInfo;
use linux_abi::signal::{SigSet, Signal};
use vm_cpu::reg;

use super::action::{DefaultAction, Handler, default_action};
use super::describe::describe;
use super::{Action, frame_i386, sa};
use crate::coredump;
use crate::ptrace::stop;
use crate::task::{Task, WaitStatus};
use crate::{Errno, SyscallCx, strace};

/// `restart_syscall(2)` on i386.
const NR_RESTART_SYSCALL: u64 = 0;
/// `int $0x80` is two bytes long.
const GATE_LENGTH: u64 = 2;

/// Whether the task came from a system call that ended with one of the restart codes.
pub(crate) fn is_restart(task: &Task) -> bool {
    restart_code(task).is_some()
}

/// The restart code in eax. Only a system call leaves one there: anything else has no `orig_eax`.
fn restart_code(task: &Task) -> Option<Errno> {
    if task.orig_ax.get() < 0 {
        return None;
    }
    let value = task.cpu.borrow().gpr[reg::RAX] as i32;
    [Errno::ERESTARTSYS, Errno::ERESTARTNOINTR, Errno::ERESTARTNOHAND, Errno::ERESTARTBLOCK]
        .into_iter()
        .find(|code| code.number() == value.wrapping_neg())
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
pub(crate) async fn deliver(cx: &SyscallCx) -> Next {
    let task = &cx.task;
    loop {
        if task.dying.get() || task.group.exiting.get().is_some() {
            return Next::Exit;
        }
        if task.group.stop.get().is_some() && !task.stopped.get() {
            cx.kernel.stop_here(cx).await;
            continue;
        }
        if task.trace.interrupt.replace(false) {
            stop::group_stop(cx).await;
            continue;
        }
        let Some(mut info) = dequeue(task, SigSet(!task.blocked.get().0)) else { break };
        if task.trace.on() && info.signal != Signal::KILL {
            match stop::signal(cx, info).await {
                Some(kept) => info = kept,
                None => continue,
            }
        }
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
                resolve_for_handler(task, &action);
                let stepping = task.trace.steps();
                crate::ptrace::registers::stop_stepping(task);
                handle(cx, &action, handler, &info).await;
                if stepping {
                    stop::stepped_into_handler(cx).await;
                }
                // Further signals interrupt the handler before its first instruction.
            }
            Handler::Default => default(cx, &info).await,
        }
    }
    resolve_without_handler(task);
    if let Some(mask) = task.saved_mask.take() {
        task.blocked.set(mask);
        // What the old mask lets in is delivered at once.
        if task.signal_pending() {
            return Box::pin(deliver(cx)).await;
        }
    }
    Next::Run
}

/// Takes the next signal for the task: its own first, then the process's.
pub(crate) fn dequeue(task: &Task, wanted: SigSet) -> Option<SigInfo> {
    let own = task.pending.borrow_mut().take(wanted);
    own.or_else(|| task.group.shared_pending.borrow_mut().take(wanted))
}

async fn default(cx: &SyscallCx, info: &SigInfo) {
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
            let core = coredump::write(cx, info).await;
            cx.kernel.begin_group_exit(group, WaitStatus::Signaled { signal: info.signal, core });
        }
    }
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

fn resolve_for_handler(task: &Task, action: &Action) {
    let again = match restart_code(task) {
        None => return,
        Some(Errno::ERESTARTNOINTR) => true,
        Some(Errno::ERESTARTSYS) => action.has(sa::RESTART),
        Some(_) => false,
    };
    if again {
        make_again(task, u64::from(task.orig_ax.get() as u32));
    } else {
        task.cpu.borrow_mut().gpr[reg::RAX] = u64::from((-Errno::EINTR.number()) as u32);
    }
}

fn resolve_without_handler(task: &Task) {
    match restart_code(task) {
        None => {}
        Some(Errno::ERESTARTBLOCK) => make_again(task, NR_RESTART_SYSCALL),
        Some(_) => make_again(task, u64::from(task.orig_ax.get() as u32)),
    }
}

fn make_again(task: &Task, number: u64) {
    let mut cpu = task.cpu.borrow_mut();
    cpu.gpr[reg::RAX] = number;
    cpu.rip = cpu.rip.wrapping_sub(GATE_LENGTH);
}
