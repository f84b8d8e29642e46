//! System calls: the context they run in, the tables, and the handlers by topic.

mod absent;
pub(crate) mod aio;
mod attr;
mod cx;
mod directory;
mod epoll;
mod event_files;
mod fcntl;
mod fd;
pub(crate) mod futex;
mod identity;
pub(crate) mod ipc;
mod ldt;
mod memory;
mod missing;
mod mount;
mod mqueue;
mod names;
mod namespace;
mod open;
pub(crate) mod pidfd;
pub mod poll;
mod prctl;
mod process;
mod ptrace;
mod random;
mod read_write;
pub(crate) mod resource;
mod schedule;
mod seccomp;
mod signal;
mod socket;
mod stat;
mod sync;
mod system;
pub mod table;
pub mod table_i386;
pub(crate) mod thread_area;
mod time;
mod timer;
mod transfer;
mod user_buffer;
mod waitable_files;
mod xattr;

pub use cx::SyscallCx;

use vm_cpu::reg;

use crate::ptrace::{CallStop, stop};
use crate::signal::deliver::is_restart;
use crate::{Errno, Result, strace};
use table::{Args, Handler};

/// Makes the system call that the registers ask for and puts the result into eax. Tells whether it may have to be made again.
pub(crate) async fn dispatch(cx: &SyscallCx) -> bool {
    let task = &cx.task;
    let (mut number, mut args) = registers(cx);
    task.orig_ax.set(number as i32);
    let watched = task.trace.on() || task.seccomp.borrow().is_some();
    if watched {
        if !may_call(cx).await {
            return true;
        }
        (_, args) = registers(cx);
        number = task.orig_ax.get() as u32;
    }
    if number != NO_CALL {
        task.in_syscall.set(Some(number));
        let tracing = cx.kernel.strace.borrow().is_some();
        let traced = if tracing { strace::enter(cx, number, args).await } else { None };
        let result = call(cx, number, args).await;
        if let Some(traced) = traced {
            traced.leave(cx, &result).await;
        }
        task.in_syscall.set(None);
        let value = match result {
            Ok(value) => value as u32,
            Err(errno) => errno.number().wrapping_neg() as u32,
        };
        task.cpu.borrow_mut().gpr[reg::RAX] = u64::from(value);
    }
    if task.trace.on() {
        stop::after_call(cx).await;
    }
    is_restart(task)
}

/// What a tracer or a filter puts in the place of a call that is not to be made.
const NO_CALL: u32 = u32::MAX;

fn registers(cx: &SyscallCx) -> (u32, Args) {
    let cpu = cx.task.cpu.borrow();
    let argument = |register: usize| cpu.gpr[register] & 0xffff_ffff;
    let args = [reg::RBX, reg::RCX, reg::RDX, reg::RSI, reg::RDI, reg::RBP].map(argument);
    (argument(reg::RAX) as u32, args)
}

/// Lets the tracer and the filters see a call before it is made; tells whether the task goes on at all.
async fn may_call(cx: &SyscallCx) -> bool {
    let task = &cx.task;
    if task.trace.stops_at_calls() {
        task.cpu.borrow_mut().gpr[reg::RAX] = u64::from(Errno::ENOSYS.number().wrapping_neg() as u32);
        let emulated = task.trace.mode.get() != crate::ptrace::Mode::Syscall;
        stop::call(cx, CallStop::Entry).await;
        if emulated {
            task.orig_ax.set(NO_CALL as i32);
        }
    }
    if task.fatal_signal_pending() {
        return false;
    }
    if task.seccomp.borrow().is_some() && task.orig_ax.get() as u32 != NO_CALL {
        crate::seccomp::check(cx).await;
    }
    !task.fatal_signal_pending()
}

async fn call(cx: &SyscallCx, number: u32, args: Args) -> Result<i64> {
    match cx.kernel.calls.get(number as usize) {
        Some(Some(row)) => match row.handler {
            Handler::Now(handler) => handler(cx, args),
            Handler::Wait(handler) => handler(cx, args).await,
        },
        _ => {
            cx.kernel.count_unknown(number, cx.task.comm_text());
            Err(Errno::ENOSYS)
        }
    }
}
