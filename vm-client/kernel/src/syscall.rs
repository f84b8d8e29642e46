//! System calls: the context they run in, the tables, and the handlers by topic.

mod attr;
mod cx;
mod directory;
mod epoll;
mod event_files;
mod fcntl;
mod fd;
pub(crate) mod futex;
mod identity;
mod memory;
mod mount;
mod names;
mod open;
pub(crate) mod pidfd;
pub mod poll;
mod prctl;
mod process;
mod random;
mod read_write;
pub(crate) mod resource;
mod schedule;
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

use crate::signal::deliver::Interrupted;
use crate::{Errno, Result, strace};
use table::{Args, Handler};

/// Makes the system call that the registers ask for and puts the result into eax. Tells whether it was interrupted.
pub(crate) async fn dispatch(cx: &SyscallCx) -> Option<Interrupted> {
    let (number, args) = {
        let cpu = cx.task.cpu.borrow();
        let argument = |register: usize| cpu.gpr[register] & 0xffff_ffff;
        let args: Args = [reg::RBX, reg::RCX, reg::RDX, reg::RSI, reg::RDI, reg::RBP].map(argument);
        (argument(reg::RAX) as u32, args)
    };
    cx.task.in_syscall.set(Some(number));
    let tracing = cx.kernel.strace.borrow().is_some();
    let traced = if tracing { strace::enter(cx, number, args).await } else { None };
    let result = call(cx, number, args).await;
    if let Some(traced) = traced {
        traced.leave(cx, &result).await;
    }
    cx.task.in_syscall.set(None);
    let value = match result {
        Ok(value) => value as u32,
        Err(errno) => errno.number().wrapping_neg() as u32,
    };
    cx.task.cpu.borrow_mut().gpr[reg::RAX] = u64::from(value);
    match result {
        Err(how @ (Errno::ERESTARTSYS | Errno::ERESTARTNOINTR | Errno::ERESTARTNOHAND | Errno::ERESTARTBLOCK)) => {
            Some(Interrupted { number, how })
        }
        _ => None,
    }
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
