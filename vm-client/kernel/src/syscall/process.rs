//! clone(2), fork(2), execve(2), exit(2), wait4(2) and their relatives.

use linux_abi::fcntl::AT_FDCWD;
use linux_abi::siginfo::{SigFields, SigInfo};
use linux_abi::signal::Signal;

use super::table::{Args, Row, now, wait};
use crate::task::clone::{CloneArgs, clone, flags};
use crate::task::exec::{self, ExecPath};
use crate::task::wait::{Waited, Which, options, wait as wait_for};
use crate::task::{Rusage, WaitStatus};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    now!(1, "exit", exit),
    wait!(2, "fork", fork),
    wait!(7, "waitpid", waitpid),
    wait!(11, "execve", execve),
    wait!(114, "wait4", wait4),
    wait!(120, "clone", sys_clone, "no namespaces"),
    wait!(190, "vfork", vfork),
    now!(252, "exit_group", exit_group),
    wait!(284, "waitid", waitid),
    wait!(358, "execveat", execveat),
    wait!(435, "clone3", clone3, "no namespaces, cgroup or chosen tid"),
];

fn exit(cx: &SyscallCx, args: Args) -> Result<i64> {
    cx.task.exit_code.set(args[0] as u8);
    cx.task.dying.set(true);
    Ok(0)
}

fn exit_group(cx: &SyscallCx, args: Args) -> Result<i64> {
    cx.kernel.begin_group_exit(&cx.task.group, WaitStatus::Exited(args[0] as u8));
    Ok(0)
}

async fn fork(cx: &SyscallCx, _: Args) -> Result<i64> {
    let args = CloneArgs { exit_signal: Signal::CHLD.number(), ..CloneArgs::default() };
    clone(cx, args).await.map(i64::from)
}

async fn vfork(cx: &SyscallCx, _: Args) -> Result<i64> {
    let flags = flags::VFORK | flags::VM;
    let args = CloneArgs { flags, exit_signal: Signal::CHLD.number(), ..CloneArgs::default() };
    clone(cx, args).await.map(i64::from)
}

/// The argument order of i386: flags, stack, parent_tid, tls, child_tid.
async fn sys_clone(cx: &SyscallCx, [word, stack, parent_tid, tls, child_tid, _]: Args) -> Result<i64> {
    let args = CloneArgs {
        flags: word & !0xff,
        exit_signal: word as u32 & 0xff,
        stack,
        parent_tid,
        child_tid,
        tls,
        wanted_tid: 0,
        // The older call has one place for both.
        pidfd: parent_tid,
    };
    if args.flags & flags::PIDFD != 0 && args.flags & flags::PARENT_SETTID != 0 {
        return Err(Errno::EINVAL);
    }
    clone(cx, args).await.map(i64::from)
}

async fn clone3(cx: &SyscallCx, [at, size, ..]: Args) -> Result<i64> {
    if !(64..=4096).contains(&size) {
        return Err(if size > 4096 { Errno::E2BIG } else { Errno::EINVAL });
    }
    let mut raw = [0; 88];
    let known = raw.len().min(size as usize);
    cx.read_user(at, &mut raw[..known]).await?;
    // Fields of a newer Linux must not ask for anything.
    let mut more = vec![0; size as usize - known];
    cx.read_user(at + known as u64, &mut more).await?;
    if more.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let field = |index: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&raw[8 * index..8 * index + 8]);
        u64::from_le_bytes(bytes)
    };
    let [word, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size] =
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(field);
    if exit_signal > 64 || word & 0xff != 0 {
        return Err(Errno::EINVAL);
    }
    if word & (flags::THREAD | flags::PARENT) != 0 && exit_signal != 0 {
        return Err(Errno::EINVAL);
    }
    if (stack == 0) != (stack_size == 0) {
        return Err(Errno::EINVAL);
    }
    if set_tid != 0 || set_tid_size != 0 {
        return Err(Errno::EINVAL);
    }
    let args = CloneArgs {
        flags: word,
        exit_signal: exit_signal as u32,
        stack: if stack == 0 { 0 } else { stack.wrapping_add(stack_size) & 0xffff_ffff },
        parent_tid,
        child_tid,
        tls,
        wanted_tid: 0,
        pidfd,
    };
    clone(cx, args).await.map(i64::from)
}

async fn execve(cx: &SyscallCx, [path, argv, envp, ..]: Args) -> Result<i64> {
    let name = cx.read_path(path).await?;
    exec::execve(cx, ExecPath { at: AT_FDCWD, name, flags: 0 }, argv, envp).await?;
    Ok(0)
}

