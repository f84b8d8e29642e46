//! The requests of ptrace(2), for a caller on i386.

use std::rc::Rc;

use linux_abi::layout::Writer;
use linux_abi::siginfo::{SIGINFO_SIZE, SigInfo};
use linux_abi::signal::{SigSet, Signal};
use vm_cpu::reg;

use super::registers::{self, Set};
use super::{CallStop, Mode, attach, options};
use crate::signal::deliver::without_uncatchable;
use crate::syscall::thread_area;
use crate::task::{Pid, Task};
use crate::{Errno, Result, SyscallCx};

mod ptrace {
    pub(super) const TRACEME: u32 = 0;
    pub(super) const PEEKTEXT: u32 = 1;
    pub(super) const PEEKDATA: u32 = 2;
    pub(super) const PEEKUSR: u32 = 3;
    pub(super) const POKETEXT: u32 = 4;
    pub(super) const POKEDATA: u32 = 5;
    pub(super) const POKEUSR: u32 = 6;
    pub(super) const CONT: u32 = 7;
    pub(super) const KILL: u32 = 8;
    pub(super) const SINGLESTEP: u32 = 9;
    pub(super) const GETREGS: u32 = 12;
    pub(super) const SETREGS: u32 = 13;
    pub(super) const GETFPREGS: u32 = 14;
    pub(super) const SETFPREGS: u32 = 15;
    pub(super) const ATTACH: u32 = 16;
    pub(super) const DETACH: u32 = 17;
    pub(super) const GETFPXREGS: u32 = 18;
    pub(super) const SETFPXREGS: u32 = 19;
    pub(super) const OLDSETOPTIONS: u32 = 21;
    pub(super) const SYSCALL: u32 = 24;
    pub(super) const GET_THREAD_AREA: u32 = 25;
    pub(super) const SET_THREAD_AREA: u32 = 26;
    pub(super) const SYSEMU: u32 = 31;
    pub(super) const SYSEMU_SINGLESTEP: u32 = 32;
    pub(super) const SETOPTIONS: u32 = 0x4200;
    pub(super) const GETEVENTMSG: u32 = 0x4201;
    pub(super) const GETSIGINFO: u32 = 0x4202;
    pub(super) const SETSIGINFO: u32 = 0x4203;
    pub(super) const GETREGSET: u32 = 0x4204;
    pub(super) const SETREGSET: u32 = 0x4205;
    pub(super) const SEIZE: u32 = 0x4206;
    pub(super) const INTERRUPT: u32 = 0x4207;
    pub(super) const LISTEN: u32 = 0x4208;
    pub(super) const PEEKSIGINFO: u32 = 0x4209;
    pub(super) const GETSIGMASK: u32 = 0x420a;
    pub(super) const SETSIGMASK: u32 = 0x420b;
    pub(super) const GET_SYSCALL_INFO: u32 = 0x420e;
}

/// `AUDIT_ARCH_I386`
pub(crate) const AUDIT_ARCH_I386: u32 = 0x4000_0003;

