//! Sending signals.

use std::rc::Rc;

use linux_abi::siginfo::SigInfo;
use linux_abi::signal::{SigSet, Signal};

use super::action::{DefaultAction, Handler, default_action};
use crate::ptrace::stop;
use crate::task::{Pid, Resource, Task, TaskState, ThreadGroup, WaitStatus};
use crate::{Kernel, SyscallCx};

const STOP_SIGNALS: SigSet = SigSet(1 << (19 - 1) | 1 << (20 - 1) | 1 << (21 - 1) | 1 << (22 - 1));

impl Kernel {
    /// Sends a signal to one thread.
    pub fn send_signal_task(&self, task: &Rc<Task>, info: SigInfo) {
        let group = &task.group;
        if !self.prepare(group, task, &info) {
            return;
        }
        let limit = group.rlimits.borrow().soft(Resource::Sigpending);
        task.pending.borrow_mut().push(info, limit);
        self.complete(task, info.signal);
    }

    /// Sends a signal to a process.
    pub fn send_signal_group(&self, group: &Rc<ThreadGroup>, info: SigInfo) {
        let Some(any) = group.threads.borrow().first().cloned() else { return };
        if !self.prepare(group, &any, &info) {
            return;
        }
        let limit = group.rlimits.borrow().soft(Resource::Sigpending);
        group.shared_pending.borrow_mut().push(info, limit);
        // The main thread if it wants it, else the first that does; else it stays pending until one unblocks it.
        let threads = group.threads.borrow().clone();
        let target = threads.iter().find(|task| !task.blocked.get().contains(info.signal) && !task.dying.get());
        if let Some(target) = target {
            self.complete(target, info.signal);
        } else if info.signal == Signal::KILL {
            self.complete(&any, info.signal);
        } else {
            // A thread in sigtimedwait(2) or on a signalfd waits for blocked signals.
            self.signal_arrived.wake_all();
        }
    }

    /// Sends a signal to every process of a group; tells whether there was one.
    pub fn send_signal_pgrp(&self, pgrp: Pid, info: SigInfo) -> bool {
        let groups = self.processes.groups_of(pgrp);
        for group in &groups {
            self.send_signal_group(group, info);
        }
        !groups.is_empty()
    }

    /// Sends a signal that the task's own instruction caused; it cannot be blocked or ignored.
    pub(crate) fn force_signal(&self, task: &Rc<Task>, info: SigInfo) {
        let sighand = Rc::clone(&task.group.sighand.borrow());
        let mut action = sighand.get(info.signal);
        let blocked = task.blocked.get().contains(info.signal);
        if blocked || action.handler == Handler::Ignore {
            action.handler = Handler::Default;
            sighand.set(info.signal, action);
            let mut mask = task.blocked.get();
            mask.remove(info.signal);
            task.blocked.set(mask);
        }
        if action.handler == Handler::Default {
            task.group.unkillable.set(false);
        }
        let limit = task.group.rlimits.borrow().soft(Resource::Sigpending);
        task.pending.borrow_mut().push(info, limit);
        task.kick();
    }

    /// What a signal does by being sent; tells whether it is to be queued.
    fn prepare(&self, group: &Rc<ThreadGroup>, task: &Rc<Task>, info: &SigInfo) -> bool {
        let signal = info.signal;
        if group.is_zombie() {
            return false;
        }
        if group.exiting.get().is_some() {
            return signal == Signal::KILL;
        }
        if signal == Signal::CONT {
            self.discard_everywhere(group, STOP_SIGNALS);
            self.resume(group);
        } else if STOP_SIGNALS.contains(signal) {
            self.discard_everywhere(group, SigSet(Signal::CONT.bit()));
        }
        // A tracer sees ignored signals too.
        if task.trace.on() && signal != Signal::KILL {
            return true;
        }
        // A blocked signal is kept whatever its action: the action may change before it is unblocked.
        if task.blocked.get().contains(signal) {
            return true;
        }
        let sighand = group.sighand.borrow();
        if group.unkillable.get() && sighand.get(signal).handler == Handler::Default {
            return false;
        }
        !sighand.ignores(signal)
    }

    fn discard_everywhere(&self, group: &ThreadGroup, signals: SigSet) {
        group.shared_pending.borrow_mut().discard(signals);
        for task in group.threads.borrow().iter() {
            task.pending.borrow_mut().discard(signals);
        }
    }