async fn execveat(cx: &SyscallCx, [dir, path, argv, envp, flags, _]: Args) -> Result<i64> {
    let name = cx.read_path(path).await?;
    exec::execve(cx, ExecPath { at: dir as i32, name, flags: flags as u32 }, argv, envp).await?;
    Ok(0)
}

async fn waitpid(cx: &SyscallCx, [pid, status, flags, ..]: Args) -> Result<i64> {
    wait4(cx, [pid, status, flags, 0, 0, 0]).await
}

async fn wait4(cx: &SyscallCx, [pid, status, flags, usage, ..]: Args) -> Result<i64> {
    let flags = flags as u32;
    let known = options::WNOHANG
        | options::WSTOPPED
        | options::WCONTINUED
        | options::WNOTHREAD
        | options::WCLONE
        | options::WALL;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let which = match pid as i32 {
        -1 => Which::Any,
        0 => Which::Pgrp(cx.task.group.pgrp.get()),
        i32::MIN => return Err(Errno::ESRCH),
        pid if pid < 0 => Which::Pgrp(-pid),
        pid => Which::Pid(pid),
    };
    let Some(found) = wait_for(cx, which, flags | options::WEXITED).await? else { return Ok(0) };
    if status != 0 {
        cx.write_u32(status, found.status.encode()).await?;
    }
    if usage != 0 {
        cx.write_user(usage, &encode_rusage(&found.usage)).await?;
    }
    Ok(i64::from(found.pid))
}

async fn waitid(cx: &SyscallCx, [kind, id, info, flags, usage, _]: Args) -> Result<i64> {
    const P_ALL: u64 = 0;
    const P_PID: u64 = 1;
    const P_PGID: u64 = 2;
    const P_PIDFD: u64 = 3;
    let flags = flags as u32;
    let states = options::WEXITED | options::WSTOPPED | options::WCONTINUED;
    let known = states | options::WNOHANG | options::WNOWAIT | options::WNOTHREAD | options::WCLONE | options::WALL;
    if flags & !known != 0 || flags & states == 0 {
        return Err(Errno::EINVAL);
    }
    let asked = flags;
    let mut flags = flags;
    let which = match (kind, id as i32) {
        (P_ALL, _) => Which::Any,
        (P_PIDFD, fd) if fd >= 0 => {
            let nonblock = cx.files().get(fd)?.nonblock();
            if nonblock {
                flags |= options::WNOHANG;
            }
            Which::Pid(super::pidfd::process(cx, id)?.pid)
        }
        (P_PID, pid) if pid > 0 => Which::Pid(pid),
        (P_PGID, 0) => Which::Pgrp(cx.task.group.pgrp.get()),
        (P_PGID, pgrp) if pgrp > 0 => Which::Pgrp(pgrp),
        _ => return Err(Errno::EINVAL),
    };
    let found = wait_for(cx, which, flags).await?;
    if found.is_none() && flags != asked {
        // The descriptor does not wait, and the call did not ask for that.
        return Err(Errno::EAGAIN);
    }
    if let (Some(found), true) = (&found, usage != 0) {
        cx.write_user(usage, &encode_rusage(&found.usage)).await?;
    }
    if info != 0 {
        let bytes = found.as_ref().map_or([0; 128], wait_info);
        // The kernel writes the fields that mean something: up to si_status.
        cx.write_user(info, &bytes[..24]).await?;
    }
    Ok(0)
}

fn wait_info(found: &Waited) -> [u8; 128] {
    let (code, status) = found.status.child_code();
    let fields = SigFields::Child { pid: found.pid, uid: found.uid, status, utime: 0, stime: 0 };
    SigInfo { signal: Signal::CHLD, errno: 0, code, fields }.encode()
}

/// `struct rusage` of i386.
pub(super) fn encode_rusage(usage: &Rusage) -> [u8; 72] {
    let mut out = [0; 72];
    let mut put = |index: usize, value: u32| out[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
    put(0, usage.user.as_secs() as u32);
    put(1, usage.user.subsec_micros());
    put(2, usage.system.as_secs() as u32);
    put(3, usage.system.subsec_micros());
    put(4, usage.max_rss as u32);
    put(8, usage.minor_faults as u32);
    put(9, usage.major_faults as u32);
    put(16, usage.voluntary_switches as u32);
    put(17, usage.involuntary_switches as u32);
    out
}