/// Makes one request.
pub(crate) async fn run(cx: &SyscallCx, request: u32, pid: Pid, addr: u64, data: u64) -> Result<i64> {
    if request == ptrace::TRACEME {
        return attach::trace_me(cx).map(|()| 0);
    }
    let task = cx.kernel.processes.task(pid).ok_or(Errno::ESRCH)?;
    match request {
        ptrace::ATTACH => return attach::attach(cx, &task).map(|()| 0),
        ptrace::SEIZE if addr != 0 => return Err(Errno::EIO),
        ptrace::SEIZE => return attach::seize(cx, &task, data as u32).map(|()| 0),
        _ => {}
    }
    if !task.trace.tracer().is_some_and(|tracer| Rc::ptr_eq(&tracer, &cx.task)) {
        return Err(Errno::ESRCH);
    }
    match request {
        ptrace::KILL => {
            cx.kernel.send_signal_task(&task, SigInfo::kernel(Signal::KILL));
            return Ok(0);
        }
        ptrace::INTERRUPT => return interrupt(&task),
        _ => {}
    }
    let listening = task.trace.stop.borrow().map(|stop| stop.listening);
    if listening != Some(false) {
        return Err(Errno::ESRCH);
    }
    match request {
        ptrace::CONT => resume(&task, Mode::Run, data),
        ptrace::SYSCALL => resume(&task, Mode::Syscall, data),
        ptrace::SINGLESTEP => resume(&task, Mode::Step, data),
        ptrace::SYSEMU => resume(&task, Mode::Emulate, data),
        ptrace::SYSEMU_SINGLESTEP => resume(&task, Mode::EmulateStep, data),
        ptrace::DETACH => {
            check_signal(data)?;
            attach::detach(&cx.kernel, &task, data as u32);
            Ok(0)
        }
        ptrace::LISTEN => listen(&task),
        ptrace::PEEKTEXT | ptrace::PEEKDATA => {
            let mut word = [0; 4];
            if memory(&task)?.peek(addr, &mut word).await? < 4 {
                return Err(Errno::EIO);
            }
            cx.write_user(data, &word).await.map(|()| 0)
        }
        ptrace::POKETEXT | ptrace::POKEDATA => {
            let word = (data as u32).to_le_bytes();
            if memory(&task)?.poke(addr, &word).await? < 4 { Err(Errno::EIO) } else { Ok(0) }
        }
        ptrace::PEEKUSR => {
            let word = registers::peek_user(&task, addr)?;
            cx.write_u32(data, word).await.map(|()| 0)
        }
        ptrace::POKEUSR => registers::poke_user(&task, addr, data as u32).map(|()| 0),
        ptrace::GETREGS => get(cx, &task, Set::General, data).await,
        ptrace::SETREGS => set(cx, &task, Set::General, data).await,
        ptrace::GETFPREGS => get(cx, &task, Set::Float, data).await,
        ptrace::SETFPREGS => set(cx, &task, Set::Float, data).await,
        ptrace::GETFPXREGS => get(cx, &task, Set::ExtendedFloat, data).await,
        ptrace::SETFPXREGS => set(cx, &task, Set::ExtendedFloat, data).await,
        ptrace::GETREGSET => regset(cx, &task, addr, data, Direction::Get).await,
        ptrace::SETREGSET => regset(cx, &task, addr, data, Direction::Set).await,
        ptrace::GET_THREAD_AREA => thread_area::get_of(cx, &task, addr as u32, data).await,
        ptrace::SET_THREAD_AREA => thread_area::set_of(cx, &task, addr as u32, data).await,
        ptrace::SETOPTIONS | ptrace::OLDSETOPTIONS => {
            if data as u32 & !options::ALL != 0 {
                return Err(Errno::EINVAL);
            }
            task.trace.options.set(data as u32);
            Ok(0)
        }
        ptrace::GETEVENTMSG => cx.write_u32(data, task.trace.message.get()).await.map(|()| 0),
        ptrace::GETSIGINFO => {
            let info = task.trace.stop.borrow().and_then(|stop| stop.info).ok_or(Errno::EINVAL)?;
            cx.write_user(data, &info.encode()).await.map(|()| 0)
        }
        ptrace::SETSIGINFO => set_info(cx, &task, data).await,
        ptrace::PEEKSIGINFO => peek_info(cx, &task, addr, data).await,
        ptrace::GETSIGMASK | ptrace::SETSIGMASK if addr != 8 => Err(Errno::EINVAL),
        ptrace::GETSIGMASK => {
            let mask = task.saved_mask.get().unwrap_or_else(|| task.blocked.get());
            cx.write_user(data, &mask.0.to_le_bytes()).await.map(|()| 0)
        }
        ptrace::SETSIGMASK => {
            let mut raw = [0; 8];
            cx.read_user(data, &mut raw).await?;
            task.blocked.set(without_uncatchable(SigSet(u64::from_le_bytes(raw))));
            task.saved_mask.set(None);
            Ok(0)
        }
        ptrace::GET_SYSCALL_INFO => call_info(cx, &task, addr, data).await,
        other => {
            cx.kernel.count_missing("ptrace request", format!("{other:#x}"), cx.task.comm_text());
            Err(Errno::EIO)
        }
    }
}

fn memory(task: &Task) -> Result<Rc<crate::mm::Mm>> {
    task.mm().ok_or(Errno::EIO)
}

fn check_signal(data: u64) -> Result<()> {
    if data <= u64::from(Signal::MAX.number()) { Ok(()) } else { Err(Errno::EIO) }
}

fn resume(task: &Rc<Task>, mode: Mode, signal: u64) -> Result<i64> {
    check_signal(signal)?;
    task.trace.mode.set(mode);
    if matches!(mode, Mode::Step | Mode::EmulateStep) {
        registers::start_stepping(task);
    } else {
        registers::stop_stepping(task);
    }
    task.trace.inject.set(signal as u32);
    task.trace.stop.borrow_mut().take();
    task.kick();
    Ok(0)
}

fn interrupt(task: &Rc<Task>) -> Result<i64> {
    if !task.trace.seized.get() {
        return Err(Errno::EIO);
    }
    task.trace.interrupt.set(true);
    let mut stop = task.trace.stop.borrow_mut();
    if stop.is_some_and(|stop| stop.listening) {
        // Out of the silent stop, into one that is reported.
        stop.take();
    }
    drop(stop);
    task.kick();
    Ok(0)
}

fn listen(task: &Task) -> Result<i64> {
    let mut stop = task.trace.stop.borrow_mut();
    match stop.as_mut() {
        Some(stop) if task.trace.seized.get() && stop.code >> 8 == super::event::STOP => {
            stop.listening = true;
            Ok(0)
        }
        _ => Err(Errno::EIO),
    }
}

