//! Numbers and credentials of processes (credentials(7)).

use std::rc::Rc;

use super::table::{Args, Row, now, wait};
use crate::namespace::IdKind;
use crate::task::{Credentials, Pid, Session, ThreadGroup, cap};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    now!(20, "getpid", getpid),
    now!(23, "setuid", setuid16),
    now!(24, "getuid", getuid16),
    now!(46, "setgid", setgid16),
    now!(47, "getgid", getgid16),
    now!(49, "geteuid", geteuid16),
    now!(50, "getegid", getegid16),
    now!(57, "setpgid", setpgid),
    now!(64, "getppid", getppid),
    now!(65, "getpgrp", getpgrp),
    now!(66, "setsid", setsid),
    now!(70, "setreuid", setreuid16),
    now!(71, "setregid", setregid16),
    wait!(80, "getgroups", getgroups16),
    wait!(81, "setgroups", setgroups16),
    now!(132, "getpgid", getpgid),
    now!(138, "setfsuid", setfsuid),
    now!(139, "setfsgid", setfsgid),
    now!(147, "getsid", getsid),
    now!(164, "setresuid", setresuid16),
    wait!(165, "getresuid", getresuid16),
    now!(170, "setresgid", setresgid16),
    wait!(171, "getresgid", getresgid16),
    wait!(184, "capget", capget),
    wait!(185, "capset", capset),
    now!(199, "getuid32", getuid),
    now!(200, "getgid32", getgid),
    now!(201, "geteuid32", geteuid),
    now!(202, "getegid32", getegid),
    now!(203, "setreuid32", setreuid),
    now!(204, "setregid32", setregid),
    wait!(205, "getgroups32", getgroups),
    wait!(206, "setgroups32", setgroups),
    now!(208, "setresuid32", setresuid),
    wait!(209, "getresuid32", getresuid),
    now!(210, "setresgid32", setresgid),
    wait!(211, "getresgid32", getresgid),
    now!(213, "setuid32", setuid),
    now!(214, "setgid32", setgid),
    now!(215, "setfsuid32", setfsuid),
    now!(216, "setfsgid32", setfsgid),
    now!(224, "gettid", gettid),
];

/// "leave it alone" of the set calls.
const KEEP: u32 = u32::MAX;
/// What a number that does not fit shows as in the 16-bit calls.
const OVERFLOW: i64 = 65_534;

// ---- processes ----

fn getpid(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(i64::from(cx.task.pid()))
}

fn gettid(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(i64::from(cx.task.tid()))
}

fn getppid(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(i64::from(cx.task.group.ppid()))
}

fn getpgrp(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(i64::from(cx.task.group.pgrp.get()))
}

fn find_group(cx: &SyscallCx, pid: u64) -> Result<Rc<ThreadGroup>> {
    match pid as Pid {
        0 => Ok(Rc::clone(&cx.task.group)),
        pid => cx.kernel.processes.group(pid).ok_or(Errno::ESRCH),
    }
}

fn getpgid(cx: &SyscallCx, [pid, ..]: Args) -> Result<i64> {
    Ok(i64::from(find_group(cx, pid)?.pgrp.get()))
}

fn getsid(cx: &SyscallCx, [pid, ..]: Args) -> Result<i64> {
    Ok(i64::from(find_group(cx, pid)?.session.borrow().sid))
}

fn setpgid(cx: &SyscallCx, [pid, pgrp, ..]: Args) -> Result<i64> {
    let me = &cx.task.group;
    let target = find_group(cx, pid)?;
    let pgrp = match pgrp as Pid {
        0 => target.pid,
        negative if negative < 0 => return Err(Errno::EINVAL),
        pgrp => pgrp,
    };
    if target.is_zombie() {
        return Err(Errno::ESRCH);
    }
    let sid = me.session.borrow().sid;
    if !Rc::ptr_eq(&target, me) {
        if !target.parent().is_some_and(|parent| Rc::ptr_eq(&parent, me)) {
            return Err(Errno::ESRCH);
        }
        if target.session.borrow().sid != sid {
            return Err(Errno::EPERM);
        }
        if target.did_exec.get() {
            return Err(Errno::EACCES);
        }
    }
    if target.session.borrow().sid == target.pid {
        return Err(Errno::EPERM);
    }
    if pgrp != target.pid && !cx.kernel.pgrp_in_session(pgrp, sid) {
        return Err(Errno::EPERM);
    }
    target.pgrp.set(pgrp);
    Ok(0)
}

