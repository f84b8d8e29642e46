//! Files about the whole machine.

use std::fmt::Write;

use super::load;
use crate::fs::generated::{Fixed, file};
use crate::kernel::{RELEASE, VERSION};
use crate::syscall::ipc;
use crate::task::Rusage;
use crate::vfs::locks::{LockKind, LockOwner};
use crate::{Errno, Result, SyscallCx};

/// Clock ticks a second, as programs are told (USER_HZ).
pub(super) const USER_HZ: u64 = 100;

pub(super) fn ticks(time: std::time::Duration) -> u64 {
    (time.as_nanos() * u128::from(USER_HZ) / 1_000_000_000) as u64
}

pub(super) const SYSVIPC: &[Fixed] =
    &[file!("msg", ipc::list_msg), file!("sem", ipc::list_sem), file!("shm", ipc::list_shm)];

pub(super) fn empty(_: &SyscallCx) -> Result<Vec<u8>> {
    Ok(Vec::new())
}

/// Nothing can be read from /proc/sysrq-trigger.
pub(super) fn sysrq(_: &SyscallCx) -> Result<Vec<u8>> {
    Err(Errno::EIO)
}

/// The first letter is the key.
pub(super) fn trigger_sysrq(cx: &SyscallCx, data: &[u8]) -> Result<()> {
    super::check_admin(cx)?;
    if let Some(key) = data.first() {
        cx.kernel.sysrq(*key);
    }
    Ok(())
}

pub(super) fn cmdline(_: &SyscallCx) -> Result<Vec<u8>> {
    Ok(b"root=/dev/vda rw console=tty1\n".to_vec())
}

pub(super) fn version(_: &SyscallCx) -> Result<Vec<u8>> {
    Ok(format!("Linux version {RELEASE} (skiff@skiff) (rustc) {VERSION}\n").into_bytes())
}

pub(super) fn cpuinfo(_: &SyscallCx) -> Result<Vec<u8>> {
    Ok(crate::fs::cpuinfo::text().into_bytes())
}

pub(super) fn devices(cx: &SyscallCx) -> Result<Vec<u8>> {
    let mut out = String::new();
    for (block, title) in [(false, "Character devices:"), (true, "\nBlock devices:")] {
        let _ = writeln!(out, "{title}");
        for (_, major, name) in cx.kernel.vfs.drivers.list().into_iter().filter(|driver| driver.0 == block) {
            let _ = writeln!(out, "{major:3} {name}");
        }
    }
    Ok(out.into_bytes())
}

pub(super) fn filesystems(_: &SyscallCx) -> Result<Vec<u8>> {
    let mut out = String::new();
    for name in ["sysfs", "tmpfs", "devtmpfs", "proc", "devpts", "pipefs", "sockfs", "anon_inodefs", "overlay"] {
        let _ = writeln!(out, "nodev\t{name}");
    }
    out.push_str("\text2\n");
    Ok(out.into_bytes())
}

pub(super) fn interrupts(_: &SyscallCx) -> Result<Vec<u8>> {
    Ok(b"           CPU0       \n".to_vec())
}

pub(super) fn partitions(_: &SyscallCx) -> Result<Vec<u8>> {
    Ok(b"major minor  #blocks  name\n\n".to_vec())
}

pub(super) fn swaps(_: &SyscallCx) -> Result<Vec<u8>> {
    Ok(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_vec())
}

/// What all tasks, and all that have ended, have used.
fn total_usage(cx: &SyscallCx) -> Rusage {
    let mut total = Rusage::default();
    for group in cx.kernel.processes.groups() {
        total.add(&group.usage());
        if cx.kernel.is_builtin_init(&group) || group.pid == 1 {
            // Everything that has ended was waited for by somebody; what is left of that in the end is init's.
            total.add(&group.children_usage());
        }
    }
    total
}

pub(super) fn uptime(cx: &SyscallCx) -> Result<Vec<u8>> {
    let up = cx.kernel.now_monotonic();
    let used = total_usage(cx);
    let idle = up.saturating_sub(used.user + used.system);
    let show = |time: std::time::Duration| format!("{}.{:02}", time.as_secs(), time.subsec_millis() / 10);
    Ok(format!("{} {}\n", show(up), show(idle)).into_bytes())
}

