//! Pseudoterminals (pty(7)): the master side, and the table behind devpts.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use linux_abi::poll::Ready;
use linux_abi::termios::*;
use vm_rt::{Io, WaitQueue};

use super::{Sink, Tty, TtyName};
use crate::vfs::{File, IoMode};
use crate::{Errno, Kernel, Result, SyscallCx};

/// Output a slave may be ahead of its master.
const QUEUE: usize = 16 * 1024;

/// What the master and the slave's sink share.
#[derive(Default)]
struct Link {
    output: RefCell<VecDeque<u8>>,
    readable: WaitQueue,
    /// The slave is open; before its first open the master waits, after its last close it gets EIO.
    slave_seen: Cell<bool>,
    slave_open: Cell<bool>,
    tty: RefCell<Weak<Tty>>,
}

struct PtySink(Rc<Link>);

impl Sink for PtySink {
    fn put(&self, bytes: &[u8]) {
        self.0.output.borrow_mut().extend(bytes);
        self.0.readable.wake_all();
    }

    fn room(&self) -> usize {
        QUEUE.saturating_sub(self.0.output.borrow().len())
    }

    fn queued(&self) -> usize {
        self.0.output.borrow().len()
    }

    fn flush(&self) {
        // What has reached the master's side stays readable there; Linux drops only what is still on the way.
        self.0.output.borrow_mut().truncate(super::ldisc::BUFFER);
    }

    fn changed(&self) {
        let open = self.0.tty.borrow().upgrade().is_some_and(|tty| tty.is_open());
        if self.0.slave_open.replace(open) != open {
            self.0.slave_seen.set(true);
            self.0.readable.wake_all();
        }
    }
}

/// All pseudoterminals of one devpts.
pub struct PtyTable {
    kernel: Weak<Kernel>,
    slaves: RefCell<BTreeMap<u32, Slave>>,
}

/// A slave device: its terminal, and the attributes of its node in devpts.
#[derive(Clone)]
pub struct Slave {
    /// The terminal.
    pub tty: Rc<Tty>,
    /// The master has not unlocked it yet (unlockpt(3)).
    pub locked: Rc<Cell<bool>>,
    /// Owner.
    pub uid: Rc<Cell<u32>>,
    /// Group.
    pub gid: Rc<Cell<u32>>,
    /// Permission bits.
    pub mode: Rc<Cell<u32>>,
}

/// Pseudoterminals there may be (/proc/sys/kernel/pty/max).
const MAX: u32 = 4096;

impl PtyTable {
    /// An empty table.
    pub fn new(kernel: &Weak<Kernel>) -> Rc<Self> {
        Rc::new(Self { kernel: Weak::clone(kernel), slaves: RefCell::default() })
    }

    /// Opens /dev/ptmx: makes a new pseudoterminal and returns its master.
    pub fn open_master(self: &Rc<Self>, cx: &SyscallCx) -> Result<Rc<dyn File>> {
        let creds = cx.task.credentials();
        self.create(creds.fsuid, crate::fs::devpts::slave_group()).map(|(master, _)| master as Rc<dyn File>)
    }

    /// Makes a new pseudoterminal whose node belongs to this user; it starts locked.
    pub fn create(self: &Rc<Self>, uid: u32, gid: u32) -> Result<(Rc<Master>, Rc<Tty>)> {
        let index = {
            let slaves = self.slaves.borrow();
            (0..MAX).find(|index| !slaves.contains_key(index)).ok_or(Errno::ENOSPC)?
        };
        let link = Rc::new(Link::default());
        let tty = Tty::new(&self.kernel, TtyName::Pts(index), Box::new(PtySink(Rc::clone(&link))));
        *link.tty.borrow_mut() = Rc::downgrade(&tty);
        let slave = Slave {
            tty: Rc::clone(&tty),
            locked: Rc::new(Cell::new(true)),
            uid: Rc::new(Cell::new(uid)),
            gid: Rc::new(Cell::new(gid)),
            mode: Rc::new(Cell::new(0o620)),
        };
        let locked = Rc::clone(&slave.locked);
        self.slaves.borrow_mut().insert(index, slave);
        let master = Rc::new(Master {
            table: Rc::clone(self),
            index,
            tty: Rc::clone(&tty),
            link,
            locked,
            packet: Cell::new(false),
        });
        Ok((master, tty))
    }

    /// The slave with this number.
    pub fn slave(&self, index: u32) -> Option<Slave> {
        self.slaves.borrow().get(&index).cloned()
    }

    /// The numbers of all slaves.
    pub fn indices(&self) -> Vec<u32> {
        self.slaves.borrow().keys().copied().collect()
    }
}

/// The master side of a pseudoterminal.
pub struct Master {
    table: Rc<PtyTable>,
    index: u32,
    tty: Rc<Tty>,
    link: Rc<Link>,
    locked: Rc<Cell<bool>>,
    packet: Cell<bool>,
}

