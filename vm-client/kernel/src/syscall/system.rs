//! The system as a whole: uname(2), sysinfo(2), host name, reboot(2), personality(2), syslog(2).

use super::table::{Args, Row, now, wait};
use crate::kernel::{RELEASE, VERSION};
use crate::klog::CAPACITY;
use crate::task::cap;
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    wait!(59, "oldolduname", oldolduname),
    wait!(74, "sethostname", sethostname),
    now!(88, "reboot", reboot, "halting and restarting end the machine's processes"),
    wait!(103, "syslog", syslog),
    wait!(109, "olduname", olduname),
    wait!(116, "sysinfo", sysinfo),
    wait!(121, "setdomainname", setdomainname),
    wait!(122, "uname", uname),
    now!(136, "personality", personality, "kept, without effect"),
    now!(101, "ioperm", ioperm, "no ports: EPERM"),
    now!(110, "iopl", ioperm, "no ports: EPERM"),
    now!(375, "membarrier", membarrier),
    wait!(275, "get_mempolicy", get_mempolicy, "one node"),
    now!(276, "set_mempolicy", set_mempolicy, "one node"),
    now!(274, "mbind", set_mempolicy, "one node"),
    now!(111, "vhangup", vhangup, "needs a terminal"),
];

/// Bytes of a name in `struct new_utsname`, its NUL included.
const NAME: usize = 65;

fn names(cx: &SyscallCx) -> [Vec<u8>; 6] {
    let uts = cx.with_uts(|uts| uts.clone());
    [
        b"Linux".to_vec(),
        uts.nodename,
        RELEASE.as_bytes().to_vec(),
        VERSION.as_bytes().to_vec(),
        b"i686".to_vec(),
        uts.domainname,
    ]
}

fn pack(names: &[Vec<u8>], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(names.len() * width);
    for name in names {
        let end = out.len() + width;
        out.extend(name.iter().take(width - 1));
        out.resize(end, 0);
    }
    out
}

async fn uname(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    cx.write_user(at, &pack(&names(cx), NAME)).await?;
    Ok(0)
}

/// Five names of 65 bytes.
async fn olduname(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    cx.write_user(at, &pack(&names(cx)[..5], NAME)).await?;
    Ok(0)
}

/// Five names of 9 bytes.
async fn oldolduname(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    cx.write_user(at, &pack(&names(cx)[..5], 9)).await?;
    Ok(0)
}