    /// Makes the target look at the signal; a deadly one ends the whole process at once.
    fn complete(&self, task: &Rc<Task>, signal: Signal) {
        let group = &task.group;
        self.signal_arrived.wake_all();
        // What is stopped looks at its signals when it continues; only SIGKILL does not wait for that.
        if signal != Signal::KILL && (task.blocked.get().contains(signal) || task.stopped.get() && !task.trace.on()) {
            return;
        }
        let deadly = group.sighand.borrow().get(signal).handler == Handler::Default
            && default_action(signal) == DefaultAction::Terminate
            && (signal == Signal::KILL || !task.trace.on());
        if deadly && !group.is_exiting() {
            self.begin_group_exit(group, WaitStatus::Signaled { signal, core: false });
        }
        task.kick();
    }

    /// Tells every thread of the process to end.
    pub(crate) fn begin_group_exit(&self, group: &Rc<ThreadGroup>, status: WaitStatus) {
        if group.is_exiting() {
            return;
        }
        group.exiting.set(Some(status));
        group.stop.set(None);
        group.continued.wake_all();
        for task in group.threads.borrow().iter() {
            task.kick();
        }
    }

    /// SIGCONT was sent: stopped threads go on, whatever the action for the signal is.
    fn resume(&self, group: &Rc<ThreadGroup>) {
        if group.stop.take().is_none() {
            return;
        }
        let was_stopped = group.threads.borrow().iter().all(|task| task.stopped.get());
        for task in group.threads.borrow().iter().filter(|task| task.trace.on()) {
            task.stopped.set(false);
            leave_listening(task);
        }
        group.continued.wake_all();
        if was_stopped {
            group.unreported.set(Some(WaitStatus::Continued));
            self.notify_parent(group, WaitStatus::Continued);
        } else {
            group.unreported.set(None);
        }
    }

    /// Stops a process by the default action of a stop signal.
    pub(crate) fn begin_group_stop(&self, group: &Rc<ThreadGroup>, signal: Signal) {
        if group.stop.get().is_none() {
            group.stop.set(Some(signal));
            for task in group.threads.borrow().iter() {
                task.kick();
            }
        }
    }

    /// Takes part in a group stop: returns when the process continues or ends.
    pub(crate) async fn stop_here(&self, cx: &SyscallCx) {
        let task = &cx.task;
        let group = &task.group;
        task.stopped.set(true);
        task.state.set(TaskState::Stopped);
        while let Some(signal) = group.stop.get() {
            if task.fatal_signal_pending() {
                break;
            }
            let all = group.threads.borrow().iter().all(|other| other.stopped.get());
            let status = WaitStatus::Stopped(signal);
            if all && !group.stop_reported.replace(true) {
                group.unreported.set(Some(status));
                self.notify_parent(group, status);
            }
            if task.trace.on() {
                // It stops for its tracer, and counts as stopped although the tracer may let it go on.
                stop::group_stop(cx).await;
                if group.stop.get().is_some() && task.trace.on() {
                    return;
                }
                continue;
            }
            let woken = group.continued.wait();
            // SIGKILL wakes the queue too.
            woken.await;
        }
        group.stop_reported.set(false);
        task.stopped.set(false);
        task.state.set(TaskState::Running);
    }

    /// Tells the parent of a stop or a continuation.
    fn notify_parent(&self, group: &Rc<ThreadGroup>, status: WaitStatus) {
        let Some(parent) = group.parent() else { return };
        let action = parent.sighand.borrow().get(Signal::CHLD);
        if action.handler != Handler::Ignore && !action.has(super::sa::NOCLDSTOP) {
            self.send_signal_group(&parent, child_info(group, status, Signal::CHLD));
        }
        parent.child_changed.wake_all();
    }
}

/// A tracee that its tracer left in a group stop (PTRACE_LISTEN) stops anew, to tell that the group goes on.
fn leave_listening(task: &Rc<Task>) {
    let listening = task.trace.stop.borrow().is_some_and(|stop| stop.listening);
    if listening {
        task.trace.interrupt.set(true);
        task.trace.stop.borrow_mut().take();
        task.kick();
    }
}

/// The `siginfo_t` of the signal that tells of a child.
pub(crate) fn child_info(group: &ThreadGroup, status: WaitStatus, signal: Signal) -> SigInfo {
    let (code, value) = status.child_code();
    let usage = group.usage();
    let ticks = |time: std::time::Duration| (time.as_millis() / 10) as u32;
    let uid = group.leader().map_or(0, |task| task.creds.borrow().uid);
    SigInfo {
        signal,
        errno: 0,
        code,
        fields: linux_abi::siginfo::SigFields::Child {
            pid: group.pid,
            uid,
            status: value,
            utime: ticks(usage.user),
            stime: ticks(usage.system),
        },
    }
}
