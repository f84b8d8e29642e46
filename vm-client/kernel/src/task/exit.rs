//! The end of tasks and processes (exit(2), wait(2)).

use std::rc::{Rc, Weak};

use linux_abi::signal::Signal;

use super::{Task, TaskState, ThreadGroup, WaitStatus};
use crate::ptrace::{attach, stop};
use crate::signal::send::child_info;
use crate::signal::{Handler, SigInfo, sa};
use crate::vfs::FdTable;
use crate::{Kernel, SyscallCx, strace, syscall};

/// Ends the task: gives back what it holds, tells who waits, and with the last thread ends the process.
pub(crate) async fn end(cx: &SyscallCx) {
    let (kernel, task, group) = (&cx.kernel, &cx.task, &cx.task.group);
    task.dying.set(true);
    let status = group.exiting.get().unwrap_or(WaitStatus::Exited(task.exit_code.get()));
    stop::exit(cx, status.encode()).await;
    strace::ended(cx, status);
    release_memory(cx).await;
    let files = task.files.replace(FdTable::new(&kernel.vfs));
    drop(files);
    task.pending.borrow_mut().discard(linux_abi::signal::SigSet(u64::MAX));

    let mut ended = group.ended_usage.get();
    ended.add(&task.usage.get());
    group.ended_usage.set(ended);
    group.threads.borrow_mut().retain(|other| !Rc::ptr_eq(other, task));
    task.state.set(TaskState::Zombie);
    attach::tracer_ends(kernel, task);
    if !task.is_leader() && !attach::tell_end(kernel, task, status) {
        kernel.processes.remove_task(task.tid());
    }
    group.thread_ended.wake_all();
    if group.threads.borrow().is_empty() {
        end_group(kernel, task);
    }
}

/// Lets go of the address space, at exit and at execve(2): robust futexes, the cleared tid, the vfork(2) parent.
pub(crate) async fn release_memory(cx: &SyscallCx) {
    let task = &cx.task;
    if task.mm().is_some() {
        syscall::futex::release_robust_list(cx).await;
        let clear = task.clear_child_tid.take();
        // Nobody else sees the word unless the address space is shared.
        if clear != 0
            && task.mm.borrow().as_ref().is_some_and(|mm| Rc::strong_count(mm) > 1)
            && cx.write_u32(clear, 0).await.is_ok()
        {
            syscall::futex::wake_at(cx, clear, 1).await;
        }
    }
    let mm = task.mm.borrow_mut().take();
    if let Some(mm) = &mm {
        let mut usage = task.usage.get();
        let counts = mm.fault_counts();
        usage.max_rss = usage.max_rss.max(u64::from(mm.resident_pages().1) * 4);
        // Threads share the counters; the last one takes them.
        if Rc::strong_count(mm) == 1 {
            usage.minor_faults += counts.minor;
            usage.major_faults += counts.major;
        }
        task.usage.set(usage);
    }
    drop(mm);
    finish_vfork(task);
}

/// Lets the parent that vfork(2)ed go on.
pub(crate) fn finish_vfork(task: &Task) {
    if let Some(waiting) = task.vfork_parent.borrow_mut().take() {
        waiting.done.set(true);
        waiting.queue.wake_all();
    }
}

fn end_group(kernel: &Rc<Kernel>, last: &Rc<Task>) {
    let group = &last.group;
    // Without exit_group(2) the code is the leader's, whichever thread was the last.
    let code = group.leader().map_or(last.exit_code.get(), |leader| leader.exit_code.get());
    let status = group.exiting.get().unwrap_or(WaitStatus::Exited(code));
    for timer in &group.itimers {
        timer.disarm();
    }
    for timer in std::mem::take(&mut *group.posix_timers.borrow_mut()).into_values() {
        timer.disarm();
    }
    *group.exe.borrow_mut() = None;
    crate::ipc::sem::process_ended(kernel, group.pid);
    group.exit_status.set(Some(status));
    group.exiting.set(Some(status));
    group.stop.set(None);

    group.ended.wake_all();

    let session = Rc::clone(&group.session.borrow());
    if session.sid == group.pid {
        kernel.session_leader_exited(&session);
    }
    orphan_children(kernel, group);
    kernel.hang_up_if_last_link(group);
    let leader = group.leader();
    if !leader.is_some_and(|leader| attach::tell_end(kernel, &leader, status)) {
        tell_parent(kernel, group, status);
    }
}

/// Children go to the nearest subreaper, else to init.
fn orphan_children(kernel: &Rc<Kernel>, group: &Rc<ThreadGroup>) {
    let children = std::mem::take(&mut *group.children.borrow_mut());
    if children.is_empty() {
        return;
    }
    let mut heir = group.parent();
    while let Some(candidate) = &heir {
        if candidate.child_subreaper.get() && !candidate.is_exiting() {
            break;
        }
        heir = candidate.parent();
    }
    let Some(heir) = heir.or_else(|| kernel.init().cloned()) else { return };
    for child in children {
        *child.parent.borrow_mut() = Rc::downgrade(&heir);
        child.exit_signal.set(Some(Signal::CHLD));
        heir.children.borrow_mut().push(Rc::clone(&child));
        for task in child.threads.borrow().iter() {
            if let Some(signal) = Signal::new(task.parent_death_signal.get()) {
                kernel.send_signal_group(&child, SigInfo::kernel(signal));
            }
        }
        if let Some(status) = child.exit_status.get() {
            tell_parent(kernel, &child, status);
        } else if child.pgrp.get() != group.pgrp.get() && child.session.borrow().sid == group.session.borrow().sid {
            kernel.hang_up_orphans(child.pgrp.get(), Some(group));
        }
    }
}

/// Sends the exit signal and leaves a zombie, unless the parent does not care or is the built-in init.
pub(crate) fn tell_parent(kernel: &Rc<Kernel>, group: &Rc<ThreadGroup>, status: WaitStatus) {
    let Some(parent) = group.parent() else {
        reap(kernel, group);
        return;
    };
    if kernel.is_builtin_init(&parent) {
        reap(kernel, group);
        return;
    }
    let mut forgotten = false;
    if let Some(signal) = group.exit_signal.get() {
        let action = parent.sighand.borrow().get(signal);
        if signal == Signal::CHLD {
            forgotten = action.handler == Handler::Ignore || action.has(sa::NOCLDWAIT);
        }
        if action.handler != Handler::Ignore {
            kernel.send_signal_group(&parent, child_info(group, status, signal));
        }
    }
    if forgotten {
        reap(kernel, group);
    }
    parent.child_changed.wake_all();
}

/// Takes a zombie out of the tables; its usage goes to the parent's children.
pub(crate) fn reap(kernel: &Kernel, group: &Rc<ThreadGroup>) {
    if let Some(parent) = group.parent() {
        parent.children.borrow_mut().retain(|child| !Rc::ptr_eq(child, group));
        let mut usage = parent.children_usage.get();
        usage.add(&group.usage());
        usage.add(&group.children_usage.get());
        parent.children_usage.set(usage);
    }
    *group.parent.borrow_mut() = Weak::new();
    kernel.processes.remove_group(group.pid);
    // The leader's entry, unless the number already went to a thread that execed.
    kernel.processes.remove_task(group.pid);
}
