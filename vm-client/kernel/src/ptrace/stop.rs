//! Where a tracee stops, and what its tracer is told.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use linux_abi::siginfo::{SigFields, SigInfo, code};
use linux_abi::signal::Signal;

use super::{CallStop, Mode, Stop, event, options};
use crate::signal::{Handler, sa};
use crate::task::{Task, TaskState};
use crate::{Kernel, SyscallCx};

/// `CLD_TRAPPED` or `CLD_STOPPED` in the tracer's SIGCHLD.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Trapped,
    Stopped,
}

/// What ends a stop beside the tracer.
fn killed(task: &Task) -> bool {
    task.fatal_signal_pending()
}

/// The same for a task that is ending anyway.
fn killed_again(task: &Task) -> bool {
    let kill = |set: linux_abi::signal::SigSet| set.contains(Signal::KILL);
    kill(task.pending.borrow().set()) || kill(task.group.shared_pending.borrow().set())
}

/// Stops until the tracer lets the task go on; gives the number of the signal it wants delivered. `None`: did not stop.
async fn wait_for_tracer(cx: &SyscallCx, stop: Stop, why: Why, ended: fn(&Task) -> bool) -> Option<u32> {
    let task = &cx.task;
    if !task.trace.on() || ended(task) {
        return None;
    }
    task.trace.inject.set(0);
    *task.trace.stop.borrow_mut() = Some(stop);
    task.state.set(if why == Why::Stopped { TaskState::Stopped } else { TaskState::Tracing });
    tell_tracer(&cx.kernel, task, stop.code, why);
    poll_fn(|context| {
        task.remember_waker(context);
        let goes_on = task.trace.stop.borrow().is_none() || ended(task);
        if goes_on { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    task.trace.stop.borrow_mut().take();
    task.state.set(TaskState::Running);
    Some(task.trace.inject.replace(0))
}

/// SIGCHLD to the tracer, and its wait(2) looks again.
fn tell_tracer(kernel: &Kernel, task: &Rc<Task>, stop_code: u32, why: Why) {
    let Some(tracer) = task.trace.tracer() else { return };
    let action = tracer.group.sighand.borrow().get(Signal::CHLD);
    if action.handler != Handler::Ignore && !action.has(sa::NOCLDSTOP) {
        let cause = if why == Why::Stopped { code::CLD_STOPPED } else { code::CLD_TRAPPED };
        kernel.send_signal_group(&tracer.group, child_info(task, cause, (stop_code & 0x7f) as i32));
    }
    tracer.group.child_changed.wake_all();
}

/// The `siginfo_t` that tells of a tracee.
pub(super) fn child_info(task: &Task, cause: i32, status: i32) -> SigInfo {
    let usage = task.usage.get();
    let ticks = |time: std::time::Duration| (time.as_millis() / 10) as u32;
    let fields = SigFields::Child {
        pid: task.tid(),
        uid: task.creds.borrow().uid,
        status,
        utime: ticks(usage.user),
        stime: ticks(usage.system),
    };
    SigInfo { signal: Signal::CHLD, errno: 0, code: cause, fields }
}

fn trap(task: &Task, code: u32, call: CallStop) -> Stop {
    let fields = SigFields::Kill { pid: task.tid(), uid: task.creds.borrow().uid };
    let info = SigInfo { signal: Signal::TRAP, errno: 0, code: code as i32, fields };
    Stop { code, info: Some(info), call, reported: false, listening: false }
}

/// A signal is about to be delivered: the tracer may change it or take it away.
pub(crate) async fn signal(cx: &SyscallCx, info: SigInfo) -> Option<SigInfo> {
    let task = &cx.task;
    let number = info.signal.number();
    let stop = Stop { code: number, info: Some(info), call: CallStop::None, reported: false, listening: false };
    // PTRACE_SETSIGINFO changes it in place.
    let changed = Rc::clone(task);
    let given = std::cell::Cell::new(info);
    let injected = {
        let waiting = wait_for_tracer(cx, stop, Why::Trapped, killed);
        let mut waiting = std::pin::pin!(waiting);
        poll_fn(|context| {
            if let Some(info) = changed.trace.stop.borrow().as_ref().and_then(|stop| stop.info) {
                given.set(info);
            }
            Future::poll(waiting.as_mut(), context)
        })
        .await
    };
    let Some(injected) = injected else { return Some(info) };
    let signal = Signal::new(injected)?;
    let info = if injected == number {
        given.get()
    } else {
        let (pid, uid) = task.trace.tracer().map_or((0, 0), |tracer| (tracer.pid(), tracer.creds.borrow().uid));
        SigInfo::kill(signal, pid, uid)
    };
    if task.blocked.get().contains(signal) {
        cx.kernel.send_signal_task(task, info);
        return None;
    }
    Some(info)
}

/// The tracee takes part in a group stop, or PTRACE_INTERRUPT stopped it.
pub(crate) async fn group_stop(cx: &SyscallCx) {
    let task = &cx.task;
    let signal = task.group.stop.get().unwrap_or(Signal::TRAP).number();
    let why = if task.group.stop.get().is_some() { Why::Stopped } else { Why::Trapped };
    let stop = if task.trace.seized.get() {
        trap(task, signal | event::STOP << 8, CallStop::None)
    } else {
        Stop { code: signal, info: None, call: CallStop::None, reported: false, listening: false }
    };
    wait_for_tracer(cx, stop, why, killed).await;
}

/// Tells of an event if the tracer asked for it; tells whether it did.
pub(crate) async fn event(cx: &SyscallCx, number: u32, message: u32) -> bool {
    let task = &cx.task;
    if !task.trace.has(1 << number) {
        return false;
    }
    task.trace.message.set(message);
    let stop = trap(task, Signal::TRAP.number() | number << 8, CallStop::None);
    wait_for_tracer(cx, stop, Why::Trapped, killed).await;
    true
}

/// The task is ending with this wait status.
pub(crate) async fn exit(cx: &SyscallCx, status: u32) {
    let task = &cx.task;
    if task.trace.has(options::TRACEEXIT) {
        task.trace.message.set(status);
        let stop = trap(task, Signal::TRAP.number() | event::EXIT << 8, CallStop::None);
        wait_for_tracer(cx, stop, Why::Trapped, killed_again).await;
    }
}

/// A filter of seccomp(2) wants the tracer to decide about a call.
pub(crate) async fn seccomp(cx: &SyscallCx, data: u32) {
    let task = &cx.task;
    task.trace.message.set(data);
    let stop = trap(task, Signal::TRAP.number() | event::SECCOMP << 8, CallStop::Seccomp);
    wait_for_tracer(cx, stop, Why::Trapped, killed).await;
}

/// Before or after a system call.
pub(crate) async fn call(cx: &SyscallCx, which: CallStop) {
    let task = &cx.task;
    let good = if task.trace.has(options::TRACESYSGOOD) { 0x80 } else { 0 };
    task.trace.message.set(if which == CallStop::Entry { 1 } else { 2 });
    let stop = trap(task, Signal::TRAP.number() | good, which);
    let injected = wait_for_tracer(cx, stop, Why::Trapped, killed).await;
    if let Some(signal) = injected.and_then(Signal::new) {
        cx.kernel.send_signal_task(task, SigInfo::kernel(signal));
    }
}

/// After a system call: the stop for it, or the one a single step owes.
pub(crate) async fn after_call(cx: &SyscallCx) {
    match cx.task.trace.mode.get() {
        Mode::Syscall => call(cx, CallStop::Exit).await,
        Mode::Step => {
            let here = cx.task.cpu.borrow().rip as u32;
            cx.kernel.force_signal(&cx.task, SigInfo::fault(Signal::TRAP, code::TRAP_BRKPT, here));
        }
        Mode::Run | Mode::Emulate | Mode::EmulateStep => {}
    }
}

/// A single step has led into a signal handler: the stop before its first instruction.
pub(crate) async fn stepped_into_handler(cx: &SyscallCx) {
    let stop = trap(&cx.task, Signal::TRAP.number(), CallStop::None);
    let injected = wait_for_tracer(cx, stop, Why::Trapped, killed).await;
    if let Some(signal) = injected.and_then(Signal::new) {
        cx.kernel.send_signal_task(&cx.task, SigInfo::kernel(signal));
    }
}
