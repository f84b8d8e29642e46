//! Datagrams (udp(7)).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::{Rc, Weak};

use linux_abi::poll::Ready;
use linux_abi::socket::*;
use linux_abi::time::Timespec;
use vm_rt::{Io, WaitQueue};

use super::ports::{Bound, Table};
use super::{address_to_bind, any, canonical, control, options, route, shown, source_for};
use crate::net::Net;
use crate::net::options::Common;
use crate::net::protocol::{Incoming, Outgoing, Patience, Protocol, Wanted, shut};
use crate::{Errno, Result, SyscallCx};

/// A datagram that waits.
pub(super) struct Datagram {
    pub(super) data: Vec<u8>,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) when: Timespec,
    pub(super) header: control::Header,
}

impl Datagram {
    /// What it costs the receive buffer: Linux's bookkeeping goes with the bytes.
    fn cost(&self) -> usize {
        256 + (self.data.len() + 320).next_power_of_two().max(512).min(self.data.len() + 4096)
    }
}

/// Datagrams that came, up to what the receive buffer holds.
#[derive(Default)]
pub(super) struct Inbox {
    queue: RefCell<VecDeque<Datagram>>,
    used: Cell<usize>,
    pub(super) dropped: Cell<u32>,
    pub(super) readable: WaitQueue,
}

impl Inbox {
    /// Takes a datagram in, or drops it if there is no room.
    pub(super) fn deliver(&self, net: &Net, limit: usize, datagram: Datagram) {
        let cost = datagram.cost();
        if self.used.get() >= net.allowance(limit) {
            self.dropped.set(self.dropped.get().wrapping_add(1));
            return;
        }
        self.used.set(self.used.get() + cost);
        net.queued.set(net.queued.get() + cost);
        self.queue.borrow_mut().push_back(datagram);
        self.readable.wake_all();
    }

    /// The next datagram as a message, if there is one.
    pub(super) fn take(&self, cx: &SyscallCx, common: &Common, net: &Net, wanted: Wanted) -> Option<Incoming> {
        let mut queue = self.queue.borrow_mut();
        let first = queue.front()?;
        let full_len = first.data.len();
        let from = Some(shown(common, Some(first.from)));
        let control = control::about(common, cx.width(), first.to, first.when, first.header);
        let data = if wanted.flags & MSG_PEEK != 0 {
            first.data.get(..wanted.max).unwrap_or(&first.data).to_vec()
        } else {
            let cost = first.cost();
            self.used.set(self.used.get().saturating_sub(cost));
            net.queued.set(net.queued.get().saturating_sub(cost));
            let mut data = queue.pop_front().map(|datagram| datagram.data).unwrap_or_default();
            data.truncate(wanted.max);
            data
        };
        Some(Incoming { data, full_len, from, control, ..Incoming::default() })
    }

