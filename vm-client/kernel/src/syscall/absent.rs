//! Calls whose answer does not depend on what this kernel has: a kernel without the option, or a processor without the feature,
//! answers the same.

use super::table::{Args, Row, now};
use crate::task::cap;
use crate::{Errno, Result, SyscallCx};

/// The calls of this topic.
pub(crate) const ROWS: &[Row] = &[
    now!(51, "acct", privileged, "no accounting: EPERM or ENOSYS"),
    now!(87, "swapon", privileged, "no swap: EPERM or ENOSYS"),
    now!(115, "swapoff", privileged, "no swap: EPERM or ENOSYS"),
    now!(128, "init_module", module, "no modules: EPERM or ENOSYS"),
    now!(129, "delete_module", module, "no modules: EPERM or ENOSYS"),
    now!(350, "finit_module", module, "no modules: EPERM or ENOSYS"),
    now!(283, "kexec_load", privileged, "EPERM or ENOSYS"),
    now!(336, "perf_event_open", perf_event_open, "no counters: ENOENT"),
    now!(338, "fanotify_init", privileged, "EPERM or ENOSYS"),
    now!(341, "name_to_handle_at", name_to_handle_at, "no file handles: EOPNOTSUPP"),
    now!(357, "bpf", privileged, "EPERM or ENOSYS"),
    now!(374, "userfaultfd", privileged, "EPERM or ENOSYS"),
    now!(380, "pkey_mprotect", pkey_mprotect, "no protection keys"),
    now!(381, "pkey_alloc", pkey_alloc, "no protection keys"),
    now!(382, "pkey_free", pkey_free, "no protection keys"),
    now!(384, "arch_prctl", arch_prctl, "EINVAL, as on processors without CPUID faulting"),
];

/// What only the superuser may do, and nobody can.
fn privileged(cx: &SyscallCx, _: Args) -> Result<i64> {
    if cx.creds().capable(cap::SYS_ADMIN) { Err(Errno::ENOSYS) } else { Err(Errno::EPERM) }
}

fn module(cx: &SyscallCx, _: Args) -> Result<i64> {
    const SYS_MODULE: u32 = 16;
    if cx.creds().capable(SYS_MODULE) { Err(Errno::ENOSYS) } else { Err(Errno::EPERM) }
}

fn perf_event_open(_: &SyscallCx, _: Args) -> Result<i64> {
    Err(Errno::ENOENT)
}

fn name_to_handle_at(_: &SyscallCx, _: Args) -> Result<i64> {
    Err(Errno::EOPNOTSUPP)
}

/// mprotect(2) for who names no key.
fn pkey_mprotect(cx: &SyscallCx, [addr, len, prot, key, ..]: Args) -> Result<i64> {
    if key as i32 != -1 {
        return Err(Errno::EINVAL);
    }
    cx.mm().mprotect(addr, len, prot as u32).map(|()| 0)
}

fn pkey_alloc(_: &SyscallCx, [flags, rights, ..]: Args) -> Result<i64> {
    Err(if flags != 0 || rights & !3 != 0 { Errno::EINVAL } else { Errno::ENOSPC })
}

fn pkey_free(_: &SyscallCx, _: Args) -> Result<i64> {
    Err(Errno::EINVAL)
}

fn arch_prctl(_: &SyscallCx, _: Args) -> Result<i64> {
    Err(Errno::EINVAL)
}
