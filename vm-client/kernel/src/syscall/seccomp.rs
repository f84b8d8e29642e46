//! seccomp(2) and its part of prctl(2).

use std::rc::Rc;

use super::table::{Args, Row, wait};
use crate::seccomp::{Filter, Seccomp, action, bpf};
use crate::task::{Task, cap};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[wait!(354, "seccomp", seccomp, "no listeners (SECCOMP_RET_USER_NOTIF)")];

const SET_MODE_STRICT: u64 = 0;
const SET_MODE_FILTER: u64 = 1;
const GET_ACTION_AVAIL: u64 = 2;

mod flags {
    pub(super) const TSYNC: u64 = 1;
    pub(super) const LOG: u64 = 2;
    pub(super) const SPEC_ALLOW: u64 = 4;
    pub(super) const TSYNC_ESRCH: u64 = 16;
}

/// Instructions of all filters of a task together, each counting four more.
const MAX_INSNS: u32 = (1 << 18) / 8;

async fn seccomp(cx: &SyscallCx, [operation, given, at, ..]: Args) -> Result<i64> {
    match operation {
        SET_MODE_STRICT if given != 0 || at != 0 => Err(Errno::EINVAL),
        SET_MODE_STRICT => set_strict(cx),
        SET_MODE_FILTER => set_filter(cx, given, at).await,
        GET_ACTION_AVAIL if given != 0 => Err(Errno::EINVAL),
        GET_ACTION_AVAIL => match cx.read_u32(at).await? {
            action::KILL_PROCESS
            | action::KILL_THREAD
            | action::TRAP
            | action::ERRNO
            | action::TRACE
            | action::LOG
            | action::ALLOW => Ok(0),
            _ => Err(Errno::EOPNOTSUPP),
        },
        _ => Err(Errno::EINVAL),
    }
}

/// PR_SET_SECCOMP
pub(super) async fn set_by_prctl(cx: &SyscallCx, mode: u64, at: u64) -> Result<i64> {
    match mode {
        1 => set_strict(cx),
        2 => set_filter(cx, 0, at).await,
        _ => Err(Errno::EINVAL),
    }
}

fn set_strict(cx: &SyscallCx) -> Result<i64> {
    let mut slot = cx.task.seccomp.borrow_mut();
    match slot.as_deref() {
        Some(Seccomp::Filtered(_)) => Err(Errno::EINVAL),
        _ => {
            *slot = Some(Rc::new(Seccomp::Strict));
            Ok(0)
        }
    }
}

fn newest(task: &Task) -> Result<Option<Rc<Filter>>> {
    match task.seccomp.borrow().as_deref() {
        None => Ok(None),
        Some(Seccomp::Filtered(filter)) => Ok(Some(Rc::clone(filter))),
        Some(Seccomp::Strict) => Err(Errno::EINVAL),
    }
}

async fn set_filter(cx: &SyscallCx, given: u64, at: u64) -> Result<i64> {
    if given & !(flags::TSYNC | flags::LOG | flags::SPEC_ALLOW | flags::TSYNC_ESRCH) != 0 {
        return Err(Errno::EINVAL);
    }
    let (len, address) = (cx.read_u32(at).await? & 0xffff, cx.read_u32(at + 4).await?);
    if len == 0 || len > 4096 {
        return Err(Errno::EINVAL);
    }
    let task = &cx.task;
    // Else a program with more rights than the caller's could be misled.
    if !task.no_new_privs.get() && !cx.creds().has(cap::SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    let mut raw = vec![0; 8 * len as usize];
    cx.read_user(u64::from(address), &mut raw).await?;
    let program = bpf::Program::parse(&raw)?;
    let before = newest(task)?;
    let count = before.as_ref().map_or(0, |filter| filter.count) + 1;
    if count * (len + 4) > MAX_INSNS {
        return Err(Errno::ENOMEM);
    }
    if given & flags::TSYNC != 0 {
        check_threads(cx, before.as_ref(), given)?;
    }
    let filter = Rc::new(Seccomp::Filtered(Rc::new(Filter { program, before, count })));
    if given & flags::TSYNC != 0 {
        for thread in task.group.threads.borrow().iter() {
            *thread.seccomp.borrow_mut() = Some(Rc::clone(&filter));
            thread.no_new_privs.set(thread.no_new_privs.get() || task.no_new_privs.get());
        }
    }
    *task.seccomp.borrow_mut() = Some(filter);
    Ok(0)
}

/// Every thread must have the caller's filters or fewer of them; else its number, or ESRCH.
fn check_threads(cx: &SyscallCx, mine: Option<&Rc<Filter>>, given: u64) -> Result<()> {
    for thread in cx.task.group.threads.borrow().iter() {
        let theirs = newest(thread).unwrap_or(None);
        let mut ancestor = mine;
        let fits = theirs.as_ref().is_none_or(|theirs| {
            loop {
                match ancestor {
                    Some(filter) if Rc::ptr_eq(filter, theirs) => break true,
                    Some(filter) => ancestor = filter.before.as_ref(),
                    None => break false,
                }
            }
        });
        if !fits && given & flags::TSYNC_ESRCH != 0 {
            return Err(Errno::ESRCH);
        }
        if !fits {
            return Err(Errno::EACCES);
        }
    }
    Ok(())
}
