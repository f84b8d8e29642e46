//! Netlink sockets (netlink(7)): questions to the kernel, and messages between programs that use its multicast groups.
//!
//! A request is answered before send(2) returns: the answers wait in the socket's queue. `route` knows the interface,
//! `diag` the sockets, `message` how messages look.

mod diag;
mod message;
mod route;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use linux_abi::layout::{Reader, Writer};
use linux_abi::poll::Ready;
use linux_abi::socket::*;
use vm_rt::{Io, WaitQueue};

use self::message::{Answers, Request};
use super::Net;
use super::options::{Common, number};
use super::protocol::{Ancillary, Incoming, Outgoing, Patience, Protocol, Wanted};
use crate::task::cap;
use crate::{Errno, Result, SyscallCx};

const NETLINK_ROUTE: u32 = 0;
const NETLINK_USERSOCK: u32 = 2;
const NETLINK_SOCK_DIAG: u32 = 4;
const NETLINK_KOBJECT_UEVENT: u32 = 15;
const NETLINK_GENERIC: u32 = 16;

/// All netlink sockets.
#[derive(Default)]
pub(crate) struct Sockets {
    all: RefCell<Vec<Weak<Netlink>>>,
    last_number: Cell<u32>,
}

impl Sockets {
    /// Every socket that is open.
    pub(crate) fn all(&self) -> Vec<Rc<Netlink>> {
        self.all.borrow().iter().filter_map(Weak::upgrade).collect()
    }
}

/// A message that waits.
struct Message {
    data: Vec<u8>,
    from: u32,
    groups: u32,
    creds: Ucred,
}

/// A netlink socket.
pub(crate) struct Netlink {
    this: Weak<Netlink>,
    net: Rc<Net>,
    common: Rc<Common>,
    /// Its number, 0 while it has none (`nl_pid`).
    number: Cell<u32>,
    groups: Cell<u32>,
    /// Where messages go without an address.
    to: Cell<(u32, u32)>,
    queue: RefCell<VecDeque<Message>>,
    used: Cell<usize>,
    error: Cell<Option<Errno>>,
    readable: WaitQueue,
}

/// The kernel, as a sender of messages.
const KERNEL: Ucred = Ucred { pid: 0, uid: 0, gid: 0 };

