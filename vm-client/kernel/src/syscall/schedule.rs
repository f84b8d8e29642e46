//! Scheduling (sched(7)). There is one processor and one policy; what programs may set is kept and given back.

use std::rc::Rc;

use super::table::{Args, Row, now, wait};
use crate::task::{Task, cap};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    now!(34, "nice", nice),
    now!(96, "getpriority", getpriority),
    now!(97, "setpriority", setpriority),
    wait!(154, "sched_setparam", sched_setparam, "SCHED_OTHER only"),
    wait!(155, "sched_getparam", sched_getparam, "SCHED_OTHER only"),
    wait!(156, "sched_setscheduler", sched_setscheduler, "SCHED_OTHER, BATCH and IDLE only"),
    now!(157, "sched_getscheduler", sched_getscheduler),
    wait!(158, "sched_yield", sched_yield),
    now!(159, "sched_get_priority_max", priority_max),
    now!(160, "sched_get_priority_min", priority_min),
    wait!(161, "sched_rr_get_interval", rr_interval),
    wait!(241, "sched_setaffinity", setaffinity, "one processor"),
    wait!(242, "sched_getaffinity", getaffinity, "one processor"),
    now!(289, "ioprio_set", ioprio_set, "accepted, without effect"),
    now!(290, "ioprio_get", ioprio_get, "always the default"),
    wait!(318, "getcpu", getcpu),
    wait!(351, "sched_setattr", sched_setattr, "SCHED_OTHER, BATCH and IDLE only"),
    wait!(352, "sched_getattr", sched_getattr, "SCHED_OTHER, BATCH and IDLE only"),
    wait!(423, "sched_rr_get_interval_time64", rr_interval64),
];

const SCHED_OTHER: u32 = 0;
const SCHED_FIFO: u32 = 1;
const SCHED_RR: u32 = 2;
const SCHED_BATCH: u32 = 3;
const SCHED_IDLE: u32 = 5;
const SCHED_DEADLINE: u32 = 6;
const RESET_ON_FORK: u32 = 0x4000_0000;

fn find(cx: &SyscallCx, pid: u64) -> Result<Rc<Task>> {
    match pid as i32 {
        0 => Ok(Rc::clone(&cx.task)),
        pid if pid < 0 => Err(Errno::EINVAL),
        pid => cx.kernel.processes.task(pid).ok_or(Errno::ESRCH),
    }
}

fn may_change(cx: &SyscallCx, task: &Task) -> Result<()> {
    let (mine, theirs) = (cx.creds(), task.credentials());
    let owner = mine.euid == theirs.uid || mine.euid == theirs.euid;
    if owner || mine.capable(cap::SYS_NICE) { Ok(()) } else { Err(Errno::EPERM) }
}

// ---- nice values ----

fn set_nice(cx: &SyscallCx, task: &Task, nice: i32) -> Result<()> {
    let nice = nice.clamp(-20, 19);
    may_change(cx, task)?;
    // RLIMIT_NICE is 20 minus the lowest value allowed.
    let floor = 20 - task.group.rlimits.borrow().soft(crate::task::Resource::Nice).min(40) as i32;
    if nice < task.nice.get() && nice < floor && !cx.creds().capable(cap::SYS_NICE) {
        return Err(Errno::EACCES);
    }
    task.nice.set(nice);
    Ok(())
}

fn nice(cx: &SyscallCx, [by, ..]: Args) -> Result<i64> {
    let by = (by as i32).clamp(-40, 40);
    match set_nice(cx, &cx.task, cx.task.nice.get() + by) {
        Err(_) => Err(Errno::EPERM),
        Ok(()) => Ok(0),
    }
}

/// The tasks that `which` and `who` of getpriority(2) name.
fn named(cx: &SyscallCx, which: u64, who: u64) -> Result<Vec<Rc<Task>>> {
    let who = who as i32;
    let all = || cx.kernel.processes.tasks();
    let tasks: Vec<_> = match which {
        0 if who == 0 => vec![Rc::clone(&cx.task)],
        0 => cx.kernel.processes.task(who).into_iter().collect(),
        1 => {
            let pgrp = if who == 0 { cx.task.group.pgrp.get() } else { who };
            all().into_iter().filter(|task| task.group.pgrp.get() == pgrp).collect()
        }
        2 => {
            let uid = if who == 0 { cx.creds().uid } else { who as u32 };
            all().into_iter().filter(|task| task.creds.borrow().uid == uid).collect()
        }
        _ => return Err(Errno::EINVAL),
    };
    if tasks.is_empty() { Err(Errno::ESRCH) } else { Ok(tasks) }
}

/// Returns 20 minus the nice value, so that no answer looks like an error.
fn getpriority(cx: &SyscallCx, [which, who, ..]: Args) -> Result<i64> {
    let tasks = named(cx, which, who)?;
    Ok(tasks.iter().map(|task| 20 - i64::from(task.nice.get())).max().unwrap_or(20))
}

fn setpriority(cx: &SyscallCx, [which, who, nice, ..]: Args) -> Result<i64> {
    for task in named(cx, which, who)? {
        set_nice(cx, &task, nice as i32)?;
    }
    Ok(0)
}

// ---- policies ----