impl Drop for Master {
    fn drop(&mut self) {
        self.tty.closed.set(true);
        self.tty.hang_up();
        self.table.slaves.borrow_mut().remove(&self.index);
    }
}

impl Master {
    /// The number of the pseudoterminal.
    pub fn index(&self) -> u32 {
        self.index
    }

    fn slave_gone(&self) -> bool {
        self.link.slave_seen.get() && !self.link.slave_open.get()
    }

    async fn read_output(&self, cx: &SyscallCx, nonblock: bool, buf: &mut [u8]) -> Result<usize> {
        loop {
            {
                let mut output = self.link.output.borrow_mut();
                if !output.is_empty() {
                    let mut at = 0;
                    if self.packet.get() {
                        // TIOCPKT: a status byte goes before the data; TIOCPKT_DATA is 0.
                        buf[0] = 0;
                        at = 1;
                    }
                    let count = output.len().min(buf.len() - at);
                    for (slot, byte) in buf[at..].iter_mut().zip(output.drain(..count)) {
                        *slot = byte;
                    }
                    drop(output);
                    self.tty.output_drained();
                    return Ok(at + count);
                }
            }
            if self.slave_gone() {
                return Err(Errno::EIO);
            }
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            let changed = self.link.readable.wait();
            cx.interruptible(changed).await?;
        }
    }

    async fn write_input(&self, cx: &SyscallCx, nonblock: bool, data: &[u8]) -> Result<usize> {
        let mut done = 0;
        while done < data.len() {
            if self.tty.backlog_len() > 0 {
                // The slave's line discipline is full.
                if nonblock {
                    return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN) };
                }
                let room = self.tty.input_room.wait();
                if let Err(interrupted) = cx.interruptible(room).await {
                    return if done > 0 { Ok(done) } else { Err(interrupted) };
                }
                continue;
            }
            let piece = &data[done..data.len().min(done + 1024)];
            self.tty.input(piece);
            done += piece.len();
        }
        Ok(done)
    }

    async fn master_ioctl(&self, cx: &SyscallCx, request: u32, arg: u64) -> Result<i64> {
        match request {
            TIOCGPTN => cx.write_u32(arg, self.index).await?,
            TIOCSPTLCK => self.locked.set(cx.read_u32(arg).await? != 0),
            TIOCGPTLCK => cx.write_u32(arg, u32::from(self.locked.get())).await?,
            TIOCPKT => self.packet.set(cx.read_u32(arg).await? != 0),
            TIOCGPKT => cx.write_u32(arg, u32::from(self.packet.get())).await?,
            TIOCSIG => {
                let signal = u32::try_from(arg).ok().and_then(linux_abi::signal::Signal::new).ok_or(Errno::EINVAL)?;
                self.tty.signal_foreground(signal);
            }
            TIOCGPTPEER => return crate::fs::devpts::open_peer(cx, self.index, arg as u32).await,
            // On the master this is what a reader of the master would get.
            FIONREAD => {
                let queued = self.link.output.borrow().len();
                cx.write_u32(arg, queued as u32).await?;
            }
            TIOCGPGRP => cx.write_u32(arg, self.tty.foreground() as u32).await?,
            TIOCGSID => {
                if self.tty.session() == 0 {
                    return Err(Errno::ENOTTY);
                }
                cx.write_u32(arg, self.tty.session() as u32).await?;
            }
            TIOCSCTTY | TIOCNOTTY | TIOCSPGRP => return Err(Errno::ENOTTY),
            _ => return self.tty.ioctl(cx, request, arg).await,
        }
        Ok(0)
    }
}

impl File for Master {
    fn read<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, buf: &'a mut [u8]) -> Io<'a, Result<usize>> {
        if buf.is_empty() {
            return Io::ready(Ok(0));
        }
        Io::later(self.read_output(cx, mode.nonblock, buf))
    }

    fn write<'a>(&'a self, cx: &'a SyscallCx, mode: IoMode, data: &'a [u8]) -> Io<'a, Result<usize>> {
        Io::later(self.write_input(cx, mode.nonblock, data))
    }

    fn poll(&self, _interest: Ready) -> Ready {
        let mut ready = Ready::NONE;
        if !self.link.output.borrow().is_empty() {
            ready |= Ready::IN | Ready::RDNORM;
        }
        if self.tty.backlog_len() == 0 {
            ready |= Ready::OUT | Ready::WRNORM;
        }
        if self.slave_gone() {
            ready |= Ready::HUP;
        }
        ready
    }

    fn wait(&self, interest: Ready) -> Io<'static, ()> {
        let readable = self.link.readable.wait();
        if interest.intersects(Ready::OUT | Ready::WRNORM) {
            let room = self.tty.input_room.wait();
            Io::later(async move {
                vm_rt::first_of(readable, room).await;
            })
        } else {
            Io::later(readable)
        }
    }

    fn ioctl<'a>(&'a self, cx: &'a SyscallCx, request: u32, arg: u64) -> Io<'a, Result<i64>> {
        Io::later(self.master_ioctl(cx, request, arg))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
