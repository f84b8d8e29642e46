//! Tying tracers and tracees, and untying them.

use std::rc::{Rc, Weak};

use linux_abi::siginfo::{SigInfo, code};
use linux_abi::signal::Signal;

use super::{Mode, check_access, options, registers, stop};
use crate::signal::{Handler, sa};
use crate::task::{Task, WaitStatus, exit};
use crate::{Errno, Kernel, Result, SyscallCx};

fn tie(tracer: &Rc<Task>, task: &Rc<Task>) {
    let trace = &task.trace;
    *trace.tracer.borrow_mut() = Rc::downgrade(tracer);
    trace.on.set(true);
    trace.mode.set(Mode::Run);
    trace.message.set(0);
    tracer.group.tracees.borrow_mut().push(Rc::clone(task));
}

/// Ends the tracing of a task without telling anybody.
pub(crate) fn untie(task: &Rc<Task>) {
    let trace = &task.trace;
    if let Some(tracer) = trace.tracer() {
        tracer.group.tracees.borrow_mut().retain(|other| !Rc::ptr_eq(other, task));
    }
    trace.on.set(false);
    *trace.tracer.borrow_mut() = Weak::new();
    trace.seized.set(false);
    trace.options.set(0);
    trace.mode.set(Mode::Run);
    trace.interrupt.set(false);
}

/// PTRACE_TRACEME: the parent traces the caller.
pub(crate) fn trace_me(cx: &SyscallCx) -> Result<()> {
    let task = &cx.task;
    if task.trace.on() {
        return Err(Errno::EPERM);
    }
    let parent = task.group.parent().and_then(|parent| parent.leader()).ok_or(Errno::EPERM)?;
    // A parent that is ending, or the built-in init, traces nobody.
    if parent.mm().is_none() {
        return Ok(());
    }
    tie(&parent, task);
    Ok(())
}

fn check_attach(cx: &SyscallCx, task: &Rc<Task>) -> Result<()> {
    if task.pid() == cx.task.pid() {
        return Err(Errno::EPERM);
    }
    check_access(cx, task)?;
    if task.trace.on() || task.group.is_zombie() || task.mm().is_none() {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// PTRACE_ATTACH
pub(crate) fn attach(cx: &SyscallCx, task: &Rc<Task>) -> Result<()> {
    check_attach(cx, task)?;
    tie(&cx.task, task);
    let mut info = SigInfo::kernel(Signal::STOP);
    info.code = code::SI_KERNEL;
    cx.kernel.send_signal_task(task, info);
    retrap_if_stopped(task);
    Ok(())
}

/// PTRACE_SEIZE
pub(crate) fn seize(cx: &SyscallCx, task: &Rc<Task>, given: u32) -> Result<()> {
    if given & !options::ALL != 0 {
        return Err(Errno::EIO);
    }
    check_attach(cx, task)?;
    tie(&cx.task, task);
    task.trace.seized.set(true);
    task.trace.options.set(given);
    retrap_if_stopped(task);
    Ok(())
}

/// A task that was stopped already stops for its tracer now.
fn retrap_if_stopped(task: &Rc<Task>) {
    if task.stopped.get() {
        task.group.continued.wake_all();
    }
}

/// A new task of a tracee gets the same tracer (options TRACEFORK and relatives, CLONE_PTRACE).
pub(crate) fn inherit(parent: &Rc<Task>, child: &Rc<Task>) {
    let Some(tracer) = parent.trace.tracer() else { return };
    tie(&tracer, child);
    child.trace.options.set(parent.trace.options.get());
    if parent.trace.seized.get() {
        child.trace.seized.set(true);
        child.trace.interrupt.set(true);
    } else {
        child.pending.borrow_mut().push(SigInfo::kill(Signal::STOP, 0, 0), u64::MAX);
    }
}

/// PTRACE_DETACH: lets the task go, with a signal perhaps.
pub(crate) fn detach(kernel: &Rc<Kernel>, task: &Rc<Task>, signal: u32) {
    registers::stop_stepping(task);
    let stopped = task.trace.stop.borrow().is_some();
    untie(task);
    if task.trace.ended.get().is_some() || task.group.is_zombie() {
        give_back(kernel, task);
        return;
    }
    if stopped {
        task.trace.inject.set(signal);
        task.trace.stop.borrow_mut().take();
    }
    // A stop of the whole process takes it in again.
    task.stopped.set(false);
    task.kick();
}

/// A tracee that has ended and is traced no more: its parent's now, if it is a process.
pub(super) fn give_back(kernel: &Rc<Kernel>, task: &Rc<Task>) {
    let group = &task.group;
    if !task.is_leader() {
        kernel.processes.remove_task(task.tid());
    } else if let Some(status) = group.exit_status.get() {
        exit::tell_parent(kernel, group, status);
    }
}

/// The tracer has waited for a tracee that has ended.
pub(crate) fn reap(kernel: &Rc<Kernel>, task: &Rc<Task>) {
    let group = &task.group;
    let tracer = task.trace.tracer();
    untie(task);
    task.trace.ended.set(None);
    if !task.is_leader() {
        kernel.processes.remove_task(task.tid());
        return;
    }
    let own = match (group.parent(), tracer) {
        (Some(parent), Some(tracer)) => Rc::ptr_eq(&parent, &tracer.group),
        _ => false,
    };
    if own {
        exit::reap(kernel, group);
    } else {
        give_back(kernel, task);
    }
}

/// A traced task has ended: the tracer sees it first. Tells whether somebody will wait for it.
pub(crate) fn tell_end(kernel: &Rc<Kernel>, task: &Rc<Task>, status: WaitStatus) -> bool {
    let Some(tracer) = task.trace.tracer() else { return false };
    let action = tracer.group.sighand.borrow().get(Signal::CHLD);
    let forgotten = action.handler == Handler::Ignore || action.has(sa::NOCLDWAIT);
    task.trace.ended.set(Some(status));
    if action.handler != Handler::Ignore {
        let (cause, value) = status.child_code();
        kernel.send_signal_group(&tracer.group, stop::child_info(task, cause, value));
    }
    if forgotten {
        reap(kernel, task);
    }
    tracer.group.child_changed.wake_all();
    true
}

/// The tracer itself ends: its tracees go on alone, or die with it.
pub(crate) fn tracer_ends(kernel: &Rc<Kernel>, tracer: &Rc<Task>) {
    let mine: Vec<Rc<Task>> = tracer.group.tracees.borrow().clone();
    for task in mine {
        if !task.trace.tracer().is_some_and(|other| Rc::ptr_eq(&other, tracer)) {
            continue;
        }
        if task.trace.has(options::EXITKILL) {
            kernel.send_signal_task(&task, SigInfo::kernel(Signal::KILL));
        }
        detach(kernel, &task, 0);
    }
}
