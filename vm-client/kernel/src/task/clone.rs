//! New tasks and processes (clone(2), fork(2), vfork(2)).

use std::rc::Rc;

use linux_abi::signal::Signal;
use vm_cpu::reg;
use vm_mem::VirtAddr;

use super::{Pid, Resource, Task, TaskParts, ThreadGroup, VforkWait, cap};
use crate::namespace;
use crate::ptrace::{attach, event, registers, stop};
use crate::signal::AltStack;
use crate::syscall::thread_area;
use crate::{Errno, Result, SyscallCx};

/// Flags of clone(2).
pub mod flags {
    pub const VM: u64 = 0x100;
    pub const FS: u64 = 0x200;
    pub const FILES: u64 = 0x400;
    pub const SIGHAND: u64 = 0x800;
    pub const PIDFD: u64 = 0x1000;
    pub const PTRACE: u64 = 0x2000;
    pub const VFORK: u64 = 0x4000;
    pub const PARENT: u64 = 0x8000;
    pub const THREAD: u64 = 0x1_0000;
    pub const NEWNS: u64 = 0x2_0000;
    pub const SYSVSEM: u64 = 0x4_0000;
    pub const SETTLS: u64 = 0x8_0000;
    pub const PARENT_SETTID: u64 = 0x10_0000;
    pub const CHILD_CLEARTID: u64 = 0x20_0000;
    pub const UNTRACED: u64 = 0x80_0000;
    pub const CHILD_SETTID: u64 = 0x100_0000;
    pub const NEWCGROUP: u64 = 0x200_0000;
    pub const NEWUTS: u64 = 0x400_0000;
    pub const NEWIPC: u64 = 0x800_0000;
    pub const NEWUSER: u64 = 0x1000_0000;
    pub const NEWPID: u64 = 0x2000_0000;
    pub const NEWNET: u64 = 0x4000_0000;
    pub const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    pub const INTO_CGROUP: u64 = 0x2_0000_0000;
    /// Everything that asks for a namespace of its own.
    pub const NAMESPACES: u64 = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET;
}

/// What clone(2) and clone3(2) are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    /// Sent to the parent at the end; 0 for none.
    pub(crate) exit_signal: u32,
    /// Initial stack pointer; 0 for the parent's.
    pub(crate) stack: u64,
    pub(crate) parent_tid: u64,
    pub(crate) child_tid: u64,
    /// Address of a `user_desc` on i386.
    pub(crate) tls: u64,
    /// The number the child is to have (`set_tid` of clone3(2)); 0 for any.
    pub(crate) wanted_tid: Pid,
    /// Where the descriptor of the child is written (CLONE_PIDFD).
    pub(crate) pidfd: u64,
}

/// Makes a task that goes on behind the system call with 0 in eax, and returns its number.
pub(crate) async fn clone(cx: &SyscallCx, args: CloneArgs) -> Result<Pid> {
    let has = |flag| args.flags & flag != 0;
    check(cx, &args)?;
    let unshared = namespace::unshare(cx, args.flags)?;
    let descriptor = if has(flags::SETTLS) { Some(thread_area::read(cx, args.tls).await?) } else { None };

    let kernel = &cx.kernel;
    let parent = &cx.task;
    let tid = kernel.processes.allocate()?;
    let mm = if has(flags::VM) { cx.mm() } else { cx.mm().fork()? };
    let files = if has(flags::FILES) { cx.files() } else { cx.files().fork() };
    let fs = if has(flags::FS) { cx.fs() } else { Rc::new((*cx.fs()).clone()) };
    unshared.enter(&fs);

    let mut cpu = parent.cpu.borrow().clone();
    cpu.gpr[reg::RAX] = 0;
    cpu.retired = 0;
    if !has(flags::VM) {
        cpu.ldt = cpu.ldt.as_ref().map(vm_cpu::Ldt::duplicate);
    }
    // Watchpoints and single steps are the parent's.
    cpu.debug = vm_cpu::DebugRegisters::default();
    if parent.trace.forced_step.get() {
        cpu.eflags &= !registers::FLAG_TF;
    }
    if args.stack != 0 {
        cpu.gpr[reg::RSP] = args.stack;
    }
    if let Some(descriptor) = descriptor {
        thread_area::set_for_child(&mut cpu, descriptor)?;
    }

    let started = kernel.now_monotonic();
    let group = if has(flags::THREAD) { Rc::clone(&parent.group) } else { new_group(cx, &args, tid) };
    let task = Rc::new(Task::new(TaskParts {
        tid,
        group: Rc::clone(&group),
        cpu,
        mm: Some(Rc::clone(&mm)),
        creds: unshared.creds,
        files,
        fs,
        comm: parent.comm.borrow().clone(),
        started,
    }));
    *task.namespaces.borrow_mut() = unshared.namespaces;
    task.blocked.set(parent.blocked.get());
    task.orig_ax.set(parent.orig_ax.get());
    task.nice.set(parent.nice.get());
    task.personality.set(parent.personality.get());
    task.seccomp.borrow_mut().clone_from(&parent.seccomp.borrow());
    task.no_new_privs.set(parent.no_new_privs.get());
    task.keep_caps.set(parent.keep_caps.get());
    task.timer_slack.set(parent.timer_slack.get());
    // A thread on its parent's memory must not run handlers on its parent's stack.
    if !has(flags::VM) || has(flags::VFORK) {
        task.altstack.set(parent.altstack.get());
    } else {
        task.altstack.set(AltStack::default());
    }
    if has(flags::CHILD_CLEARTID) {
        task.clear_child_tid.set(args.child_tid);
    }
    if has(flags::PARENT_SETTID) {
        // Linux ignores the failure too: the child exists already.
        let _ = cx.write_u32(args.parent_tid, tid as u32).await;
    }
    if has(flags::CHILD_SETTID) {
        let _ = mm.write(VirtAddr(args.child_tid), &tid.to_le_bytes()).await;
    }
    let pidfd = if has(flags::PIDFD) {
        let fd = crate::syscall::pidfd::open(cx, &group, 0)?;
        if let Err(errno) = cx.write_u32(args.pidfd, fd as u32).await {
            drop(cx.files().remove(fd as i32));
            return Err(errno);
        }
        Some(fd as i32)
    } else {
        None
    };
    // While memory was written the process may have been told to end.
    if parent.fatal_signal_pending() {
        if let Some(fd) = pidfd {
            drop(cx.files().remove(fd));
        }
        return Err(Errno::ERESTARTNOINTR);
    }

    let suspended = has(flags::VFORK).then(|| Rc::new(VforkWait::default()));
    *task.vfork_parent.borrow_mut() = suspended.clone();
    group.threads.borrow_mut().push(Rc::clone(&task));
    kernel.processes.insert_task(Rc::clone(&task));
    if !has(flags::THREAD) {
        *group.leader.borrow_mut() = Rc::downgrade(&task);
        if let Some(father) = group.parent() {
            father.children.borrow_mut().push(Rc::clone(&group));
        }
        kernel.processes.insert_group(Rc::clone(&group));
    }
    let traced = Some(event_of(&args)).filter(|event| parent.trace.has(1 << event) && !has(flags::UNTRACED));
    if traced.is_some() || has(flags::PTRACE) {
        attach::inherit(parent, &task);
    }
    kernel.launch(&task);
    if let Some(event) = traced {
        stop::event(cx, event, tid as u32).await;
    }

    if let Some(suspended) = suspended {
        while !suspended.done.get() {
            let changed = suspended.queue.wait();
            // Killed: the child goes on alone.
            if parent.killable(changed).await.is_err() {
                break;
            }
        }
    }
    if has(flags::VFORK) && !has(flags::UNTRACED) {
        stop::event(cx, event::VFORK_DONE, tid as u32).await;
    }
    Ok(tid)
}

