//! Waiting for children (wait4(2), waitid(2)).

use std::rc::Rc;

use super::{Pid, Rusage, ThreadGroup, WaitStatus, exit};
use crate::ptrace::wait as tracees;
use crate::{Errno, Result, SyscallCx};

/// Options of wait4(2) and waitid(2).
pub mod options {
    pub const WNOHANG: u32 = 1;
    pub const WSTOPPED: u32 = 2;
    pub const WEXITED: u32 = 4;
    pub const WCONTINUED: u32 = 8;
    pub const WNOWAIT: u32 = 0x0100_0000;
    pub const WNOTHREAD: u32 = 0x2000_0000;
    pub const WALL: u32 = 0x4000_0000;
    pub const WCLONE: u32 = 0x8000_0000;
}

/// Which children are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Any.
    Any,
    /// One.
    Pid(Pid),
    /// Those of a process group.
    Pgrp(Pid),
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    /// The child.
    pub pid: Pid,
    /// Its real user.
    pub uid: u32,
    /// What happened to it.
    pub status: WaitStatus,
    /// What it used, with its own children.
    pub usage: Rusage,
}

/// Waits for a change of state of a child. `None`: none has changed, and WNOHANG was given.
pub(crate) async fn wait(cx: &SyscallCx, which: Which, flags: u32) -> Result<Option<Waited>> {
    let parent = &cx.task.group;
    loop {
        let changed = parent.child_changed.wait();
        match look(cx, parent, which, flags)? {
            Some(found) => return Ok(Some(found)),
            None if flags & options::WNOHANG != 0 => return Ok(None),
            None => cx.task.interruptible(changed).await?,
        }
    }
}

fn look(cx: &SyscallCx, parent: &Rc<ThreadGroup>, which: Which, flags: u32) -> Result<Option<Waited>> {
    let mut any = false;
    let children = parent.children.borrow().clone();
    for child in &children {
        let meant = match which {
            Which::Any => true,
            Which::Pid(pid) => child.pid == pid,
            Which::Pgrp(pgrp) => child.pgrp.get() == pgrp,
        };
        // Seen below as a tracee, whatever kind of child it is.
        if meant && tracees::is_traced_by(child, parent) {
            any = true;
            continue;
        }
        // A "clone child" is one that does not send SIGCHLD.
        let clone_child = child.exit_signal.get() != Some(linux_abi::signal::Signal::CHLD);
        let kind = flags & options::WALL != 0 || clone_child == (flags & options::WCLONE != 0);
        if !meant || !kind {
            continue;
        }
        any = true;
        if let Some(found) = take(cx, child, flags) {
            return Ok(Some(found));
        }
    }
    let traced = parent.tracees.borrow().clone();
    for task in &traced {
        let meant = match which {
            Which::Any => true,
            Which::Pid(pid) => task.tid() == pid,
            Which::Pgrp(pgrp) => task.group.pgrp.get() == pgrp,
        };
        if !meant {
            continue;
        }
        any = true;
        if let Some(found) = tracees::take(cx, task, flags) {
            return Ok(Some(found));
        }
    }
    if any { Ok(None) } else { Err(Errno::ECHILD) }
}

fn take(cx: &SyscallCx, child: &Rc<ThreadGroup>, flags: u32) -> Option<Waited> {
    let keep = flags & options::WNOWAIT != 0;
    let found = |status| {
        let mut usage = child.usage();
        usage.add(&child.children_usage.get());
        Waited { pid: child.pid, uid: child.leader().map_or(0, |task| task.creds.borrow().uid), status, usage }
    };
    if let Some(status) = child.exit_status.get() {
        // A tracer sees the end first.
        if tracees::is_traced(child) || flags & options::WEXITED == 0 {
            return None;
        }
        let found = found(status);
        if !keep {
            exit::reap(&cx.kernel, child);
        }
        return Some(found);
    }
    let status = child.unreported.get()?;
    let wanted = match status {
        WaitStatus::Stopped(_) => flags & options::WSTOPPED != 0,
        WaitStatus::Continued => flags & options::WCONTINUED != 0,
        _ => false,
    };
    if !wanted {
        return None;
    }
    if !keep {
        child.unreported.set(None);
    }
    Some(found(status))
}
