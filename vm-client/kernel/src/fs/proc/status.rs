//! State of a process as text.

use std::fmt::Write;
use std::rc::Rc;

use linux_abi::signal::{SigSet, Signal};

use super::check_inspect;
use super::machine::ticks;
use crate::namespace::IdKind;
use crate::signal::Handler;
use crate::task::{RLIM_INFINITY, Task, TaskState};
use crate::{Errno, Result, SyscallCx};

/// A field of a process's memory; zero once it has none.
fn pages(task: &Task) -> (u64, u64, u64) {
    task.mm().map_or((0, 0, 0), |mm| {
        let (resident, peak) = mm.resident_pages();
        (mm.virtual_size(), u64::from(resident), u64::from(peak))
    })
}

/// Ignored and caught signals.
fn actions(task: &Task) -> (SigSet, SigSet) {
    let sighand = Rc::clone(&task.group.sighand.borrow());
    let (mut ignored, mut caught) = (SigSet::default(), SigSet::default());
    for signal in (1..=64).filter_map(Signal::new) {
        match sighand.get(signal).handler {
            Handler::Default => {}
            Handler::Ignore => ignored.insert(signal),
            _ => caught.insert(signal),
        }
    }
    (ignored, caught)
}

pub(super) fn stat(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    let group = &task.group;
    let may_inspect = check_inspect(cx, task).is_ok();
    let session = Rc::clone(&group.session.borrow());
    let (tty, foreground) = session.tty().map_or((0, -1), |tty| (tty.name().rdev() as u32 as i32, tty.foreground()));
    let usage = if task.is_leader() { group.usage() } else { task.usage.get() };
    let children = group.children_usage();
    let (size, resident, _) = pages(task);
    let layout = task.mm().map(|mm| mm.layout()).unwrap_or_default();
    let (ignored, caught) = actions(task);
    let addr = |value: u64| if may_inspect { value } else { 0 };
    let (esp, eip) = match task.cpu.try_borrow() {
        Ok(cpu) if may_inspect => stack_and_code(&cpu),
        _ => (0, 0),
    };
    let nice = task.nice.get();
    let exit_signal = group.exit_signal.get().map_or(0, |signal| signal.number());
    let limit = group.rlimits.borrow().soft(crate::task::Resource::Rss);
    let low = |set: SigSet| set.0 & 0x7fff_ffff;
    let mut out = format!("{} (", task.tid()).into_bytes();
    out.extend_from_slice(&task.comm.borrow());
    let mut rest = String::new();
    let _ = write!(
        rest,
        ") {} {} {} {} {tty} {foreground} 4194304 {} {} {} {} {} {} {} {} {} {nice} {} 0 {} {size} {resident} {limit}",
        task.state.get().letter(),
        group.ppid(),
        group.pgrp.get(),
        session.sid,
        usage.minor_faults,
        children.minor_faults,
        usage.major_faults,
        children.major_faults,
        ticks(usage.user),
        ticks(usage.system),
        ticks(children.user),
        ticks(children.system),
        20 + nice,
        group.threads.borrow().len().max(1),
        ticks(task.started),
    );
    let _ = writeln!(
        rest,
        " {} {} {} {esp} {eip} {} {} {} {} {} 0 0 {exit_signal} 0 0 0 0 0 0 {} {} {} {} {} {} {} {}",
        addr(layout.start_code),
        addr(layout.end_code),
        addr(layout.start_stack),
        low(task.pending.borrow().set()),
        low(task.blocked.get()),
        low(ignored),
        low(caught),
        i32::from(task.state.get() != TaskState::Running),
        addr(layout.start_data),
        addr(layout.end_data),
        addr(layout.start_brk),
        addr(layout.arg_start),
        addr(layout.arg_end),
        addr(layout.env_start),
        addr(layout.env_end),
        0,
    );
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

fn stack_and_code(cpu: &vm_cpu::Cpu) -> (u64, u64) {
    (cpu.gpr[4], cpu.rip)
}

pub(super) fn statm(_: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    let (size, resident, _) = pages(task);
    let layout = task.mm().map(|mm| mm.layout()).unwrap_or_default();
    let text = (layout.end_code.saturating_sub(layout.start_code)).div_ceil(4096);
    let shared = task.mm().map_or(0, |mm| {
        mm.areas()
            .iter()
            .map(|area| {
                let (present, own) = mm.resident_in(area);
                present - own.min(present)
            })
            .sum::<u64>()
    });
    let data = size / 4096 - text.min(size / 4096);
    Ok(format!("{} {resident} {shared} {text} 0 {data} 0\n", size / 4096).into_bytes())
}

pub(super) fn comm(task: &Task) -> Result<Vec<u8>> {
    let mut name = task.comm.borrow().clone();
    name.push(b'\n');
    Ok(name)
}

pub(super) fn status(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    let group = &task.group;
    let creds = task.credentials();
    let (ignored, caught) = actions(task);
    let (size, resident, peak) = pages(task);
    let layout = task.mm().map(|mm| mm.layout()).unwrap_or_default();
    let usage = task.usage.get();
    let mut out = String::new();
    // A name can hold any byte; tools want one line.
    let name = task.comm_text().replace('\\', "\\\\").replace('\n', "\\n");
    let _ = writeln!(out, "Name:\t{name}\nUmask:\t{:04o}", task.fs_context().umask());
    let tracer = task.trace.tracer().map_or(0, |tracer| tracer.tid());
    let state = task.state.get();
    let _ = writeln!(out, "State:\t{} ({})", state.letter(), state.word());
    let _ = writeln!(
        out,
        "Tgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t{tracer}",
        group.pid,
        task.tid(),
        group.ppid()
    );
    let ids = [
        ("Uid", IdKind::User, [creds.uid, creds.euid, creds.suid, creds.fsuid]),
        ("Gid", IdKind::Group, [creds.gid, creds.egid, creds.sgid, creds.fsgid]),
    ];
    let reader = &cx.creds().user_ns;
    for (label, kind, ids) in ids {
        let [real, effective, saved, fs] = ids.map(|id| reader.shown(kind, id));
        let _ = writeln!(out, "{label}:\t{real}\t{effective}\t{saved}\t{fs}");
    }
    let _ = writeln!(out, "FDSize:\t{}", task.fd_table().capacity());
    let groups: String = creds.groups.iter().map(|gid| format!("{} ", reader.shown(IdKind::Group, *gid))).collect();
    let _ = writeln!(out, "Groups:\t{groups}");
    let session = group.session.borrow().sid;
    let _ = writeln!(
        out,
        "NStgid:\t{}\nNSpid:\t{}\nNSpgid:\t{}\nNSsid:\t{session}",
        group.pid,
        task.tid(),
        group.pgrp.get()
    );
    if let Some(mm) = task.mm() {
        let stack: u64 = mm.areas().iter().filter(|area| area.flags.grows_down).map(|area| area.len() / 1024).sum();
        let text = layout.end_code.saturating_sub(layout.start_code).div_ceil(1024);
        let data = layout.brk.saturating_sub(layout.start_data) / 1024;
        let rows = [
            ("VmPeak", size / 1024),
            ("VmSize", size / 1024),
            ("VmLck", 0),
            ("VmPin", 0),
            ("VmHWM", peak * 4),
            ("VmRSS", resident * 4),
            ("RssAnon", resident * 4),
            ("RssFile", 0),
            ("RssShmem", 0),
            ("VmData", data),
            ("VmStk", stack),
            ("VmExe", text),
            ("VmLib", 0),
            ("VmPTE", 0),
            ("VmSwap", 0),
        ];
        for (label, value) in rows {
            let _ = writeln!(out, "{label}:\t{value:>8} kB");
        }
        let _ = writeln!(out, "CoreDumping:\t0\nTHP_enabled:\t0");
    }
    let shared = group.shared_pending.borrow();
    let queued = task.pending.borrow().len() + shared.len();
    let limit = group.rlimits.borrow().soft(crate::task::Resource::Sigpending);
    let _ = writeln!(out, "Threads:\t{}\nSigQ:\t{queued}/{limit}", group.threads.borrow().len().max(1));
    let sets = [
        ("SigPnd", task.pending.borrow().set().0),
        ("ShdPnd", shared.set().0),
        ("SigBlk", task.blocked.get().0),
        ("SigIgn", ignored.0),
        ("SigCgt", caught.0),
        ("CapInh", creds.cap_inheritable),
        ("CapPrm", creds.cap_permitted),
        ("CapEff", creds.cap_effective),
        ("CapBnd", creds.cap_bounding),
        ("CapAmb", creds.cap_ambient),
    ];
    for (label, set) in sets {
        let _ = writeln!(out, "{label}:\t{set:016x}");
    }
    let _ = writeln!(
        out,
        "NoNewPrivs:\t{}\nSeccomp:\t{}\nSeccomp_filters:\t{}\nSpeculation_Store_Bypass:\tvulnerable\n\
         Cpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t1\nMems_allowed_list:\t0",
        u8::from(task.no_new_privs.get()),
        task.seccomp.borrow().as_ref().map_or(0, |seccomp| seccomp.mode()),
        task.seccomp.borrow().as_ref().map_or(0, |seccomp| seccomp.filters()),
    );
    let _ = writeln!(
        out,
        "voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}",
        usage.voluntary_switches, usage.involuntary_switches
    );
    Ok(out.into_bytes())
}

pub(super) fn limits(_: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    const NAMES: [(&str, &str); 16] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    let show = |value: u64| if value == RLIM_INFINITY { "unlimited".to_owned() } else { value.to_string() };
    let mut out = format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let limits = task.group.rlimits.borrow();
    for ((name, unit), limit) in NAMES.iter().zip(limits.iter()) {
        let _ = writeln!(out, "{name:<25} {:<20} {:<20} {unit:<10}", show(limit.soft), show(limit.hard));
    }
    Ok(out.into_bytes())
}

pub(super) fn io(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    check_inspect(cx, task)?;
    let names = ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"];
    Ok(names.iter().map(|name| format!("{name}: 0\n")).collect::<String>().into_bytes())
}

pub(super) fn oom_score(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    let (_, resident, _) = pages(task);
    let total = u64::from(cx.kernel.memory.stats().total).max(1);
    // Linux's scale: a thousandth of memory is one point, two thirds of which show.
    let points = (resident * 1000 / total) as i64 + i64::from(task.group.oom_score_adj.get());
    Ok(format!("{}\n", (1000 + points).max(0) * 2 / 3).into_bytes())
}

pub(super) fn personality(_: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    Ok(format!("{:08x}\n", task.personality.get()).into_bytes())
}

pub(super) fn schedstat(_: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    let usage = task.usage.get();
    let time = (usage.user + usage.system).as_nanos();
    Ok(format!("{time} 0 {}\n", usage.voluntary_switches + usage.involuntary_switches).into_bytes())
}

pub(super) fn syscall(cx: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    check_inspect(cx, task)?;
    let cpu = task.cpu.try_borrow().map_err(|_| Errno::EAGAIN)?;
    let (sp, pc) = stack_and_code(&cpu);
    let Some(number) = task.in_syscall.get() else { return Ok(b"running\n".to_vec()) };
    let [_, cx, dx, bx, _, bp, si, di, ..] = cpu.gpr;
    let args = [bx, cx, dx, si, di, bp].map(|value| format!("{value:#x} ")).concat();
    Ok(format!("{number} {args}{sp:#x} {pc:#x}\n").into_bytes())
}

pub(super) fn wchan(_: &SyscallCx, task: &Task) -> Result<Vec<u8>> {
    let waiting = matches!(task.state.get(), TaskState::Sleeping | TaskState::DiskSleep);
    let call = task.in_syscall.get().filter(|_| waiting).and_then(linux_abi::nr::i386::name);
    Ok(call.map_or_else(|| b"0".to_vec(), |name| format!("do_{name}").into_bytes()))
}