    pub(super) fn first_len(&self) -> usize {
        self.queue.borrow().front().map_or(0, |datagram| datagram.data.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    pub(super) fn used(&self) -> usize {
        self.used.get()
    }

    pub(super) fn clear(&self, net: &Net) {
        let queue = std::mem::take(&mut *self.queue.borrow_mut());
        net.queued.set(net.queued.get().saturating_sub(self.used.replace(0)));
        drop(queue);
    }
}

/// A socket for datagrams.
pub(crate) struct Udp {
    this: Weak<Udp>,
    net: Rc<Net>,
    common: Rc<Common>,
    local: Cell<Option<SocketAddr>>,
    /// bind(2) named the address.
    bound_address: Cell<bool>,
    remote: Cell<Option<SocketAddr>>,
    shut: Cell<u8>,
    error: Cell<Option<Errno>>,
    inbox: Inbox,
}

impl Udp {
    /// The ports of the protocol it speaks: UDP, or UDP-Lite (RFC 3828), which is the same where nothing is ever damaged.
    fn ports(&self) -> &Table<Udp> {
        if self.common.protocol == IPPROTO_UDPLITE { &self.net.inet.udplite } else { &self.net.inet.udp }
    }

    pub(super) fn new(net: &Rc<Net>, common: Rc<Common>) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            net: Rc::clone(net),
            common,
            local: Cell::default(),
            bound_address: Cell::default(),
            remote: Cell::default(),
            shut: Cell::default(),
            error: Cell::default(),
            inbox: Inbox::default(),
        })
    }

    fn strong(&self) -> Rc<Self> {
        self.this.upgrade().expect("a socket lives in the Rc that its constructor made")
    }

    /// Its own address and the other end's, zeros where there is none.
    pub(crate) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let none = SocketAddr::new(any(self.common.family), 0);
        (self.local.get().unwrap_or(none), self.remote.get().unwrap_or(none))
    }

    /// Whether connect(2) named the other end.
    pub(crate) fn is_connected(&self) -> bool {
        self.remote.get().is_some()
    }

    /// What the receive buffer holds, and how many datagrams did not fit.
    pub(crate) fn received(&self) -> (usize, u32) {
        (self.inbox.used(), self.inbox.dropped.get())
    }

    fn bind_automatically(&self) -> Result<SocketAddr> {
        if let Some(local) = self.local.get() {
            return Ok(local);
        }
        let taken = self.ports().take(&self.strong(), SocketAddr::new(any(self.common.family), 0))?;
        self.local.set(Some(taken));
        Ok(taken)
    }

    fn connect_to(&self, address: &SockAddr) -> Result<()> {
        if *address == SockAddr::Unspec {
            self.remote.set(None);
            if let Some(local) = self.local.get() {
                // The port stays, whoever chose it.
                if !self.bound_address.get() {
                    self.local.set(Some(SocketAddr::new(any(self.common.family), local.port())));
                }
            }
            return Ok(());
        }
        let to = canonical(&self.common, address)?;
        if is_broadcast(to.ip()) && !self.common.is_on(SOL_SOCKET, SO_BROADCAST) {
            return Err(Errno::EACCES);
        }
        let to = SocketAddr::new(route(to.ip())?, to.port());
        let local = self.bind_automatically()?;
        if local.ip().is_unspecified() {
            self.local.set(Some(SocketAddr::new(source_for(to.ip()), local.port())));
        } else if local.is_ipv4() != to.is_ipv4() {
            return Err(Errno::EINVAL);
        }
        self.remote.set(Some(to));
        Ok(())
    }

    fn send_now(&self, cx: &SyscallCx, message: &Outgoing<'_>) -> Result<usize> {
        if message.data.len() > 0xffff {
            return Err(Errno::EMSGSIZE);
        }
        if message.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let to = match &message.to {
            None => self.remote.get().ok_or(Errno::EDESTADDRREQ)?,
            Some(address) => {
                let to = canonical(&self.common, address)?;
                if to.port() == 0 {
                    return Err(Errno::EINVAL);
                }
                to
            }
        };
        let broadcast = is_broadcast(to.ip());
        if broadcast && !self.common.is_on(SOL_SOCKET, SO_BROADCAST) {
            return Err(Errno::EACCES);
        }
        let to = SocketAddr::new(route(to.ip())?, to.port());
        if self.shut.get() & shut::WRITE != 0 {
            return Err(Errno::EPIPE);
        }
        if let Some(errno) = self.error.take() {
            return Err(errno);
        }
        let headers = if to.is_ipv4() { 28 } else { 8 };
        if message.data.len() > 0xffff - headers {
            return Err(Errno::EMSGSIZE);
        }
        let local = self.bind_automatically()?;
        let source = if local.ip().is_unspecified() { source_for(to.ip()) } else { local.ip() };
        let from = SocketAddr::new(source, local.port());
        let header = control::Header::new(&self.common, to.ip(), &message.ancillary.header)?;
        self.net.loopback.count(message.data.len() + headers);
        let datagram = Datagram { data: message.data.to_vec(), from, to, when: cx.now(), header };
        // Nobody is told that nobody takes a broadcast.
        if !self.deliver(datagram) && !broadcast && (self.remote.get().is_some() || self.wants_errors()) {
            self.error.set(Some(Errno::ECONNREFUSED));
            self.inbox.readable.wake_all();
        }
        Ok(message.data.len())
    }

    fn wants_errors(&self) -> bool {
        self.common.is_on(IPPROTO_IP, IP_RECVERR) || self.common.is_on(IPPROTO_IPV6, IPV6_RECVERR)
    }

    /// Gives a datagram to the socket it is for; tells whether there is one.
    fn deliver(&self, datagram: Datagram) -> bool {
        let hash = u64::from(datagram.from.port());
        let from = datagram.from;
        let found = self.ports().find(datagram.to, hash, |other| match other.remote.get() {
            None => 1,
            Some(remote) if remote == from => 2,
            Some(_) => 0,
        });
        let Some(target) = found else { return false };
        target.inbox.deliver(&self.net, target.common.receive_buffer.get(), datagram);
        true
    }

    fn try_receive(&self, cx: &SyscallCx, wanted: Wanted) -> Option<Result<Incoming>> {
        if wanted.flags & MSG_ERRQUEUE != 0 {
            // Errors are told by the calls themselves; nothing waits.
            return Some(Err(Errno::EAGAIN));
        }
        if let Some(errno) = self.error.take() {
            return Some(Err(errno));
        }
        if let Some(incoming) = self.inbox.take(cx, &self.common, &self.net, wanted) {
            return Some(Ok(incoming));
        }
        // Only a call that waits is told of the end.
        (self.shut.get() & shut::READ != 0 && !wanted.patience.nonblock).then(|| Ok(Incoming::default()))
    }
}

