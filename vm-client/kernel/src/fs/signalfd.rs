//! signalfd(2): signals as something to read.

use std::any::Any;
use std::cell::Cell;
use std::rc::{Rc, Weak};

use linux_abi::layout::Writer;
use linux_abi::poll::Ready;
use linux_abi::siginfo::{SigFields, SigInfo};
use linux_abi::signal::SigSet;
use vm_rt::Io;

use crate::task::Task;
use crate::vfs::{File, IoMode};
use crate::{Errno, Kernel, Result, SyscallCx};

/// Bytes of `struct signalfd_siginfo`.
const SIZE: usize = 128;

/// Reads signals of a set, which the reader keeps blocked.
pub struct SignalFd {
    wanted: Cell<SigSet>,
    kernel: Weak<Kernel>,
    /// Who made it: what poll(2) looks at. Linux looks at who polls; they differ only after a fork(2).
    maker: Weak<Task>,
}

fn encode(info: &SigInfo) -> [u8; SIZE] {
    let mut out = [0; SIZE];
    let mut w = Writer::new(&mut out);
    w.u32(0, info.signal.number());
    w.u32(4, info.errno as u32);
    w.u32(8, info.code as u32);
    match info.fields {
        SigFields::None | SigFields::Raw(_) => {}
        SigFields::Kill { pid, uid } => {
            w.u32(12, pid as u32);
            w.u32(16, uid);
        }
        SigFields::Queue { pid, uid, value } => {
            w.u32(12, pid as u32);
            w.u32(16, uid);
            w.u32(44, value);
            w.u64(48, u64::from(value));
        }
        SigFields::Timer { id, overrun, value } => {
            w.u32(24, id as u32);
            w.u32(32, overrun as u32);
            w.u32(44, value);
            w.u64(48, u64::from(value));
        }
        SigFields::Child { pid, uid, status, utime, stime } => {
            w.u32(12, pid as u32);
            w.u32(16, uid);
            w.u32(40, status as u32);
            w.u64(56, u64::from(utime));
            w.u64(64, u64::from(stime));
        }
        SigFields::Fault { addr } => w.u64(72, u64::from(addr)),
        SigFields::Sys { addr, call, arch } => {
            w.u32(84, call as u32);
            w.u64(88, u64::from(addr));
            w.u32(96, arch);
        }
        SigFields::Poll { band, fd } => {
            w.u32(20, fd as u32);
            w.u32(28, band);
        }
    }
    out
}

impl SignalFd {
    /// A descriptor for the signals of a set.
    pub fn new(cx: &SyscallCx, wanted: SigSet) -> Rc<Self> {
        Rc::new(Self { wanted: Cell::new(wanted), kernel: cx.kernel.weak(), maker: Rc::downgrade(&cx.task) })
    }

    /// Changes the set.
    pub fn set(&self, cx: &SyscallCx, wanted: SigSet) {
        self.wanted.set(wanted);
        cx.kernel.signal_arrived.wake_all();
    }

    fn take(&self, task: &Task, buf: &mut [u8]) -> usize {
        let mut done = 0;
        for room in buf.chunks_exact_mut(SIZE) {
            let own = task.pending.borrow_mut().take(self.wanted.get());
            let found = own.or_else(|| task.group.shared_pending.borrow_mut().take(self.wanted.get()));
            let Some(info) = found else { break };
            room.copy_from_slice(&encode(&info));
            done += SIZE;
        }
        done
    }
}

impl File for SignalFd {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        if buf.len() < SIZE {
            return Io::ready(Err(Errno::EINVAL));
        }
        match self.take(&cx.task, buf) {
            0 if mode.nonblock => Io::ready(Err(Errno::EAGAIN)),
            0 => Io::later(async move {
                loop {
                    let arrived = cx.kernel.signal_arrived.wait();
                    match self.take(&cx.task, buf) {
                        0 => {}
                        done => return Ok(done),
                    }
                    cx.interruptible(arrived).await?;
                }
            }),
            done => Io::ready(Ok(done)),
        }
    }

    fn poll(&self, _interest: Ready) -> Ready {
        let Some(task) = self.maker.upgrade() else { return Ready::NONE };
        let waiting = task.pending.borrow().set().0 | task.group.shared_pending.borrow().set().0;
        if waiting & self.wanted.get().0 != 0 { Ready::IN | Ready::RDNORM } else { Ready::NONE }
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        match self.kernel.upgrade() {
            Some(kernel) => Io::later(kernel.signal_arrived.wait()),
            None => Io::ready(()),
        }
    }

    fn fdinfo(&self, _cx: &SyscallCx) -> String {
        format!("sigmask:\t{:016x}\n", self.wanted.get().0)
    }

    fn description(&self) -> Option<String> {
        Some("anon_inode:[signalfd]".to_owned())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