/// socket(2) of AF_NETLINK.
pub(super) fn create(cx: &SyscallCx, kind: u32, protocol: u32) -> Result<(Rc<Common>, Rc<dyn Protocol>)> {
    if !matches!(kind, SOCK_RAW | SOCK_DGRAM) {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    if !matches!(
        protocol,
        NETLINK_ROUTE | NETLINK_USERSOCK | NETLINK_SOCK_DIAG | NETLINK_KOBJECT_UEVENT | NETLINK_GENERIC
    ) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let net = &cx.kernel.net;
    let common = Common::new(AF_NETLINK, kind, protocol, &net.queued);
    let netlink = Rc::new_cyclic(|this| Netlink {
        this: Weak::clone(this),
        net: Rc::clone(net),
        common: Rc::clone(&common),
        number: Cell::default(),
        groups: Cell::default(),
        to: Cell::default(),
        queue: RefCell::default(),
        used: Cell::default(),
        error: Cell::default(),
        readable: WaitQueue::new(),
    });
    let mut all = net.netlink.all.borrow_mut();
    all.retain(|other| other.strong_count() > 0);
    all.push(Weak::clone(&netlink.this));
    drop(all);
    Ok((common, netlink))
}

impl Netlink {
    fn others(&self) -> impl Iterator<Item = Rc<Netlink>> + use<'_> {
        let same = |other: &Rc<Netlink>| other.common.protocol == self.common.protocol;
        self.net.netlink.all().into_iter().filter(same)
    }

    fn is_taken(&self, number: u32) -> bool {
        self.others().any(|other| other.number.get() == number)
    }

    /// Gives the socket a number: the process's, or one nobody has.
    fn number_automatically(&self, cx: &SyscallCx) -> u32 {
        if self.number.get() == 0 {
            let mut number = cx.task.pid() as u32;
            while self.is_taken(number) {
                let last = &self.net.netlink.last_number;
                last.set(last.get().wrapping_add(1));
                number = 0xffff_f000_u32.wrapping_sub(last.get());
            }
            self.number.set(number);
        }
        self.number.get()
    }

    pub(crate) fn protocol(&self) -> u32 {
        self.common.protocol
    }

    pub(crate) fn shown_number(&self) -> u32 {
        self.number.get()
    }

    pub(crate) fn shown_groups(&self) -> u32 {
        self.groups.get()
    }

    pub(crate) fn ino(&self) -> u64 {
        self.common.ino.get()
    }

    pub(crate) fn queued(&self) -> usize {
        self.used.get()
    }

    fn deliver(&self, message: Message) -> bool {
        if self.used.get() + message.data.len() > self.net.allowance(self.common.receive_buffer.get()) {
            self.error.set(Some(Errno::ENOBUFS));
            self.readable.wake_all();
            return false;
        }
        self.used.set(self.used.get() + message.data.len());
        self.net.queued.set(self.net.queued.get() + message.data.len());
        self.queue.borrow_mut().push_back(message);
        self.readable.wake_all();
        true
    }

    fn send_now(&self, cx: &SyscallCx, message: &Outgoing<'_>) -> Result<usize> {
        if message.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if message.data.len() > self.common.send_buffer.limit.get() - 32 {
            return Err(Errno::EMSGSIZE);
        }
        let (to, groups) = match &message.to {
            None => self.to.get(),
            Some(SockAddr::Netlink { pid, groups }) => (*pid, *groups),
            Some(_) => return Err(Errno::EINVAL),
        };
        let privileged = cx.creds().capable(cap::NET_ADMIN);
        if (groups != 0 || to != 0) && !privileged && self.common.protocol != NETLINK_USERSOCK {
            return Err(Errno::EPERM);
        }
        let from = self.number_automatically(cx);
        let creds = cx.creds();
        let creds = message.ancillary.creds.unwrap_or(Ucred { pid: cx.task.pid(), uid: creds.uid, gid: creds.gid });
        if groups != 0 {
            let others: Vec<_> = self.others().filter(|other| other.groups.get() & groups != 0).collect();
            for other in others.iter().filter(|other| !std::ptr::eq(Rc::as_ptr(other), self)) {
                // Messages to groups are lost where there is no room, and the receiver is told.
                other.deliver(Message { data: message.data.to_vec(), from, groups, creds });
            }
        }
        if to != 0 {
            let other = self.others().find(|other| other.number.get() == to).ok_or(Errno::ECONNREFUSED)?;
            if !other.deliver(Message { data: message.data.to_vec(), from, groups: 0, creds }) {
                return Err(Errno::EAGAIN);
            }
        } else if groups == 0 {
            self.ask_kernel(cx, message.data, from)?;
        }
        Ok(message.data.len())
    }

    fn ask_kernel(&self, cx: &SyscallCx, data: &[u8], from: u32) -> Result<()> {
        for request in Request::all(data) {
            if !request.asks() {
                continue;
            }
            let mut answers = Answers::new(&request, from);
            let result = match self.common.protocol {
                NETLINK_ROUTE => route::answer(cx, &request, &mut answers),
                NETLINK_SOCK_DIAG => diag::answer(cx, &request, &mut answers),
                // No family of generic netlink has a name here.
                NETLINK_GENERIC => Err(Errno::ENOENT),
                _ => return Err(Errno::ECONNREFUSED),
            };
            for data in answers.finish(&request, result) {
                self.deliver(Message { data, from: 0, groups: 0, creds: KERNEL });
            }
        }
        Ok(())
    }

    fn take(&self, wanted: Wanted) -> Option<Incoming> {
        let mut queue = self.queue.borrow_mut();
        let first = queue.front()?;
        let incoming = Incoming {
            data: first.data.get(..wanted.max).unwrap_or(&first.data).to_vec(),
            full_len: first.data.len(),
            from: Some(SockAddr::Netlink { pid: first.from, groups: first.groups }),
            ancillary: Ancillary { creds: Some(first.creds), ..Ancillary::default() },
            ..Incoming::default()
        };
        if wanted.flags & MSG_PEEK == 0 {
            let len = first.data.len();
            self.used.set(self.used.get().saturating_sub(len));
            self.net.queued.set(self.net.queued.get().saturating_sub(len));
            queue.pop_front();
        }
        Some(incoming)
    }

    fn try_receive(&self, wanted: Wanted) -> Option<Result<Incoming>> {
        if let Some(errno) = self.error.take() {
            return Some(Err(errno));
        }
        self.take(wanted).map(Ok)
    }
}

impl Protocol for Netlink {
    fn bind<'a>(&'a self, cx: &'a SyscallCx, address: SockAddr) -> Io<'a, Result<()>> {
        Io::ready((|| {
            let SockAddr::Netlink { pid, groups } = address else { return Err(Errno::EINVAL) };
            let open = matches!(self.common.protocol, NETLINK_ROUTE | NETLINK_KOBJECT_UEVENT | NETLINK_GENERIC);
            if groups != 0 && !open && !cx.creds().capable(cap::NET_ADMIN) {
                return Err(Errno::EPERM);
            }
            match (self.number.get(), pid) {
                (0, 0) => {
                    self.number_automatically(cx);
                }
                (0, pid) if self.is_taken(pid) => return Err(Errno::EADDRINUSE),
                (0, pid) => self.number.set(pid),
                (number, pid) if pid != 0 && pid != number => return Err(Errno::EINVAL),
                _ => {}
            }
            self.groups.set(groups);
            Ok(())
        })())
    }