fn set_policy(cx: &SyscallCx, pid: u64, policy: u32, priority: u32) -> Result<()> {
    let task = find(cx, pid)?;
    match policy & !RESET_ON_FORK {
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE if priority == 0 => {}
        // Real-time policies could starve the terminal; a kernel without the privilege says the same.
        SCHED_FIFO | SCHED_RR if (1..=99).contains(&priority) => return Err(Errno::EPERM),
        SCHED_DEADLINE => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    }
    may_change(cx, &task)?;
    task.policy.set(policy);
    Ok(())
}

async fn sched_setscheduler(cx: &SyscallCx, [pid, policy, param, ..]: Args) -> Result<i64> {
    let priority = cx.read_u32(param).await?;
    set_policy(cx, pid, policy as u32, priority)?;
    Ok(0)
}

async fn sched_setparam(cx: &SyscallCx, [pid, param, ..]: Args) -> Result<i64> {
    let priority = cx.read_u32(param).await?;
    find(cx, pid)?;
    if priority == 0 { Ok(0) } else { Err(Errno::EINVAL) }
}

fn sched_getscheduler(cx: &SyscallCx, [pid, ..]: Args) -> Result<i64> {
    Ok(i64::from(find(cx, pid)?.policy.get()))
}

async fn sched_getparam(cx: &SyscallCx, [pid, param, ..]: Args) -> Result<i64> {
    find(cx, pid)?;
    cx.write_u32(param, 0).await?;
    Ok(0)
}

async fn sched_yield(_: &SyscallCx, _: Args) -> Result<i64> {
    vm_rt::yield_now().await;
    Ok(0)
}

fn priority_max(_: &SyscallCx, [policy, ..]: Args) -> Result<i64> {
    match policy as u32 {
        SCHED_FIFO | SCHED_RR => Ok(99),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

fn priority_min(_: &SyscallCx, [policy, ..]: Args) -> Result<i64> {
    match policy as u32 {
        SCHED_FIFO | SCHED_RR => Ok(1),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

const SLICE: std::time::Duration = std::time::Duration::from_millis(4);

async fn rr_interval(cx: &SyscallCx, [pid, at, ..]: Args) -> Result<i64> {
    find(cx, pid)?;
    super::time::write_timespec(cx, at, SLICE.into(), false).await?;
    Ok(0)
}

async fn rr_interval64(cx: &SyscallCx, [pid, at, ..]: Args) -> Result<i64> {
    find(cx, pid)?;
    super::time::write_timespec(cx, at, SLICE.into(), true).await?;
    Ok(0)
}

/// `struct sched_attr`, first version.
const ATTR_SIZE: usize = 48;

async fn sched_setattr(cx: &SyscallCx, [pid, at, flags, ..]: Args) -> Result<i64> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let mut raw = [0; ATTR_SIZE];
    cx.read_user(at, &mut raw).await?;
    let word = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
    let size = word(0);
    if size != 0 && (size as usize) < ATTR_SIZE {
        return Err(Errno::E2BIG);
    }
    set_policy(cx, pid, word(4), word(20))?;
    let task = find(cx, pid)?;
    set_nice(cx, &task, word(16) as i32).map(|()| 0)
}

async fn sched_getattr(cx: &SyscallCx, [pid, at, size, flags, ..]: Args) -> Result<i64> {
    if (size as usize) < ATTR_SIZE || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let task = find(cx, pid)?;
    let mut raw = [0; ATTR_SIZE];
    raw[..4].copy_from_slice(&(ATTR_SIZE as u32).to_le_bytes());
    raw[4..8].copy_from_slice(&task.policy.get().to_le_bytes());
    raw[16..20].copy_from_slice(&task.nice.get().to_le_bytes());
    cx.write_user(at, &raw).await?;
    Ok(0)
}

// ---- processors ----

/// The task of these two calls, which take a negative number for that of nobody.
fn find_for_affinity(cx: &SyscallCx, pid: u64) -> Result<Rc<Task>> {
    if (pid as i32) < 0 { Err(Errno::ESRCH) } else { find(cx, pid) }
}

async fn getaffinity(cx: &SyscallCx, [pid, size, at, ..]: Args) -> Result<i64> {
    if size < 4 || size % 4 != 0 {
        return Err(Errno::EINVAL);
    }
    find_for_affinity(cx, pid)?;
    // Linux writes as many whole words as its mask has.
    cx.write_user(at, &[1, 0, 0, 0]).await?;
    Ok(4)
}

async fn setaffinity(cx: &SyscallCx, [pid, size, at, ..]: Args) -> Result<i64> {
    let task = find_for_affinity(cx, pid)?;
    may_change(cx, &task)?;
    let mut first = [0; 1];
    if size > 0 {
        cx.read_user(at, &mut first).await?;
    }
    if first[0] & 1 == 0 { Err(Errno::EINVAL) } else { Ok(0) }
}

async fn getcpu(cx: &SyscallCx, [cpu, node, ..]: Args) -> Result<i64> {
    for at in [cpu, node] {
        if at != 0 {
            cx.write_u32(at, 0).await?;
        }
    }
    Ok(0)
}

fn ioprio_set(cx: &SyscallCx, [which, who, value, ..]: Args) -> Result<i64> {
    if value >> 13 > 3 || !(1..=3).contains(&which) {
        return Err(Errno::EINVAL);
    }
    named(cx, which - 1, who)?;
    Ok(0)
}

fn ioprio_get(cx: &SyscallCx, [which, who, ..]: Args) -> Result<i64> {
    if !(1..=3).contains(&which) {
        return Err(Errno::EINVAL);
    }
    named(cx, which - 1, who)?;
    Ok(0)
}