/// Whether an address means everybody on the network.
fn is_broadcast(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::new(127, 255, 255, 255))
}

impl Bound for Udp {
    fn common(&self) -> &Common {
        &self.common
    }

    fn local(&self) -> Option<SocketAddr> {
        self.local.get()
    }

    fn listens(&self) -> bool {
        false
    }
}

impl Protocol for Udp {
    fn bind<'a>(&'a self, cx: &'a SyscallCx, address: SockAddr) -> Io<'a, Result<()>> {
        Io::ready((|| {
            let address = address_to_bind(cx, &self.common, &address)?;
            if self.local.get().is_some() {
                return Err(Errno::EINVAL);
            }
            let taken = self.ports().take(&self.strong(), address)?;
            self.local.set(Some(taken));
            self.bound_address.set(!address.ip().is_unspecified());
            Ok(())
        })())
    }

    fn connect<'a>(&'a self, _cx: &'a SyscallCx, address: SockAddr, _patience: Patience) -> Io<'a, Result<()>> {
        Io::ready(self.connect_to(&address))
    }

    fn send<'a>(&'a self, cx: &'a SyscallCx, message: Outgoing<'a>) -> Io<'a, Result<usize>> {
        Io::ready(self.send_now(cx, &message))
    }

    fn receive<'a>(&'a self, cx: &'a SyscallCx, wanted: Wanted) -> Io<'a, Result<Incoming>> {
        if let Some(done) = self.try_receive(cx, wanted) {
            return Io::ready(done);
        }
        if wanted.patience.nonblock {
            return Io::ready(Err(Errno::EAGAIN));
        }
        Io::later(async move {
            loop {
                let change = self.inbox.readable.wait();
                if let Some(done) = self.try_receive(cx, wanted) {
                    return done;
                }
                wanted.patience.wait(cx, change).await?;
            }
        })
    }

    fn shutdown(&self, how: u8) -> Result<()> {
        self.shut.set(self.shut.get() | how);
        self.inbox.readable.wake_all();
        if self.remote.get().is_some() { Ok(()) } else { Err(Errno::ENOTCONN) }
    }

    fn local(&self) -> SockAddr {
        shown(&self.common, self.local.get())
    }

    fn peer(&self) -> Result<SockAddr> {
        let remote = self.remote.get().filter(|remote| remote.port() != 0).ok_or(Errno::ENOTCONN)?;
        Ok(shown(&self.common, Some(remote)))
    }

    fn poll(&self) -> Ready {
        let mut ready = Ready::OUT | Ready::WRNORM | Ready::WRBAND;
        if self.error.get().is_some() {
            ready |= Ready::ERR;
        }
        if self.shut.get() & shut::READ != 0 {
            ready |= Ready::RDHUP | Ready::IN | Ready::RDNORM;
        }
        if self.shut.get() == shut::BOTH {
            ready |= Ready::HUP;
        }
        if !self.inbox.is_empty() {
            ready |= Ready::IN | Ready::RDNORM;
        }
        ready
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        Io::later(self.inbox.readable.wait())
    }

    fn take_error(&self) -> Option<Errno> {
        self.error.take()
    }

    fn get_option(&self, _cx: &SyscallCx, level: u32, name: u32, room: usize) -> Result<Option<Vec<u8>>> {
        options::get(&self.common, level, name, room, self.remote.get().is_some())
    }

    fn set_option(&self, _cx: &SyscallCx, level: u32, name: u32, value: &[u8]) -> Result<Option<()>> {
        options::set(&self.common, level, name, value, self.local.get().is_some())
    }

    fn bytes_waiting(&self) -> Result<usize> {
        Ok(self.inbox.first_len())
    }

    fn keeps_borders(&self) -> bool {
        true
    }

    fn common(&self) -> Rc<Common> {
        Rc::clone(&self.common)
    }

    fn release(&self) {
        self.inbox.clear(&self.net);
        if let Some(local) = self.local.take() {
            self.ports().remove(self, local.port());
        }
    }
}
