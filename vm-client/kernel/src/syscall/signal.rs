//! Signals: sending, actions, masks, waiting (signal(7)).

use std::rc::Rc;

use linux_abi::siginfo::{SIGINFO_SIZE, SigFields, SigInfo, code};
use linux_abi::signal::{SigSet, Signal};
use vm_cpu::reg;
use vm_rt::{Either, first_of};

use super::table::{Args, Row, now, wait};
use super::time::{read_timespec32, read_timespec64};
use crate::signal::deliver::{dequeue, without_uncatchable};
use crate::signal::frame_i386::{
    self, Frame, MINSIGSTKSZ, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, altstack_flags, uncatchable,
};
use crate::signal::{Action, AltStack, Handler, sa};
use crate::task::{Pid, Task, ThreadGroup, cap};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[
    wait!(0, "restart_syscall", restart_syscall),
    wait!(29, "pause", pause),
    now!(37, "kill", kill),
    now!(48, "signal", signal),
    wait!(67, "sigaction", sigaction),
    now!(68, "sgetmask", sgetmask),
    now!(69, "ssetmask", ssetmask),
    wait!(72, "sigsuspend", sigsuspend),
    wait!(73, "sigpending", sigpending),
    wait!(119, "sigreturn", sigreturn),
    wait!(126, "sigprocmask", sigprocmask),
    wait!(173, "rt_sigreturn", rt_sigreturn),
    wait!(174, "rt_sigaction", rt_sigaction),
    wait!(175, "rt_sigprocmask", rt_sigprocmask),
    wait!(176, "rt_sigpending", rt_sigpending),
    wait!(177, "rt_sigtimedwait", rt_sigtimedwait),
    wait!(178, "rt_sigqueueinfo", rt_sigqueueinfo),
    wait!(179, "rt_sigsuspend", rt_sigsuspend),
    wait!(186, "sigaltstack", sigaltstack),
    now!(238, "tkill", tkill),
    now!(270, "tgkill", tgkill),
    wait!(335, "rt_tgsigqueueinfo", rt_tgsigqueueinfo),
    wait!(421, "rt_sigtimedwait_time64", rt_sigtimedwait_time64),
];

/// Bytes of the kernel's `sigset_t`.
const SIGSET_SIZE: u64 = 8;

// ---- sending ----

/// A signal number as kill(2) takes it: `None` is 0, which only checks.
pub(super) fn number(signal: u64) -> Result<Option<Signal>> {
    match signal as u32 {
        0 => Ok(None),
        number => Signal::new(number).map(Some).ok_or(Errno::EINVAL),
    }
}

/// Whether the caller may send this signal.
pub(super) fn may_kill(cx: &SyscallCx, target: &ThreadGroup, signal: Option<Signal>) -> bool {
    let mine = cx.creds();
    let Some(leader) = target.leader() else { return mine.capable(cap::KILL) };
    let theirs = leader.credentials();
    let owner = [mine.uid, mine.euid].iter().any(|uid| *uid == theirs.uid || *uid == theirs.suid);
    let continues = signal == Some(Signal::CONT) && cx.task.group.session.borrow().sid == target.session.borrow().sid;
    owner || continues || mine.capable_in(&theirs.user_ns, cap::KILL)
}

fn kill(cx: &SyscallCx, [pid, signal, ..]: Args) -> Result<i64> {
    let signal = number(signal)?;
    let processes = &cx.kernel.processes;
    match pid as i32 {
        i32::MIN => Err(Errno::ESRCH),
        0 => kill_all(cx, &processes.groups_of(cx.task.group.pgrp.get()), signal),
        -1 => {
            let others: Vec<_> =
                processes.groups().into_iter().filter(|group| group.pid > 1 && group.pid != cx.task.pid()).collect();
            kill_all(cx, &others, signal)
        }
        pgrp if pgrp < 0 => kill_all(cx, &processes.groups_of(-pgrp), signal),
        pid => {
            // A thread number names its process.
            let group = processes.group(pid).or_else(|| processes.task(pid).map(|task| Rc::clone(&task.group)));
            kill_all(cx, &group.into_iter().collect::<Vec<_>>(), signal)
        }
    }
}

