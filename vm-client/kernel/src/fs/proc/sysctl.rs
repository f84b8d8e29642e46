//! /proc/sys: what sysctl(8) reads and writes.

use std::fmt::Write;

use super::{check_admin, decimal};
use crate::fs::generated::{Fixed, constant, directory, file, parse_number};
use crate::kernel::{RELEASE, VERSION};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROOT: &[Fixed] = &[
    directory!("fs", FS),
    directory!("kernel", KERNEL),
    directory!("net", super::net::SYSCTL),
    directory!("user", USER),
    directory!("vm", VM),
];

const FS: &[Fixed] = &[
    constant!("aio-max-nr", "65536\n"),
    constant!("aio-nr", "0\n"),
    file!("file-max", file_max),
    file!("file-nr", file_nr),
    directory!("inotify", INOTIFY),
    constant!("nr_open", "1048576\n"),
    constant!("overflowgid", "65534\n"),
    constant!("overflowuid", "65534\n"),
    constant!("pipe-max-size", "1048576\n"),
    constant!("pipe-user-pages-hard", "0\n"),
    constant!("pipe-user-pages-soft", "16384\n"),
    constant!("protected_hardlinks", "0\n"),
    constant!("protected_symlinks", "0\n"),
    constant!("suid_dumpable", "0\n"),
];

const INOTIFY: &[Fixed] = &[
    constant!("max_queued_events", "16384\n"),
    constant!("max_user_instances", "128\n"),
    constant!("max_user_watches", "65536\n"),
];

const KERNEL: &[Fixed] = &[
    constant!("cap_last_cap", "40\n"),
    constant!("core_pattern", "core\n"),
    constant!("core_uses_pid", "0\n"),
    file!("domainname", domainname, set_domainname),
    file!("hostname", hostname, set_hostname),
    constant!("msgmax", "8192\n"),
    constant!("msgmnb", "16384\n"),
    constant!("msgmni", "32000\n"),
    constant!("ngroups_max", "65536\n"),
    constant!("osrelease", format!("{RELEASE}\n")),
    constant!("ostype", "Linux\n"),
    constant!("overflowgid", "65534\n"),
    constant!("overflowuid", "65534\n"),
    constant!("panic", "0\n"),
    file!("pid_max", pid_max, set_pid_max),
    constant!("printk", "4\t4\t1\t7\n"),
    directory!("random", RANDOM),
    constant!("randomize_va_space", "2\n"),
    constant!("sem", "32000\t1024000000\t500\t32000\n"),
    constant!("shmall", "4294967295\n"),
    constant!("shmmax", "4294967295\n"),
    constant!("shmmni", "4096\n"),
    constant!("tainted", "0\n"),
    file!("threads-max", threads_max),
    constant!("version", format!("{VERSION}\n")),
    directory!("yama", YAMA),
];

const YAMA: &[Fixed] = &[constant!("ptrace_scope", "0\n")];

const RANDOM: &[Fixed] = &[
    file!("boot_id", boot_id),
    constant!("entropy_avail", "256\n"),
    constant!("poolsize", "256\n"),
    file!("uuid", uuid),
];

const VM: &[Fixed] = &[
    constant!("max_map_count", "65530\n"),
    constant!("min_free_kbytes", "1024\n"),
    constant!("mmap_min_addr", "65536\n"),
    constant!("overcommit_memory", "0\n"),
    constant!("overcommit_ratio", "50\n"),
    constant!("panic_on_oom", "0\n"),
    constant!("swappiness", "60\n"),
];

/// How many namespaces a user may have; none of the kinds that there are not.
const USER: &[Fixed] = &[
    file!("max_cgroup_namespaces", max_namespaces),
    constant!("max_inotify_instances", "128\n"),
    constant!("max_inotify_watches", "65536\n"),
    constant!("max_ipc_namespaces", "0\n"),
    file!("max_mnt_namespaces", max_namespaces),
    constant!("max_net_namespaces", "0\n"),
    constant!("max_pid_namespaces", "0\n"),
    constant!("max_time_namespaces", "0\n"),
    file!("max_user_namespaces", max_namespaces),
    file!("max_uts_namespaces", max_namespaces),
];