async fn read_name(cx: &SyscallCx, at: u64, len: u64) -> Result<Vec<u8>> {
    let owner = cx.task.namespaces.borrow().uts_owner();
    if !cx.creds().capable_in(&owner, cap::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    if len as usize >= NAME {
        return Err(Errno::EINVAL);
    }
    let mut name = vec![0; len as usize];
    cx.read_user(at, &mut name).await?;
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    Ok(name)
}

async fn sethostname(cx: &SyscallCx, [at, len, ..]: Args) -> Result<i64> {
    let name = read_name(cx, at, len).await?;
    cx.with_uts(|uts| uts.nodename = name);
    Ok(0)
}

async fn setdomainname(cx: &SyscallCx, [at, len, ..]: Args) -> Result<i64> {
    let name = read_name(cx, at, len).await?;
    cx.with_uts(|uts| uts.domainname = name);
    Ok(0)
}

/// `struct sysinfo` of i386: 64 bytes, sizes in units of `mem_unit`.
async fn sysinfo(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    const PAGE: u32 = 4096;
    let stats = cx.kernel.memory.stats();
    let loads = cx.kernel.load_average();
    let mut raw = [0; 64];
    let mut put = |index: usize, value: u32| raw[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
    put(0, cx.kernel.now_monotonic().as_secs() as u32);
    for (index, load) in loads.into_iter().enumerate() {
        // Fixed point with 16 fraction bits.
        put(1 + index, (load * 65_536.0) as u32);
    }
    put(4, stats.total.saturating_mul(PAGE));
    put(5, stats.free.saturating_mul(PAGE));
    put(6, stats.shmem.saturating_mul(PAGE));
    put(7, 0);
    put(10, cx.kernel.processes.task_count().min(0xffff) as u32);
    put(13, 1);
    cx.write_user(at, &raw).await?;
    Ok(0)
}

fn reboot(cx: &SyscallCx, [magic, magic2, command, ..]: Args) -> Result<i64> {
    const MAGIC: u64 = 0xfee1_dead;
    const MAGIC2: [u64; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const RESTART: u64 = 0x0123_4567;
    const HALT: u64 = 0xcdef_0123;
    const POWER_OFF: u64 = 0x4321_fedc;
    const CAD_ON: u64 = 0x89ab_cdef;
    const CAD_OFF: u64 = 0;
    if !cx.creds().capable(cap::SYS_BOOT) {
        return Err(Errno::EPERM);
    }
    if magic != MAGIC || !MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    match command {
        CAD_ON | CAD_OFF => Ok(0),
        RESTART | HALT | POWER_OFF => {
            cx.kernel.power_off();
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

async fn syslog(cx: &SyscallCx, [kind, at, len, ..]: Args) -> Result<i64> {
    let log = &cx.kernel.klog;
    if !cx.creds().capable(cap::SYS_ADMIN) && !matches!(kind, 3 | 10) {
        return Err(Errno::EPERM);
    }
    let room = |len: u64| usize::try_from(len as i32).map_err(|_| Errno::EINVAL);
    match kind as i32 {
        // close, open, console off and on
        0 | 1 | 6 | 7 => Ok(0),
        // read
        2 => {
            let room = room(len)?;
            loop {
                let added = log.wait();
                let text = log.take_unread(room);
                if !text.is_empty() || room == 0 {
                    cx.write_user(at, text.as_bytes()).await?;
                    return Ok(text.len() as i64);
                }
                cx.interruptible(added).await?;
            }
        }
        // read all, and clear
        3 | 4 => {
            let text = log.tail(room(len)?);
            cx.write_user(at, text.as_bytes()).await?;
            if kind == 4 {
                log.clear();
            }
            Ok(text.len() as i64)
        }
        5 => {
            log.clear();
            Ok(0)
        }
        8 if (1..=8).contains(&len) => Ok(0),
        9 => Ok(log.unread_bytes() as i64),
        10 => Ok(CAPACITY as i64),
        _ => Err(Errno::EINVAL),
    }
}

fn personality(cx: &SyscallCx, [persona, ..]: Args) -> Result<i64> {
    const QUERY: u32 = u32::MAX;
    let old = cx.task.personality.get();
    if persona as u32 != QUERY {
        cx.task.personality.set(persona as u32);
    }
    Ok(i64::from(old))
}

fn ioperm(_: &SyscallCx, _: Args) -> Result<i64> {
    Err(Errno::EPERM)
}

/// One processor runs everything in order: every barrier holds already.
fn membarrier(_: &SyscallCx, [command, flags, ..]: Args) -> Result<i64> {
    const GLOBAL: u64 = 1;
    const EXPEDITED: u64 = 2 | 4 | 8 | 16;
    match command {
        _ if flags != 0 => Err(Errno::EINVAL),
        0 => Ok((GLOBAL | EXPEDITED) as i64),
        1 | 2 | 4 | 8 | 16 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

async fn get_mempolicy(cx: &SyscallCx, [mode, mask, max, _, flags, _]: Args) -> Result<i64> {
    const MPOL_F_MEMS_ALLOWED: u64 = 4;
    if mode != 0 {
        cx.write_u32(mode, 0).await?;
    }
    if mask != 0 && max > 0 {
        let node = u32::from(flags & MPOL_F_MEMS_ALLOWED != 0);
        cx.write_u32(mask, node).await?;
    }
    Ok(0)
}

fn set_mempolicy(_: &SyscallCx, _: Args) -> Result<i64> {
    Ok(0)
}

fn vhangup(cx: &SyscallCx, _: Args) -> Result<i64> {
    if !cx.creds().capable(cap::SYS_TTY_CONFIG) {
        return Err(Errno::EPERM);
    }
    let tty = cx.task.group.session.borrow().tty();
    if let Some(tty) = tty {
        tty.hang_up();
    }
    Ok(0)
}