/// ESRCH without targets, EPERM when none may be signalled.
fn kill_all(cx: &SyscallCx, groups: &[Rc<ThreadGroup>], signal: Option<Signal>) -> Result<i64> {
    let mut result = Err(Errno::ESRCH);
    for group in groups {
        if !may_kill(cx, group, signal) {
            if result.is_err() {
                result = Err(Errno::EPERM);
            }
            continue;
        }
        result = Ok(0);
        if let Some(signal) = signal {
            cx.kernel.send_signal_group(group, SigInfo::kill(signal, cx.task.pid(), cx.creds().uid));
        }
    }
    result
}

fn find_thread(cx: &SyscallCx, tgid: Option<Pid>, tid: Pid) -> Result<Rc<Task>> {
    if tid <= 0 || tgid.is_some_and(|tgid| tgid <= 0) {
        return Err(Errno::EINVAL);
    }
    let task = cx.kernel.processes.task(tid).ok_or(Errno::ESRCH)?;
    if tgid.is_some_and(|tgid| tgid != task.pid()) {
        return Err(Errno::ESRCH);
    }
    Ok(task)
}

fn kill_thread(cx: &SyscallCx, task: &Rc<Task>, signal: Option<Signal>) -> Result<i64> {
    if !may_kill(cx, &task.group, signal) {
        return Err(Errno::EPERM);
    }
    if let Some(signal) = signal {
        let fields = SigFields::Kill { pid: cx.task.pid(), uid: cx.creds().uid };
        cx.kernel.send_signal_task(task, SigInfo { signal, errno: 0, code: code::SI_TKILL, fields });
    }
    Ok(0)
}

fn tkill(cx: &SyscallCx, [tid, signal, ..]: Args) -> Result<i64> {
    let signal = number(signal)?;
    kill_thread(cx, &find_thread(cx, None, tid as i32)?, signal)
}

fn tgkill(cx: &SyscallCx, [tgid, tid, signal, ..]: Args) -> Result<i64> {
    let task = find_thread(cx, Some(tgid as i32), tid as i32)?;
    kill_thread(cx, &task, number(signal)?)
}

pub(super) async fn read_info(cx: &SyscallCx, signal: u64, at: u64) -> Result<SigInfo> {
    let signal = number(signal)?.ok_or(Errno::EINVAL)?;
    let mut raw = [0; SIGINFO_SIZE];
    cx.read_user(at, &mut raw).await?;
    Ok(SigInfo::decode(signal, &raw))
}

/// Nobody but the kernel and kill(2) itself may claim to be them.
pub(super) fn check_forgery(cx: &SyscallCx, target: Pid, info: &SigInfo) -> Result<()> {
    let forged = info.code >= 0 || info.code == code::SI_TKILL;
    if forged && target != cx.task.pid() { Err(Errno::EPERM) } else { Ok(()) }
}

async fn rt_sigqueueinfo(cx: &SyscallCx, [pid, signal, info, ..]: Args) -> Result<i64> {
    let info = read_info(cx, signal, info).await?;
    check_forgery(cx, pid as i32, &info)?;
    let group = cx.kernel.processes.group(pid as i32).ok_or(Errno::ESRCH)?;
    if !may_kill(cx, &group, Some(info.signal)) {
        return Err(Errno::EPERM);
    }
    cx.kernel.send_signal_group(&group, info);
    Ok(0)
}

async fn rt_tgsigqueueinfo(cx: &SyscallCx, [tgid, tid, signal, info, ..]: Args) -> Result<i64> {
    let info = read_info(cx, signal, info).await?;
    check_forgery(cx, tgid as i32, &info)?;
    let task = find_thread(cx, Some(tgid as i32), tid as i32)?;
    if !may_kill(cx, &task.group, Some(info.signal)) {
        return Err(Errno::EPERM);
    }
    cx.kernel.send_signal_task(&task, info);
    Ok(0)
}

// ---- actions ----