fn setsid(cx: &SyscallCx, _: Args) -> Result<i64> {
    let me = &cx.task.group;
    if !cx.kernel.processes.groups_of(me.pid).is_empty() {
        return Err(Errno::EPERM);
    }
    *me.session.borrow_mut() = Rc::new(Session::new(me.pid));
    me.pgrp.set(me.pid);
    Ok(i64::from(me.pid))
}

// ---- reading credentials ----

/// What the caller sees of an id.
fn shown(cx: &SyscallCx, kind: IdKind, id: u32) -> u32 {
    cx.creds().user_ns.shown(kind, id)
}

/// The id that the caller means, "leave it alone" included; EINVAL for one that its namespace does not have.
fn meant(cx: &SyscallCx, kind: IdKind, id: u64) -> Result<u32> {
    match id as u32 {
        KEEP => Ok(KEEP),
        id => cx.creds().user_ns.kernel(kind, id).ok_or(Errno::EINVAL),
    }
}

fn short(id: u32) -> i64 {
    if id > 0xffff { OVERFLOW } else { i64::from(id) }
}

fn getuid(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(i64::from(shown(cx, IdKind::User, cx.creds().uid)))
}
fn geteuid(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(i64::from(shown(cx, IdKind::User, cx.creds().euid)))
}
fn getgid(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(i64::from(shown(cx, IdKind::Group, cx.creds().gid)))
}
fn getegid(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(i64::from(shown(cx, IdKind::Group, cx.creds().egid)))
}
fn getuid16(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(short(shown(cx, IdKind::User, cx.creds().uid)))
}
fn geteuid16(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(short(shown(cx, IdKind::User, cx.creds().euid)))
}
fn getgid16(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(short(shown(cx, IdKind::Group, cx.creds().gid)))
}
fn getegid16(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(short(shown(cx, IdKind::Group, cx.creds().egid)))
}

async fn write_three(cx: &SyscallCx, at: Args, ids: [u32; 3]) -> Result<i64> {
    for (at, id) in at.into_iter().zip(ids) {
        cx.write_u32(at, id).await?;
    }
    Ok(0)
}

async fn write_three16(cx: &SyscallCx, at: Args, ids: [u32; 3]) -> Result<i64> {
    for (at, id) in at.into_iter().zip(ids) {
        cx.write_user(at, &(short(id) as u16).to_le_bytes()).await?;
    }
    Ok(0)
}

async fn getresuid(cx: &SyscallCx, at: Args) -> Result<i64> {
    let creds = cx.creds();
    write_three(cx, at, [creds.uid, creds.euid, creds.suid].map(|id| shown(cx, IdKind::User, id))).await
}
async fn getresgid(cx: &SyscallCx, at: Args) -> Result<i64> {
    let creds = cx.creds();
    write_three(cx, at, [creds.gid, creds.egid, creds.sgid].map(|id| shown(cx, IdKind::Group, id))).await
}
async fn getresuid16(cx: &SyscallCx, at: Args) -> Result<i64> {
    let creds = cx.creds();
    write_three16(cx, at, [creds.uid, creds.euid, creds.suid].map(|id| shown(cx, IdKind::User, id))).await
}
async fn getresgid16(cx: &SyscallCx, at: Args) -> Result<i64> {
    let creds = cx.creds();
    write_three16(cx, at, [creds.gid, creds.egid, creds.sgid].map(|id| shown(cx, IdKind::Group, id))).await
}

// ---- changing credentials ----

/// A 16-bit argument: -1 stays "leave it alone".
fn wide(id: u64) -> u64 {
    if id as u16 == u16::MAX { u64::from(KEEP) } else { u64::from(id as u16) }
}

fn wide_args(args: Args) -> Args {
    args.map(wide)
}

/// Puts changed credentials in force, with what follows from a change of user ids (capabilities(7)).
fn commit(cx: &SyscallCx, mut new: Credentials) {
    let old = cx.creds();
    let root = old.user_ns.root();
    let was_root = [old.uid, old.euid, old.suid].contains(&root);
    let is_root = [new.uid, new.euid, new.suid].contains(&root);
    if was_root && !is_root && !cx.task.keep_caps.get() {
        new.cap_permitted = 0;
        new.cap_effective = 0;
        new.cap_ambient = 0;
    }
    if old.euid == root && new.euid != root {
        new.cap_effective = 0;
    }
    if old.euid != root && new.euid == root {
        new.cap_effective = new.cap_permitted;
    }
    set_fs_caps(&old, &mut new);
    if old.euid != new.euid || old.egid != new.egid {
        cx.task.group.dumpable.set(0);
        cx.task.parent_death_signal.set(0);
    }
    *cx.task.creds.borrow_mut() = Rc::new(new);
}

