//! What wait(2) sees of tracees.

use std::rc::Rc;

use super::attach;
use crate::SyscallCx;
use crate::task::wait::{Waited, options};
use crate::task::{Task, ThreadGroup, WaitStatus};

/// Whether a process is traced by one of the threads of another.
pub(crate) fn is_traced_by(child: &ThreadGroup, tracer: &Rc<ThreadGroup>) -> bool {
    child.leader().and_then(|leader| leader.trace.tracer()).is_some_and(|task| Rc::ptr_eq(&task.group, tracer))
}

/// Whether the end of a process is hidden from its parent, because a tracer has to see it first.
pub(crate) fn is_traced(child: &ThreadGroup) -> bool {
    child.leader().is_some_and(|leader| leader.trace.on())
}

/// Takes what a tracee has to tell.
pub(crate) fn take(cx: &SyscallCx, task: &Rc<Task>, flags: u32) -> Option<Waited> {
    let keep = flags & options::WNOWAIT != 0;
    let group = &task.group;
    let found = |status| {
        let usage = if task.is_leader() { group.usage() } else { task.usage.get() };
        Waited { pid: task.tid(), uid: task.creds.borrow().uid, status, usage }
    };
    let ended = if task.is_leader() { group.exit_status.get() } else { task.trace.ended.get() };
    if let Some(status) = ended {
        if flags & options::WEXITED == 0 {
            return None;
        }
        let found = found(status);
        if !keep {
            attach::reap(&cx.kernel, task);
        }
        return Some(found);
    }
    if let Some(stop) = task.trace.stop.borrow_mut().as_mut().filter(|stop| !stop.reported && !stop.listening) {
        stop.reported = !keep;
        return Some(found(WaitStatus::Trapped(stop.code)));
    }
    if flags & options::WCONTINUED != 0 && group.unreported.get() == Some(WaitStatus::Continued) {
        if !keep {
            group.unreported.set(None);
        }
        return Some(found(WaitStatus::Continued));
    }
    None
}