fn file_max(cx: &SyscallCx) -> Result<Vec<u8>> {
    // A tenth of memory, at 1 KiB a file, as Linux computes it.
    Ok(format!("{}\n", u64::from(cx.kernel.memory.stats().total) * 4 / 10).into_bytes())
}

fn file_nr(cx: &SyscallCx) -> Result<Vec<u8>> {
    let max = u64::from(cx.kernel.memory.stats().total) * 4 / 10;
    Ok(format!("{}\t0\t{max}\n", cx.kernel.vfs.open_files()).into_bytes())
}

fn line(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.push(b'\n');
    out
}

fn first_line(data: &[u8]) -> Result<Vec<u8>> {
    let line = data.split(|byte| *byte == b'\n' || *byte == 0).next().unwrap_or_default();
    if line.len() > 64 { Err(Errno::EINVAL) } else { Ok(line.to_vec()) }
}

fn hostname(cx: &SyscallCx) -> Result<Vec<u8>> {
    Ok(cx.with_uts(|uts| line(&uts.nodename)))
}

fn set_hostname(cx: &SyscallCx, data: &[u8]) -> Result<()> {
    check_admin(cx)?;
    let name = first_line(data)?;
    cx.with_uts(|uts| uts.nodename = name);
    Ok(())
}

fn domainname(cx: &SyscallCx) -> Result<Vec<u8>> {
    Ok(cx.with_uts(|uts| line(&uts.domainname)))
}

fn set_domainname(cx: &SyscallCx, data: &[u8]) -> Result<()> {
    check_admin(cx)?;
    let name = first_line(data)?;
    cx.with_uts(|uts| uts.domainname = name);
    Ok(())
}

fn pid_max(cx: &SyscallCx) -> Result<Vec<u8>> {
    Ok(line(&decimal(cx.kernel.processes.pid_max.get())))
}

fn set_pid_max(cx: &SyscallCx, data: &[u8]) -> Result<()> {
    check_admin(cx)?;
    let max: i32 = parse_number(data)?;
    if !(301..=4_194_304).contains(&max) {
        return Err(Errno::EINVAL);
    }
    cx.kernel.processes.pid_max.set(max);
    Ok(())
}

/// Half as many as threads, as Linux sets it.
fn max_namespaces(cx: &SyscallCx) -> Result<Vec<u8>> {
    Ok(line(&decimal(cx.kernel.processes.max_tasks / 2)))
}

fn threads_max(cx: &SyscallCx) -> Result<Vec<u8>> {
    Ok(line(&decimal(cx.kernel.processes.max_tasks)))
}

fn format_uuid(mut bytes: [u8; 16]) -> Vec<u8> {
    // Version 4, variant 1 (RFC 9562).
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut out = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
    out.push('\n');
    out.into_bytes()
}

fn uuid(cx: &SyscallCx) -> Result<Vec<u8>> {
    let mut bytes = [0; 16];
    cx.kernel.host.entropy.fill(&mut bytes);
    Ok(format_uuid(bytes))
}

fn boot_id(cx: &SyscallCx) -> Result<Vec<u8>> {
    let make = || {
        let mut bytes = [0; 16];
        cx.kernel.host.entropy.fill(&mut bytes);
        bytes
    };
    Ok(format_uuid(*cx.kernel.vfs.boot_id.get_or_init(make)))
}

#[cfg(test)]
mod tests {
    use super::format_uuid;

    #[test]
    fn uuids_are_of_version_4() {
        assert_eq!(format_uuid([0xff; 16]), b"ffffffff-ffff-4fff-bfff-ffffffffffff\n");
    }
}