fn set_action(cx: &SyscallCx, signal: Signal, action: Option<Action>) -> Result<Action> {
    let sighand = Rc::clone(&cx.task.group.sighand.borrow());
    let old = sighand.get(signal);
    let Some(mut action) = action else { return Ok(old) };
    if uncatchable(signal) {
        return Err(Errno::EINVAL);
    }
    action.mask = without_uncatchable(action.mask);
    sighand.set(signal, action);
    // What becomes ignored is forgotten, blocked or not (POSIX.1 says so).
    if sighand.ignores(signal) {
        let unwanted = SigSet(signal.bit());
        cx.task.group.shared_pending.borrow_mut().discard(unwanted);
        for task in cx.task.group.threads.borrow().iter() {
            task.pending.borrow_mut().discard(unwanted);
        }
    }
    Ok(old)
}

fn handler_from(word: u32) -> Handler {
    match word {
        0 => Handler::Default,
        1 => Handler::Ignore,
        address => Handler::Function(u64::from(address)),
    }
}

fn handler_word(handler: Handler) -> u32 {
    match handler {
        Handler::Default => 0,
        Handler::Ignore => 1,
        Handler::Function(address) => address as u32,
    }
}

fn words<const N: usize>(raw: &[u8]) -> [u32; N] {
    let mut out = [0; N];
    for (word, bytes) in out.iter_mut().zip(raw.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    out
}

fn bytes<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// `struct sigaction`: handler, flags, restorer, mask of 64 bits.
async fn rt_sigaction(cx: &SyscallCx, [signal, new, old, size, ..]: Args) -> Result<i64> {
    if size != SIGSET_SIZE {
        return Err(Errno::EINVAL);
    }
    let signal = number(signal)?.ok_or(Errno::EINVAL)?;
    let action = if new == 0 {
        None
    } else {
        let mut raw = [0; 20];
        cx.read_user(new, &mut raw).await?;
        let [handler, flags, restorer, low, high] = words(&raw);
        let mask = SigSet(u64::from(low) | u64::from(high) << 32);
        Some(Action { handler: handler_from(handler), flags, restorer: u64::from(restorer), mask })
    };
    let before = set_action(cx, signal, action)?;
    if old != 0 {
        let mask = before.mask.0;
        let raw =
            [handler_word(before.handler), before.flags, before.restorer as u32, mask as u32, (mask >> 32) as u32];
        cx.write_user(old, &bytes(raw)).await?;
    }
    Ok(0)
}

/// `struct old_sigaction`: handler, mask of 32 bits, flags, restorer.
async fn sigaction(cx: &SyscallCx, [signal, new, old, ..]: Args) -> Result<i64> {
    let signal = number(signal)?.ok_or(Errno::EINVAL)?;
    let action = if new == 0 {
        None
    } else {
        let mut raw = [0; 16];
        cx.read_user(new, &mut raw).await?;
        let [handler, mask, flags, restorer] = words(&raw);
        let mask = SigSet(u64::from(mask));
        Some(Action { handler: handler_from(handler), flags, restorer: u64::from(restorer), mask })
    };
    let before = set_action(cx, signal, action)?;
    if old != 0 {
        let raw = [handler_word(before.handler), before.mask.0 as u32, before.flags, before.restorer as u32];
        cx.write_user(old, &bytes(raw)).await?;
    }
    Ok(0)
}

fn signal(cx: &SyscallCx, [signal, handler, ..]: Args) -> Result<i64> {
    let signal = number(signal)?.ok_or(Errno::EINVAL)?;
    let flags = sa::RESETHAND | sa::NODEFER;
    let action = Action { handler: handler_from(handler as u32), flags, ..Action::default() };
    let old = set_action(cx, signal, Some(action))?;
    Ok(i64::from(handler_word(old.handler)))
}

// ---- masks ----

fn set_mask(cx: &SyscallCx, mask: SigSet) {
    cx.task.blocked.set(without_uncatchable(mask));
}

fn change_mask(cx: &SyscallCx, how: u64, set: SigSet) -> Result<()> {
    let old = cx.task.blocked.get();
    let new = match how {
        0 => old.0 | set.0,
        1 => old.0 & !set.0,
        2 => set.0,
        _ => return Err(Errno::EINVAL),
    };
    set_mask(cx, SigSet(new));
    Ok(())
}

async fn read_set(cx: &SyscallCx, at: u64) -> Result<SigSet> {
    let mut raw = [0; 8];
    cx.read_user(at, &mut raw).await?;
    Ok(SigSet(u64::from_le_bytes(raw)))
}

async fn rt_sigprocmask(cx: &SyscallCx, [how, new, old, size, ..]: Args) -> Result<i64> {
    if size != SIGSET_SIZE {
        return Err(Errno::EINVAL);
    }
    let before = cx.task.blocked.get();
    if new != 0 {
        let set = read_set(cx, new).await?;
        change_mask(cx, how, set)?;
    }
    if old != 0 {
        cx.write_user(old, &before.0.to_le_bytes()).await?;
    }
    Ok(0)
}

/// The old call knows the first 32 signals only and leaves the others alone.
async fn sigprocmask(cx: &SyscallCx, [how, new, old, ..]: Args) -> Result<i64> {
    let before = cx.task.blocked.get();
    if new != 0 {
        let low = u64::from(cx.read_u32(new).await?);
        let set = if how == 2 { SigSet(before.0 & !0xffff_ffff | low) } else { SigSet(low) };
        change_mask(cx, how, set)?;
    }
    if old != 0 {
        cx.write_u32(old, before.0 as u32).await?;
    }
    Ok(0)
}

fn sgetmask(cx: &SyscallCx, _: Args) -> Result<i64> {
    Ok(i64::from(cx.task.blocked.get().0 as u32))
}

fn ssetmask(cx: &SyscallCx, [mask, ..]: Args) -> Result<i64> {
    let old = cx.task.blocked.get();
    set_mask(cx, SigSet(mask & 0xffff_ffff));
    Ok(i64::from(old.0 as u32))
}

fn pending_set(cx: &SyscallCx) -> u64 {
    let all = cx.task.pending.borrow().set().0 | cx.task.group.shared_pending.borrow().set().0;
    all & cx.task.blocked.get().0
}

async fn rt_sigpending(cx: &SyscallCx, [at, size, ..]: Args) -> Result<i64> {
    if size > SIGSET_SIZE {
        return Err(Errno::EINVAL);
    }
    cx.write_user(at, &pending_set(cx).to_le_bytes()[..size as usize]).await?;
    Ok(0)
}

async fn sigpending(cx: &SyscallCx, [at, ..]: Args) -> Result<i64> {
    cx.write_u32(at, pending_set(cx) as u32).await?;
    Ok(0)
}

// ---- waiting ----

async fn wait_for_signal(cx: &SyscallCx) -> Result<i64> {
    match cx.interruptible(std::future::pending::<()>()).await {
        Ok(()) => Ok(0),
        Err(_) => Err(Errno::ERESTARTNOHAND),
    }
}

async fn pause(cx: &SyscallCx, _: Args) -> Result<i64> {
    wait_for_signal(cx).await
}

async fn suspend(cx: &SyscallCx, mask: SigSet) -> Result<i64> {
    let old = cx.task.blocked.get();
    // The old mask comes back when the handler returns, or after the wait if none runs.
    cx.task.saved_mask.set(Some(old));
    set_mask(cx, mask);
    wait_for_signal(cx).await
}

async fn rt_sigsuspend(cx: &SyscallCx, [mask, size, ..]: Args) -> Result<i64> {
    if size != SIGSET_SIZE {
        return Err(Errno::EINVAL);
    }
    let mask = read_set(cx, mask).await?;
    suspend(cx, mask).await
}

async fn sigsuspend(cx: &SyscallCx, [_, _, mask, ..]: Args) -> Result<i64> {
    suspend(cx, SigSet(mask & 0xffff_ffff)).await
}

async fn rt_sigtimedwait(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout = if args[2] == 0 { None } else { Some(read_timespec32(cx, args[2]).await?) };
    timed_wait(cx, args, timeout).await
}

async fn rt_sigtimedwait_time64(cx: &SyscallCx, args: Args) -> Result<i64> {
    let timeout = if args[2] == 0 { None } else { Some(read_timespec64(cx, args[2]).await?) };
    timed_wait(cx, args, timeout).await
}

async fn timed_wait(
    cx: &SyscallCx,
    [set, info, _, size, ..]: Args,
    timeout: Option<linux_abi::time::Timespec>,
) -> Result<i64> {
    if size != SIGSET_SIZE {
        return Err(Errno::EINVAL);
    }
    let wanted = without_uncatchable(read_set(cx, set).await?);
    let deadline = timeout.map(|timeout| cx.kernel.now_monotonic() + timeout.to_duration());
    // While it waits the signals count as unblocked, so that their senders wake it; they are taken here, not delivered.
    let found = loop {
        let arrived = cx.kernel.signal_arrived.wait();
        if let Some(info) = dequeue(&cx.task, wanted) {
            break info;
        }
        if deadline.is_some_and(|deadline| cx.kernel.now_monotonic() >= deadline) {
            return Err(Errno::EAGAIN);
        }
        let outcome = match deadline {
            None => cx.interruptible(arrived).await.map(Either::First),
            Some(deadline) => cx.interruptible(first_of(arrived, cx.kernel.timers.sleep_until(deadline))).await,
        };
        if outcome.is_err() {
            // The signal may be one of those waited for, not blocked.
            match dequeue(&cx.task, wanted) {
                Some(info) => break info,
                None => return Err(Errno::EINTR),
            }
        }
    };
    if info != 0 {
        cx.write_user(info, &found.encode()).await?;
    }
    Ok(i64::from(found.signal.number()))
}

async fn restart_syscall(cx: &SyscallCx, _: Args) -> Result<i64> {
    use crate::time::RestartBlock;
    let block = cx.task.restart.borrow_mut().take();
    match block {
        None => Err(Errno::EINTR),
        Some(RestartBlock::Nanosleep { clock, deadline, remaining, wide }) => {
            super::time::sleep_relative(cx, clock, deadline, remaining, wide).await
        }
        Some(RestartBlock::Poll { fds, count, deadline }) => super::poll::restart(cx, fds, count, deadline).await,
        Some(RestartBlock::FutexWait { addr, value, bits, private, deadline }) => {
            super::futex::restart(cx, addr, value, bits, private, deadline).await
        }
    }
}

// ---- handlers ----

async fn sigreturn(cx: &SyscallCx, _: Args) -> Result<i64> {
    leave_handler(cx, Frame::Old).await
}

async fn rt_sigreturn(cx: &SyscallCx, _: Args) -> Result<i64> {
    leave_handler(cx, Frame::Rt).await
}

async fn leave_handler(cx: &SyscallCx, frame: Frame) -> Result<i64> {
    match frame_i386::pop(&cx.task, &cx.mm(), frame).await {
        Ok(returned) => {
            set_mask(cx, returned.mask);
            Ok(i64::from(returned.eax))
        }
        Err(_) => {
            cx.kernel.force_signal(&cx.task, SigInfo::kernel(Signal::SEGV));
            Ok(0)
        }
    }
}

async fn sigaltstack(cx: &SyscallCx, [new, old, ..]: Args) -> Result<i64> {
    let sp = cx.task.cpu.borrow().gpr[reg::RSP];
    let before = cx.task.altstack.get();
    if new != 0 {
        let mut raw = [0; 12];
        cx.read_user(new, &mut raw).await?;
        let [base, flags, size] = words(&raw);
        if altstack_flags(&before, sp) == SS_ONSTACK {
            return Err(Errno::EPERM);
        }
        let mode = flags & !SS_AUTODISARM;
        let stack = match mode {
            SS_DISABLE => AltStack { base: 0, size: 0, flags },
            0 | SS_ONSTACK if u64::from(size) < MINSIGSTKSZ => return Err(Errno::ENOMEM),
            0 | SS_ONSTACK => AltStack { base: u64::from(base), size: u64::from(size), flags },
            _ => return Err(Errno::EINVAL),
        };
        cx.task.altstack.set(stack);
    }
    if old != 0 {
        let flags = altstack_flags(&before, sp) | before.flags & SS_AUTODISARM;
        cx.write_user(old, &bytes([before.base as u32, flags, before.size as u32])).await?;
    }
    Ok(0)
}