/// The capabilities that belong to the file-system user.
fn set_fs_caps(old: &Credentials, new: &mut Credentials) {
    const FILES: u64 = 1 << cap::CHOWN
        | 1 << cap::DAC_OVERRIDE
        | 1 << cap::DAC_READ_SEARCH
        | 1 << cap::FOWNER
        | 1 << cap::FSETID
        | 1 << cap::MKNOD
        | 1 << 9
        | 1 << 32;
    let root = old.user_ns.root();
    if old.fsuid == root && new.fsuid != root {
        new.cap_effective &= !FILES;
    }
    if old.fsuid != root && new.fsuid == root {
        new.cap_effective |= new.cap_permitted & FILES;
    }
}

fn setuid(cx: &SyscallCx, [uid, ..]: Args) -> Result<i64> {
    let (uid, old) = (meant(cx, IdKind::User, uid)?, cx.creds());
    if uid == KEEP {
        return Err(Errno::EINVAL);
    }
    let mut new = (*old).clone();
    if old.has(cap::SETUID) {
        (new.uid, new.suid) = (uid, uid);
    } else if uid != old.uid && uid != old.suid {
        return Err(Errno::EPERM);
    }
    (new.euid, new.fsuid) = (uid, uid);
    commit(cx, new);
    Ok(0)
}

fn setgid(cx: &SyscallCx, [gid, ..]: Args) -> Result<i64> {
    let (gid, old) = (meant(cx, IdKind::Group, gid)?, cx.creds());
    if gid == KEEP {
        return Err(Errno::EINVAL);
    }
    let mut new = (*old).clone();
    if old.has(cap::SETGID) {
        (new.gid, new.sgid) = (gid, gid);
    } else if gid != old.gid && gid != old.sgid {
        return Err(Errno::EPERM);
    }
    (new.egid, new.fsgid) = (gid, gid);
    commit(cx, new);
    Ok(0)
}

fn setreuid(cx: &SyscallCx, [real, effective, ..]: Args) -> Result<i64> {
    let (real, effective) = (meant(cx, IdKind::User, real)?, meant(cx, IdKind::User, effective)?);
    let old = cx.creds();
    let mut new = (*old).clone();
    let free = old.has(cap::SETUID);
    if real != KEEP {
        if !free && real != old.uid && real != old.euid {
            return Err(Errno::EPERM);
        }
        new.uid = real;
    }
    if effective != KEEP {
        if !free && ![old.uid, old.euid, old.suid].contains(&effective) {
            return Err(Errno::EPERM);
        }
        new.euid = effective;
    }
    if real != KEEP || effective != KEEP && effective != old.uid {
        new.suid = new.euid;
    }
    new.fsuid = new.euid;
    commit(cx, new);
    Ok(0)
}

fn setregid(cx: &SyscallCx, [real, effective, ..]: Args) -> Result<i64> {
    let (real, effective) = (meant(cx, IdKind::Group, real)?, meant(cx, IdKind::Group, effective)?);
    let old = cx.creds();
    let mut new = (*old).clone();
    let free = old.has(cap::SETGID);
    if real != KEEP {
        if !free && real != old.gid && real != old.egid {
            return Err(Errno::EPERM);
        }
        new.gid = real;
    }
    if effective != KEEP {
        if !free && ![old.gid, old.egid, old.sgid].contains(&effective) {
            return Err(Errno::EPERM);
        }
        new.egid = effective;
    }
    if real != KEEP || effective != KEEP && effective != old.gid {
        new.sgid = new.egid;
    }
    new.fsgid = new.egid;
    commit(cx, new);
    Ok(0)
}

fn setresuid(cx: &SyscallCx, [real, effective, saved, ..]: Args) -> Result<i64> {
    let old = cx.creds();
    let id = |id| meant(cx, IdKind::User, id);
    let wanted = [id(real)?, id(effective)?, id(saved)?];
    let known = [old.uid, old.euid, old.suid];
    if !old.has(cap::SETUID) && wanted.iter().any(|id| *id != KEEP && !known.contains(id)) {
        return Err(Errno::EPERM);
    }
    let pick = |wanted: u32, old: u32| if wanted == KEEP { old } else { wanted };
    let mut new = (*old).clone();
    new.uid = pick(wanted[0], old.uid);
    new.euid = pick(wanted[1], old.euid);
    new.suid = pick(wanted[2], old.suid);
    new.fsuid = new.euid;
    commit(cx, new);
    Ok(0)
}

