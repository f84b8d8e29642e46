//! Limits and usage (getrlimit(2), getrusage(2)).

use std::rc::Rc;

use super::process::encode_rusage;
use super::table::{Args, Row, wait};
use crate::mm;
use crate::task::{RLIM_INFINITY, Resource, Rlimit, ThreadGroup, cap};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    wait!(75, "setrlimit", setrlimit),
    wait!(76, "getrlimit", old_getrlimit),
    wait!(77, "getrusage", getrusage),
    wait!(191, "ugetrlimit", ugetrlimit),
    wait!(340, "prlimit64", prlimit64),
];

/// No limit, in the 32-bit structures.
const SHORT_INFINITY: u32 = u32::MAX;
/// No limit, as the first getrlimit(2) of i386 shows it.
const OLD_INFINITY: u32 = 0x7fff_ffff;
/// Descriptors cannot be limited to more than this.
const NR_OPEN: u64 = 1 << 20;

fn get(group: &ThreadGroup, resource: u64) -> Result<Rlimit> {
    group.rlimits.borrow_mut().by_number(resource as usize).map(|limit| *limit).ok_or(Errno::EINVAL)
}

fn set(cx: &SyscallCx, group: &Rc<ThreadGroup>, resource: u64, new: Rlimit) -> Result<()> {
    let old = get(group, resource)?;
    if new.soft > new.hard {
        return Err(Errno::EINVAL);
    }
    if resource == Resource::Nofile as u64 && new.hard > NR_OPEN {
        return Err(Errno::EPERM);
    }
    if new.hard > old.hard && !cx.creds().capable(cap::SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    if let Some(limit) = group.rlimits.borrow_mut().by_number(resource as usize) {
        *limit = new;
    }
    let limits = memory_limits(group);
    for task in group.threads.borrow().iter() {
        if let Some(mm) = task.mm() {
            mm.set_limits(limits);
        }
    }
    Ok(())
}

/// The limits that an address space looks at.
pub(crate) fn memory_limits(group: &ThreadGroup) -> mm::Limits {
    let limits = group.rlimits.borrow();
    mm::Limits {
        address_space: limits.soft(Resource::As),
        data: limits.soft(Resource::Data),
        stack: limits.soft(Resource::Stack),
        memlock: limits.soft(Resource::Memlock),
    }
}

fn shorten(value: u64, infinity: u32) -> u32 {
    u32::try_from(value).unwrap_or(infinity).min(infinity)
}

fn lengthen(value: u32) -> u64 {
    if value == SHORT_INFINITY { RLIM_INFINITY } else { u64::from(value) }
}

async fn write_short(cx: &SyscallCx, at: u64, limit: Rlimit, infinity: u32) -> Result<i64> {
    let mut raw = [0; 8];
    raw[..4].copy_from_slice(&shorten(limit.soft, infinity).to_le_bytes());
    raw[4..].copy_from_slice(&shorten(limit.hard, infinity).to_le_bytes());
    cx.write_user(at, &raw).await?;
    Ok(0)
}

async fn ugetrlimit(cx: &SyscallCx, [resource, at, ..]: Args) -> Result<i64> {
    let limit = get(&cx.task.group, resource)?;
    write_short(cx, at, limit, SHORT_INFINITY).await
}

async fn old_getrlimit(cx: &SyscallCx, [resource, at, ..]: Args) -> Result<i64> {
    let limit = get(&cx.task.group, resource)?;
    write_short(cx, at, limit, OLD_INFINITY).await
}

async fn setrlimit(cx: &SyscallCx, [resource, at, ..]: Args) -> Result<i64> {
    let new = Rlimit { soft: lengthen(cx.read_u32(at).await?), hard: lengthen(cx.read_u32(at + 4).await?) };
    set(cx, &cx.task.group, resource, new)?;
    Ok(0)
}

async fn prlimit64(cx: &SyscallCx, [pid, resource, new, old, ..]: Args) -> Result<i64> {
    let group = match pid as i32 {
        0 => Rc::clone(&cx.task.group),
        pid => Rc::clone(&cx.kernel.processes.task(pid).ok_or(Errno::ESRCH)?.group),
    };
    if !Rc::ptr_eq(&group, &cx.task.group) {
        let (mine, leader) = (cx.creds(), group.leader().ok_or(Errno::ESRCH)?);
        let theirs = leader.credentials();
        let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|uid| *uid == mine.uid)
            && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|gid| *gid == mine.gid);
        if !same && !mine.capable(cap::SYS_RESOURCE) {
            return Err(Errno::EPERM);
        }
    }
    let before = get(&group, resource)?;
    if new != 0 {
        let mut raw = [0; 16];
        cx.read_user(new, &mut raw).await?;
        let (mut soft, mut hard) = ([0; 8], [0; 8]);
        soft.copy_from_slice(&raw[..8]);
        hard.copy_from_slice(&raw[8..]);
        set(cx, &group, resource, Rlimit { soft: u64::from_le_bytes(soft), hard: u64::from_le_bytes(hard) })?;
    }
    if old != 0 {
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&before.soft.to_le_bytes());
        raw[8..].copy_from_slice(&before.hard.to_le_bytes());
        cx.write_user(old, &raw).await?;
    }
    Ok(0)
}

async fn getrusage(cx: &SyscallCx, [who, at, ..]: Args) -> Result<i64> {
    let group = &cx.task.group;
    let usage = match who as i32 {
        0 => with_memory(cx, group.usage()),
        -1 => group.children_usage(),
        1 => with_memory(cx, cx.task.usage.get()),
        _ => return Err(Errno::EINVAL),
    };
    cx.write_user(at, &encode_rusage(&usage)).await?;
    Ok(0)
}

fn with_memory(cx: &SyscallCx, mut usage: crate::task::Rusage) -> crate::task::Rusage {
    let mm = cx.mm();
    let counts = mm.fault_counts();
    usage.minor_faults += counts.minor;
    usage.major_faults += counts.major;
    usage.max_rss = usage.max_rss.max(u64::from(mm.resident_pages().1) * 4);
    usage
}