/// Which event tells a tracer of the new task.
fn event_of(args: &CloneArgs) -> u32 {
    if args.flags & flags::VFORK != 0 {
        event::VFORK
    } else if args.exit_signal != Signal::CHLD.number() {
        event::CLONE
    } else {
        event::FORK
    }
}

fn check(cx: &SyscallCx, args: &CloneArgs) -> Result<()> {
    let has = |flag| args.flags & flag != 0;
    if has(flags::THREAD) && !has(flags::SIGHAND) || has(flags::SIGHAND) && !has(flags::VM) {
        return Err(Errno::EINVAL);
    }
    if has(flags::SIGHAND) && has(flags::CLEAR_SIGHAND) {
        return Err(Errno::EINVAL);
    }
    if (has(flags::NEWNS) || has(flags::NEWUSER)) && has(flags::FS) || has(flags::NEWUSER) && has(flags::THREAD) {
        return Err(Errno::EINVAL);
    }
    // A child of init would be reaped by nobody but the host.
    if has(flags::PARENT) && cx.task.group.unkillable.get() {
        return Err(Errno::EINVAL);
    }
    if has(flags::PIDFD) && has(flags::THREAD) || has(flags::INTO_CGROUP) || args.wanted_tid != 0 {
        return Err(Errno::EINVAL);
    }
    let creds = cx.creds();
    if !creds.capable(cap::SYS_RESOURCE) && !creds.capable(cap::SYS_ADMIN) && creds.uid != 0 {
        let limit = cx.task.group.rlimits.borrow().soft(Resource::Nproc);
        let mine = cx.kernel.processes.tasks().iter().filter(|task| task.creds.borrow().uid == creds.uid).count();
        if mine as u64 >= limit {
            return Err(Errno::EAGAIN);
        }
    }
    Ok(())
}

fn new_group(cx: &SyscallCx, args: &CloneArgs, pid: Pid) -> Rc<ThreadGroup> {
    let has = |flag| args.flags & flag != 0;
    let old = &cx.task.group;
    let sighand = if has(flags::SIGHAND) {
        Rc::clone(&old.sighand.borrow())
    } else {
        let copy = old.sighand.borrow().duplicate();
        if has(flags::CLEAR_SIGHAND) {
            copy.reset_for_exec();
        }
        Rc::new(copy)
    };
    let parent = if has(flags::PARENT) { old.parent.borrow().clone() } else { Rc::downgrade(old) };
    let group = Rc::new(ThreadGroup::new(
        pid,
        parent,
        old.pgrp.get(),
        Rc::clone(&old.session.borrow()),
        sighand,
        old.rlimits.borrow().clone(),
        cx.kernel.now_monotonic(),
    ));
    *group.exe.borrow_mut() = old.exe.borrow().clone();
    group.dumpable.set(old.dumpable.get());
    group.oom_score_adj.set(old.oom_score_adj.get());
    let signal = if has(flags::PARENT) { old.exit_signal.get() } else { Signal::new(args.exit_signal) };
    group.exit_signal.set(signal);
    group
}