fn setresgid(cx: &SyscallCx, [real, effective, saved, ..]: Args) -> Result<i64> {
    let old = cx.creds();
    let id = |id| meant(cx, IdKind::Group, id);
    let wanted = [id(real)?, id(effective)?, id(saved)?];
    let known = [old.gid, old.egid, old.sgid];
    if !old.has(cap::SETGID) && wanted.iter().any(|id| *id != KEEP && !known.contains(id)) {
        return Err(Errno::EPERM);
    }
    let pick = |wanted: u32, old: u32| if wanted == KEEP { old } else { wanted };
    let mut new = (*old).clone();
    new.gid = pick(wanted[0], old.gid);
    new.egid = pick(wanted[1], old.egid);
    new.sgid = pick(wanted[2], old.sgid);
    new.fsgid = new.egid;
    commit(cx, new);
    Ok(0)
}

/// Returns the old number whether it worked or not.
fn setfsuid(cx: &SyscallCx, [uid, ..]: Args) -> Result<i64> {
    let (uid, old) = (meant(cx, IdKind::User, uid).unwrap_or(KEEP), cx.creds());
    let known = [old.uid, old.euid, old.suid, old.fsuid];
    if uid != KEEP && (old.has(cap::SETUID) || known.contains(&uid)) {
        let mut new = (*old).clone();
        new.fsuid = uid;
        set_fs_caps(&old, &mut new);
        *cx.task.creds.borrow_mut() = Rc::new(new);
    }
    Ok(i64::from(old.user_ns.shown(IdKind::User, old.fsuid)))
}

fn setfsgid(cx: &SyscallCx, [gid, ..]: Args) -> Result<i64> {
    let (gid, old) = (meant(cx, IdKind::Group, gid).unwrap_or(KEEP), cx.creds());
    let known = [old.gid, old.egid, old.sgid, old.fsgid];
    if gid != KEEP && (old.has(cap::SETGID) || known.contains(&gid)) {
        let mut new = (*old).clone();
        new.fsgid = gid;
        *cx.task.creds.borrow_mut() = Rc::new(new);
    }
    Ok(i64::from(old.user_ns.shown(IdKind::Group, old.fsgid)))
}

fn setuid16(cx: &SyscallCx, args: Args) -> Result<i64> {
    setuid(cx, wide_args(args))
}
fn setgid16(cx: &SyscallCx, args: Args) -> Result<i64> {
    setgid(cx, wide_args(args))
}
fn setreuid16(cx: &SyscallCx, args: Args) -> Result<i64> {
    setreuid(cx, wide_args(args))
}
fn setregid16(cx: &SyscallCx, args: Args) -> Result<i64> {
    setregid(cx, wide_args(args))
}
fn setresuid16(cx: &SyscallCx, args: Args) -> Result<i64> {
    setresuid(cx, wide_args(args))
}
fn setresgid16(cx: &SyscallCx, args: Args) -> Result<i64> {
    setresgid(cx, wide_args(args))
}

// ---- supplementary groups ----

const NGROUPS_MAX: u64 = 65_536;

async fn getgroups(cx: &SyscallCx, [size, at, ..]: Args) -> Result<i64> {
    let creds = cx.creds();
    check_room(size, creds.groups.len())?;
    if size != 0 {
        let raw: Vec<u8> = creds.groups.iter().flat_map(|gid| shown(cx, IdKind::Group, *gid).to_le_bytes()).collect();
        cx.write_user(at, &raw).await?;
    }
    Ok(creds.groups.len() as i64)
}

async fn getgroups16(cx: &SyscallCx, [size, at, ..]: Args) -> Result<i64> {
    let creds = cx.creds();
    check_room(size, creds.groups.len())?;
    if size != 0 {
        let raw: Vec<u8> =
            creds.groups.iter().flat_map(|gid| (short(shown(cx, IdKind::Group, *gid)) as u16).to_le_bytes()).collect();
        cx.write_user(at, &raw).await?;
    }
    Ok(creds.groups.len() as i64)
}

fn check_room(size: u64, needed: usize) -> Result<()> {
    let size = size as i32;
    if size < 0 || size != 0 && (size as usize) < needed { Err(Errno::EINVAL) } else { Ok(()) }
}