    fn connect<'a>(&'a self, cx: &'a SyscallCx, address: SockAddr, _patience: Patience) -> Io<'a, Result<()>> {
        Io::ready(match address {
            SockAddr::Unspec => {
                self.to.set((0, 0));
                Ok(())
            }
            SockAddr::Netlink { pid, groups } => {
                self.number_automatically(cx);
                self.to.set((pid, groups));
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        })
    }

    fn send<'a>(&'a self, cx: &'a SyscallCx, message: Outgoing<'a>) -> Io<'a, Result<usize>> {
        Io::ready(self.send_now(cx, &message))
    }

    fn receive<'a>(&'a self, cx: &'a SyscallCx, wanted: Wanted) -> Io<'a, Result<Incoming>> {
        if wanted.flags & MSG_OOB != 0 {
            return Io::ready(Err(Errno::EOPNOTSUPP));
        }
        if let Some(done) = self.try_receive(wanted) {
            return Io::ready(done);
        }
        if wanted.patience.nonblock {
            return Io::ready(Err(Errno::EAGAIN));
        }
        Io::later(async move {
            loop {
                let change = self.readable.wait();
                if let Some(done) = self.try_receive(wanted) {
                    return done;
                }
                wanted.patience.wait(cx, change).await?;
            }
        })
    }

    fn local(&self) -> SockAddr {
        SockAddr::Netlink { pid: self.number.get(), groups: self.groups.get() }
    }

    fn peer(&self) -> Result<SockAddr> {
        let (pid, groups) = self.to.get();
        Ok(SockAddr::Netlink { pid, groups })
    }

    fn poll(&self) -> Ready {
        let mut ready = Ready::OUT | Ready::WRNORM | Ready::WRBAND;
        if self.error.get().is_some() {
            ready |= Ready::ERR;
        }
        if !self.queue.borrow().is_empty() {
            ready |= Ready::IN | Ready::RDNORM;
        }
        ready
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        Io::later(self.readable.wait())
    }

    fn take_error(&self) -> Option<Errno> {
        self.error.take()
    }

    fn get_option(&self, _cx: &SyscallCx, level: u32, name: u32, _room: usize) -> Result<Option<Vec<u8>>> {
        const LIST_MEMBERSHIPS: u32 = 9;
        if level != SOL_NETLINK {
            return Ok(None);
        }
        Ok(match name {
            LIST_MEMBERSHIPS => Some(self.groups.get().to_le_bytes().to_vec()),
            3..=5 | 8 | 10..=12 => Some(self.common.value(level, name).to_le_bytes().to_vec()),
            _ => None,
        })
    }

    fn set_option(&self, _cx: &SyscallCx, level: u32, name: u32, value: &[u8]) -> Result<Option<()>> {
        const ADD_MEMBERSHIP: u32 = 1;
        const DROP_MEMBERSHIP: u32 = 2;
        if level != SOL_NETLINK {
            return Ok(None);
        }
        let word = number(value)?;
        match name {
            ADD_MEMBERSHIP | DROP_MEMBERSHIP => {
                let bit = match word {
                    1..=32 => 1u32 << (word - 1),
                    // Groups beyond the first 32 never get a message here.
                    33..=1024 => 0,
                    _ => return Err(Errno::EINVAL),
                };
                let groups = self.groups.get();
                self.groups.set(if name == ADD_MEMBERSHIP { groups | bit } else { groups & !bit });
            }
            // PKTINFO, BROADCAST_ERROR, NO_ENOBUFS, LISTEN_ALL_NSID, CAP_ACK, EXT_ACK, GET_STRICT_CHK
            3..=5 | 8 | 10..=12 => self.common.set_value(level, name, i32::from(word != 0)),
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    fn bytes_waiting(&self) -> Result<usize> {
        Err(Errno::ENOTTY)
    }

    fn bytes_sent(&self) -> Result<usize> {
        Err(Errno::ENOTTY)
    }

    fn keeps_borders(&self) -> bool {
        true
    }

    fn common(&self) -> Rc<Common> {
        Rc::clone(&self.common)
    }

    fn release(&self) {
        self.net.queued.set(self.net.queued.get().saturating_sub(self.used.replace(0)));
        self.queue.borrow_mut().clear();
        self.net.netlink.all.borrow_mut().retain(|other| !std::ptr::eq(other.as_ptr(), self));
    }
}

/// A netlink message header (`struct nlmsghdr`).
fn header(len: usize, kind: u16, flags: u16, sequence: u32, to: u32) -> [u8; 16] {
    let mut raw = [0; 16];
    let mut writer = Writer::new(&mut raw);
    writer.u32(0, len as u32);
    writer.u16(4, kind);
    writer.u16(6, flags);
    writer.u32(8, sequence);
    writer.u32(12, to);
    raw
}

/// A word of a request; beyond its end there are zeros.
fn word(raw: &[u8], at: usize) -> u32 {
    Reader::new(raw).u32(at)
}