pub(super) fn stat(cx: &SyscallCx) -> Result<Vec<u8>> {
    let up = cx.kernel.now_monotonic();
    let used = total_usage(cx);
    let (user, system) = (ticks(used.user), ticks(used.system));
    let idle = ticks(up).saturating_sub(user + system);
    let boot = cx.kernel.now_realtime().to_duration().saturating_sub(up).as_secs();
    let switches = used.voluntary_switches + used.involuntary_switches;
    let (created, running) = (cx.kernel.processes.created(), load::running(cx));
    let mut out = String::new();
    for cpu in ["cpu ", "cpu0"] {
        let _ = writeln!(out, "{cpu} {user} 0 {system} {idle} 0 0 0 0 0 0");
    }
    let _ = write!(
        out,
        "intr 0\nctxt {switches}\nbtime {boot}\nprocesses {created}\nprocs_running {running}\nprocs_blocked 0\n\
         softirq 0 0 0 0 0 0 0 0 0 0 0\n"
    );
    Ok(out.into_bytes())
}

pub(super) fn meminfo(cx: &SyscallCx) -> Result<Vec<u8>> {
    let stats = cx.kernel.memory.stats();
    let kib = |pages: u64| pages * 4;
    let (total, free) = (kib(u64::from(stats.total)), kib(u64::from(stats.free)));
    let (cached, shmem) = (kib(u64::from(stats.cached)), kib(u64::from(stats.shmem)));
    let anonymous = total.saturating_sub(free + cached + shmem);
    let rows = [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free + cached),
        ("Buffers", 0),
        ("Cached", cached + shmem),
        ("SwapCached", 0),
        ("Active", anonymous + cached),
        ("Inactive", 0),
        ("Active(anon)", anonymous + shmem),
        ("Inactive(anon)", 0),
        ("Active(file)", cached),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", anonymous),
        ("Mapped", cached),
        ("Shmem", shmem),
        ("KReclaimable", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("PageTables", 0),
        ("CommitLimit", total / 2),
        ("Committed_AS", kib(stats.committed)),
        ("VmallocTotal", 0),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
    ];
    let mut out = String::new();
    for (name, value) in rows {
        let _ = writeln!(out, "{:<15}{value:>8} kB", format!("{name}:"));
    }
    Ok(out.into_bytes())
}

pub(super) fn vmstat(cx: &SyscallCx) -> Result<Vec<u8>> {
    let stats = cx.kernel.memory.stats();
    let used = total_usage(cx);
    let anonymous = stats.total.saturating_sub(stats.free + stats.cached + stats.shmem);
    let rows = [
        ("nr_free_pages", u64::from(stats.free)),
        ("nr_anon_pages", u64::from(anonymous)),
        ("nr_mapped", u64::from(stats.cached)),
        ("nr_file_pages", u64::from(stats.cached + stats.shmem)),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("nr_shmem", u64::from(stats.shmem)),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgfault", used.minor_faults + used.major_faults),
        ("pgmajfault", used.major_faults),
    ];
    let mut out = String::new();
    for (name, value) in rows {
        let _ = writeln!(out, "{name} {value}");
    }
    Ok(out.into_bytes())
}

pub(super) fn locks(cx: &SyscallCx) -> Result<Vec<u8>> {
    let mut out = String::new();
    for (number, ((dev, ino), lock)) in (1..).zip(cx.kernel.vfs.locks.list()) {
        let (family, pid) = match lock.owner {
            LockOwner::Posix { pid, .. } => ("POSIX ", pid),
            LockOwner::Ofd(_) => ("OFDLCK", -1),
            LockOwner::Flock(_) => ("FLOCK ", -1),
        };
        let kind = if lock.kind == LockKind::Read { "READ " } else { "WRITE" };
        let end = if lock.end == u64::MAX { "EOF".to_owned() } else { lock.end.to_string() };
        let (major, minor) = (linux_abi::stat::major(dev), linux_abi::stat::minor(dev));
        let _ = writeln!(
            out,
            "{number}: {family} ADVISORY  {kind} {pid} {major:02x}:{minor:02x}:{ino} {} {end}",
            lock.start
        );
    }
    Ok(out.into_bytes())
}