fn check_setgroups(cx: &SyscallCx, count: u64) -> Result<()> {
    let creds = cx.creds();
    if !creds.has(cap::SETGID) || !creds.user_ns.may_setgroups() {
        return Err(Errno::EPERM);
    }
    if count > NGROUPS_MAX { Err(Errno::EINVAL) } else { Ok(()) }
}

fn commit_groups(cx: &SyscallCx, groups: impl Iterator<Item = u32>) -> Result<()> {
    let mut groups = groups.map(|gid| meant(cx, IdKind::Group, u64::from(gid))).collect::<Result<Vec<u32>>>()?;
    groups.sort_unstable();
    let mut new = (*cx.creds()).clone();
    new.groups = groups;
    *cx.task.creds.borrow_mut() = Rc::new(new);
    Ok(())
}

async fn setgroups(cx: &SyscallCx, [count, at, ..]: Args) -> Result<i64> {
    check_setgroups(cx, count)?;
    let mut raw = vec![0; count as usize * 4];
    cx.read_user(at, &mut raw).await?;
    commit_groups(cx, raw.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])))?;
    Ok(0)
}

async fn setgroups16(cx: &SyscallCx, [count, at, ..]: Args) -> Result<i64> {
    check_setgroups(cx, count)?;
    let mut raw = vec![0; count as usize * 2];
    cx.read_user(at, &mut raw).await?;
    commit_groups(cx, raw.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))))?;
    Ok(0)
}

// ---- capabilities ----

/// Versions of the interface, with the number of 32-bit words in each set.
const CAP_VERSIONS: [(u32, usize); 3] = [(0x1998_0330, 1), (0x2007_1026, 2), (0x2008_0522, 2)];

/// Reads the header: number of words and target process. An unknown version is answered with the preferred one.
async fn cap_header(cx: &SyscallCx, at: u64) -> Result<Option<(usize, Pid)>> {
    let version = cx.read_u32(at).await?;
    let pid = cx.read_u32(at + 4).await? as Pid;
    match CAP_VERSIONS.iter().find(|(number, _)| *number == version) {
        Some((_, words)) => Ok(Some((*words, pid))),
        None => {
            cx.write_u32(at, CAP_VERSIONS[2].0).await?;
            Ok(None)
        }
    }
}

async fn capget(cx: &SyscallCx, [header, data, ..]: Args) -> Result<i64> {
    let Some((words, pid)) = cap_header(cx, header).await? else {
        return if data == 0 { Ok(0) } else { Err(Errno::EINVAL) };
    };
    if pid < 0 {
        return Err(Errno::EINVAL);
    }
    let creds = match pid {
        0 => cx.creds(),
        pid => cx.kernel.processes.task(pid).ok_or(Errno::ESRCH)?.credentials(),
    };
    if data == 0 {
        return Ok(0);
    }
    let mut raw = Vec::with_capacity(24);
    for word in 0..words {
        for set in [creds.cap_effective, creds.cap_permitted, creds.cap_inheritable] {
            raw.extend_from_slice(&((set >> (32 * word)) as u32).to_le_bytes());
        }
    }
    cx.write_user(data, &raw).await?;
    Ok(0)
}

async fn capset(cx: &SyscallCx, [header, data, ..]: Args) -> Result<i64> {
    let Some((words, pid)) = cap_header(cx, header).await? else { return Err(Errno::EINVAL) };
    if pid != 0 && pid != cx.task.tid() {
        return Err(Errno::EPERM);
    }
    let mut sets = [0u64; 3];
    for word in 0..words {
        for (index, set) in sets.iter_mut().enumerate() {
            let value = cx.read_u32(data + (12 * word + 4 * index) as u64).await?;
            *set |= u64::from(value) << (32 * word);
        }
    }
    let known = (1u64 << (cap::LAST + 1)) - 1;
    let [effective, permitted, inheritable] = sets.map(|set| set & known);
    let old = cx.creds();
    let inheritable_from = if old.has(cap::SETPCAP) {
        old.cap_inheritable | old.cap_bounding
    } else {
        old.cap_inheritable | old.cap_permitted
    };
    let allowed =
        permitted & !old.cap_permitted == 0 && effective & !permitted == 0 && inheritable & !inheritable_from == 0;
    if !allowed {
        return Err(Errno::EPERM);
    }
    let mut new = (*old).clone();
    (new.cap_effective, new.cap_permitted, new.cap_inheritable) = (effective, permitted, inheritable);
    new.cap_ambient &= permitted & inheritable;
    *cx.task.creds.borrow_mut() = Rc::new(new);
    Ok(0)
}