async fn get(cx: &SyscallCx, task: &Task, set: Set, to: u64) -> Result<i64> {
    let raw = registers::get(task, set);
    cx.write_user(to, &raw).await.map_err(|_| Errno::EIO)?;
    Ok(0)
}

async fn set(cx: &SyscallCx, task: &Task, set: Set, from: u64) -> Result<i64> {
    let mut raw = vec![0; registers::get(task, set).len()];
    cx.read_user(from, &mut raw).await.map_err(|_| Errno::EIO)?;
    registers::set(task, set, &raw)?;
    Ok(0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Get,
    Set,
}

async fn regset(cx: &SyscallCx, task: &Task, note: u64, iovec: u64, direction: Direction) -> Result<i64> {
    let (base, len) = (cx.read_u32(iovec).await?, cx.read_u32(iovec + 4).await? as usize);
    let set = Set::of_note(note)?;
    if len % set.unit() != 0 {
        return Err(Errno::EINVAL);
    }
    let mut raw = registers::get(task, set);
    raw.truncate(len);
    if direction == Direction::Get {
        cx.write_user(u64::from(base), &raw).await?;
    } else {
        cx.read_user(u64::from(base), &mut raw).await?;
        registers::set(task, set, &raw)?;
    }
    cx.write_u32(iovec + 4, raw.len() as u32).await?;
    Ok(0)
}

async fn set_info(cx: &SyscallCx, task: &Task, from: u64) -> Result<i64> {
    let mut raw = [0; SIGINFO_SIZE];
    cx.read_user(from, &mut raw).await?;
    let number = u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
    let signal = Signal::new(number).ok_or(Errno::EINVAL)?;
    let mut stop = task.trace.stop.borrow_mut();
    match stop.as_mut().and_then(|stop| stop.info.as_mut()) {
        Some(info) => {
            *info = SigInfo::decode(signal, &raw);
            Ok(0)
        }
        None => Err(Errno::EINVAL),
    }
}

/// Queued signals: `struct ptrace_peeksiginfo_args` is offset (64 bits), flags, count.
async fn peek_info(cx: &SyscallCx, task: &Task, args: u64, to: u64) -> Result<i64> {
    let mut raw = [0; 16];
    cx.read_user(args, &mut raw).await?;
    let fields = linux_abi::layout::Reader::new(&raw);
    let (offset, flags, count) = (u64::from(fields.u32(0)), fields.u32(8), fields.u32(12) as i32);
    if flags & !1 != 0 || count < 0 {
        return Err(Errno::EINVAL);
    }
    let queued =
        if flags & 1 != 0 { task.group.shared_pending.borrow().entries() } else { task.pending.borrow().entries() };
    let mut done = 0;
    for info in queued.into_iter().skip(offset as usize).take(count as usize) {
        cx.write_user(to + done * SIGINFO_SIZE as u64, &info.encode()).await?;
        done += 1;
    }
    Ok(done as i64)
}

/// `struct ptrace_syscall_info`
async fn call_info(cx: &SyscallCx, task: &Task, size: u64, to: u64) -> Result<i64> {
    let call = task.trace.stop.borrow().map(|stop| stop.call).unwrap_or_default();
    let mut raw = [0; 88];
    let mut out = Writer::new(&mut raw);
    let used = {
        let cpu = task.cpu.borrow();
        let word = |number: usize| cpu.gpr[number] & 0xffff_ffff;
        out.u32(4, AUDIT_ARCH_I386);
        out.u64(8, cpu.rip & 0xffff_ffff);
        out.u64(16, word(reg::RSP));
        match call {
            CallStop::None => 24,
            CallStop::Entry | CallStop::Seccomp => {
                out.bytes(0, &[if call == CallStop::Entry { 1 } else { 3 }]);
                out.u64(24, u64::from(task.orig_ax.get() as u32));
                let args = [reg::RBX, reg::RCX, reg::RDX, reg::RSI, reg::RDI, reg::RBP];
                for (index, number) in args.into_iter().enumerate() {
                    out.u64(32 + 8 * index, word(number));
                }
                if call == CallStop::Seccomp {
                    out.u32(80, task.trace.message.get());
                    84
                } else {
                    80
                }
            }
            CallStop::Exit => {
                out.bytes(0, &[2]);
                let value = i64::from(word(reg::RAX) as u32 as i32);
                let failed = (-4095..0).contains(&value);
                out.u64(24, value as u64);
                out.bytes(32, &[u8::from(failed)]);
                33
            }
        }
    };
    let len = usize::try_from(size).unwrap_or(usize::MAX).min(used);
    cx.write_user(to, raw.get(..len).unwrap_or(&raw)).await?;
    Ok(used as i64)
}
