//! Connections (tcp(7)) whose two ends are both here.
//!
//! A segment never exists: what one end sends is appended to the other's queue, a FIN is [`Tcp::fin_arrived`], a RST is
//! [`Tcp::reset_arrived`]. Both happen before the call that caused them returns, as on Linux's loopback interface. `connect`
//! has the beginning of a connection, `transfer` its bytes.

mod connect;
mod transfer;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use linux_abi::poll::Ready;
use linux_abi::socket::*;
use vm_rt::{Io, WaitQueue, first_of};

use super::ports::Bound;
use super::{address_to_bind, options, shown};
use crate::net::Net;
use crate::net::flow::Charge;
use crate::net::options::Common;
use crate::net::protocol::{Incoming, Outgoing, Patience, Protocol, Wanted, shut};
use crate::{Errno, Result, SyscallCx};

/// SO_SNDBUF and SO_RCVBUF before there is a connection.
const SEND_BUFFER_FIRST: usize = 16_384;
const RECEIVE_BUFFER_FIRST: usize = 131_072;
/// SO_SNDBUF of a connection over loopback, unless it was set.
const SEND_BUFFER_CONNECTED: usize = 2_626_560;

/// Where a connection is (RFC 9293), as `/proc/net/tcp` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Established,
    SynSent,
    /// This end has finished.
    FinWait2,
    Closed,
    /// The other end has finished.
    CloseWait,
    Listen,
}

impl State {
    /// The number that Linux gives it.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Established => 1,
            Self::SynSent => 2,
            Self::FinWait2 => 5,
            Self::Closed => 7,
            Self::CloseWait => 8,
            Self::Listen => 10,
        }
    }
}

/// One end of a connection, or a socket that has none.
pub(crate) struct Tcp {
    this: Weak<Tcp>,
    net: Rc<Net>,
    common: Rc<Common>,
    state: Cell<State>,
    local: Cell<Option<SocketAddr>>,
    /// bind(2) named the port, so it stays when a connection is dissolved.
    bound: Cell<bool>,
    remote: Cell<Option<SocketAddr>>,
    /// The other end, while its socket is open.
    peer: RefCell<Option<Rc<Tcp>>>,
    /// connect(2) did not wait, and nobody has asked for the result yet.
    connecting: Cell<bool>,
    /// Bits of [`shut`].
    shut: Cell<u8>,
    /// The other end's FIN came: the end of the stream, whatever happens later.
    finished: Cell<bool>,
    error: Cell<Option<Errno>>,
    queue: RefCell<VecDeque<u8>>,
    /// What is in the queue, charged to the other end's send buffer.
    charge: RefCell<Option<Charge>>,
    /// Bytes received and sent so far.
    received: Cell<u64>,
    sent: Cell<u64>,
    /// The urgent byte: where it is in the stream, and its value until it was read.
    urgent: Cell<Option<(u64, Option<u8>)>>,
    /// Connections nobody accepted yet.
    pending: RefCell<VecDeque<Rc<Tcp>>>,
    /// Sockets that wait for room in `pending`.
    waiting: RefCell<VecDeque<Weak<Tcp>>>,
    backlog: Cell<usize>,
    dead: Cell<bool>,
    readable: WaitQueue,
}

impl Tcp {
    /// A socket without a connection.
    pub(super) fn new(net: &Rc<Net>, common: Rc<Common>) -> Rc<Self> {
        common.send_buffer.limit.set(SEND_BUFFER_FIRST);
        common.receive_buffer.set(RECEIVE_BUFFER_FIRST);
        Self::with(net, common)
    }

    fn with(net: &Rc<Net>, common: Rc<Common>) -> Rc<Self> {
        common.send_buffer.writable_below.set(2);
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            net: Rc::clone(net),
            common,
            state: Cell::new(State::Closed),
            local: Cell::default(),
            bound: Cell::default(),
            remote: Cell::default(),
            peer: RefCell::default(),
            connecting: Cell::default(),
            shut: Cell::default(),
            finished: Cell::default(),
            error: Cell::default(),
            queue: RefCell::default(),
            charge: RefCell::default(),
            received: Cell::default(),
            sent: Cell::default(),
            urgent: Cell::default(),
            pending: RefCell::default(),
            waiting: RefCell::default(),
            backlog: Cell::default(),
            dead: Cell::default(),
            readable: WaitQueue::new(),
        })
    }

    fn strong(&self) -> Rc<Self> {
        self.this.upgrade().expect("a socket lives in the Rc that its constructor made")
    }

    /// Where the connection is.
    pub(crate) fn state(&self) -> State {
        self.state.get()
    }

    /// Its own address and the other end's, zeros where there is none.
    pub(crate) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let none = SocketAddr::new(super::any(self.common.family), 0);
        (self.local.get().unwrap_or(none), self.remote.get().unwrap_or(none))
    }

    /// Bytes that wait to be sent and received; for a listening socket the backlog and the connections that wait.
    pub(crate) fn queues(&self) -> (usize, usize) {
        if self.state.get() == State::Listen {
            return (self.backlog.get(), self.pending.borrow().len());
        }
        (0, self.queue.borrow().len())
    }

    fn is_shut(&self, how: u8) -> bool {
        self.shut.get() & how == how
    }

    fn peer_now(&self) -> Option<Rc<Tcp>> {
        self.peer.borrow().clone()
    }

    fn changed(&self) {
        self.readable.wake_all();
        self.common.send_buffer.room.wake_all();
    }

    /// The other end sent a FIN.
    fn fin_arrived(&self) {
        self.shut.set(self.shut.get() | shut::READ);
        self.finished.set(true);
        match self.state.get() {
            State::Established => self.state.set(State::CloseWait),
            State::FinWait2 => self.finish(),
            _ => {}
        }
        self.changed();
    }

    /// The other end sent a RST.
    fn reset_arrived(&self) {
        let errno = match self.state.get() {
            State::Closed | State::Listen => return,
            State::SynSent => Errno::ECONNREFUSED,
            State::CloseWait => Errno::EPIPE,
            State::Established | State::FinWait2 => Errno::ECONNRESET,
        };
        self.error.set(Some(errno));
        self.finish();
        self.changed();
    }

    /// The connection is over in both directions.
    fn finish(&self) {
        self.state.set(State::Closed);
        self.shut.set(shut::BOTH);
        drop(self.peer.take());
    }

    /// Sends a FIN, unless one was sent.
    fn send_fin(&self) {
        let next = match self.state.get() {
            State::Established => State::FinWait2,
            State::CloseWait => State::Closed,
            _ => return,
        };
        self.state.set(next);
        let peer = self.peer_now();
        if next == State::Closed {
            self.finish();
        }
        if let Some(peer) = peer {
            peer.fin_arrived();
        }
    }

    /// Drops the connection so that the other end sees a RST.
    fn send_reset(&self) {
        let peer = self.peer.take();
        self.finish();
        if let Some(peer) = peer {
            peer.reset_arrived();
        }
    }

    fn give_up_port(&self) {
        if let Some(local) = self.local.take() {
            self.net.inet.tcp.remove(self, local.port());
        }
        self.bound.set(false);
    }

    fn clear_queue(&self) {
        let queue = std::mem::take(&mut *self.queue.borrow_mut());
        drop(queue);
        drop(self.charge.take());
        self.urgent.set(None);
    }
}

impl Bound for Tcp {
    fn common(&self) -> &Common {
        &self.common
    }

    fn local(&self) -> Option<SocketAddr> {
        self.local.get()
    }

    fn listens(&self) -> bool {
        self.state.get() == State::Listen
    }

    fn is_shareable(&self) -> bool {
        !self.bound.get() && self.remote.get().is_some()
    }
}

impl Protocol for Tcp {
    fn bind<'a>(&'a self, cx: &'a SyscallCx, address: SockAddr) -> Io<'a, Result<()>> {
        Io::ready((|| {
            let address = address_to_bind(cx, &self.common, &address)?;
            if self.local.get().is_some() || self.state.get() != State::Closed {
                return Err(Errno::EINVAL);
            }
            let taken = self.net.inet.tcp.take(&self.strong(), address)?;
            self.local.set(Some(taken));
            self.bound.set(true);
            Ok(())
        })())
    }

    fn connect<'a>(&'a self, cx: &'a SyscallCx, address: SockAddr, patience: Patience) -> Io<'a, Result<()>> {
        Io::later(connect::connect(self, cx, address, patience))
    }

    fn listen(&self, _cx: &SyscallCx, backlog: usize) -> Result<()> {
        connect::listen(self, backlog)
    }

    fn accept<'a>(&'a self, cx: &'a SyscallCx, patience: Patience) -> Io<'a, Result<Rc<dyn Protocol>>> {
        Io::later(connect::accept(self, cx, patience))
    }

    fn send<'a>(&'a self, cx: &'a SyscallCx, message: Outgoing<'a>) -> Io<'a, Result<usize>> {
        transfer::send(self, cx, message)
    }

    fn receive<'a>(&'a self, cx: &'a SyscallCx, wanted: Wanted) -> Io<'a, Result<Incoming>> {
        transfer::receive(self, cx, wanted)
    }

    fn shutdown(&self, how: u8) -> Result<()> {
        match self.state.get() {
            State::Closed => {
                self.shut.set(self.shut.get() | how);
                self.changed();
                return Err(Errno::ENOTCONN);
            }
            State::Listen if how & shut::READ == 0 => {}
            State::Listen | State::SynSent => connect::disconnect(self),
            _ => {
                self.shut.set(self.shut.get() | how);
                if how & shut::WRITE != 0 {
                    self.send_fin();
                }
            }
        }
        self.changed();
        Ok(())
    }

    fn local(&self) -> SockAddr {
        shown(&self.common, self.local.get())
    }

    fn peer(&self) -> Result<SockAddr> {
        match self.state.get() {
            State::Closed | State::SynSent | State::Listen => Err(Errno::ENOTCONN),
            _ => Ok(shown(&self.common, Some(self.remote.get().ok_or(Errno::ENOTCONN)?))),
        }
    }

    fn accepted_peer(&self) -> Result<SockAddr> {
        // It may have gone already.
        Ok(shown(&self.common, Some(self.remote.get().ok_or(Errno::ENOTCONN)?)))
    }

    fn poll(&self) -> Ready {
        let state = self.state.get();
        if state == State::Listen {
            let some = !self.pending.borrow().is_empty();
            return if some { Ready::IN | Ready::RDNORM } else { Ready::NONE };
        }
        let mut ready = Ready::NONE;
        if self.is_shut(shut::BOTH) || state == State::Closed {
            ready |= Ready::HUP;
        }
        if self.is_shut(shut::READ) {
            ready |= Ready::IN | Ready::RDNORM | Ready::RDHUP;
        }
        if state != State::SynSent {
            if transfer::is_readable(self) {
                ready |= Ready::IN | Ready::RDNORM;
            }
            if self.is_shut(shut::WRITE) || self.common.send_buffer.is_writable() {
                ready |= Ready::OUT | Ready::WRNORM;
            }
            if matches!(self.urgent.get(), Some((_, Some(_)))) {
                ready |= Ready::PRI;
            }
        }
        if self.error.get().is_some() {
            ready |= Ready::ERR;
        }
        ready
    }

    fn wait(&self, interest: Ready) -> Io<'static, ()> {
        let readable = self.readable.wait();
        if !interest.intersects(Ready::OUT | Ready::WRNORM | Ready::WRBAND) {
            return Io::later(readable);
        }
        let room = self.common.send_buffer.room.wait();
        Io::later(async move {
            first_of(readable, room).await;
        })
    }

    fn take_error(&self) -> Option<Errno> {
        self.error.take()
    }

    fn is_listening(&self) -> bool {
        self.state.get() == State::Listen
    }

    fn get_option(&self, _cx: &SyscallCx, level: u32, name: u32, room: usize) -> Result<Option<Vec<u8>>> {
        let connected = matches!(self.state.get(), State::Established | State::CloseWait | State::FinWait2);
        Ok(Some(match (level, name) {
            (IPPROTO_TCP, TCP_MAXSEG) => options::segment_size(&self.common, connected).to_le_bytes().to_vec(),
            (IPPROTO_TCP, TCP_INFO) => {
                options::tcp_info(&self.common, self.state.get(), self.received.get(), self.sent.get())
            }
            (IPPROTO_TCP, TCP_CONGESTION) => b"cubic\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            (IPPROTO_TCP, TCP_ULP) => Vec::new(),
            _ => return options::get(&self.common, level, name, room, connected),
        }))
    }

    fn set_option(&self, _cx: &SyscallCx, level: u32, name: u32, value: &[u8]) -> Result<Option<()>> {
        match (level, name) {
            (IPPROTO_TCP, TCP_MAXSEG) => {
                let size = crate::net::options::number(value)?;
                return if size != 0 && !(88..=32_767).contains(&size) { Err(Errno::EINVAL) } else { Ok(Some(())) };
            }
            (IPPROTO_TCP, TCP_INFO) => return Err(Errno::ENOPROTOOPT),
            (IPPROTO_TCP, TCP_CONGESTION) => {
                let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
                return if matches!(name, b"cubic" | b"reno") { Ok(Some(())) } else { Err(Errno::ENOENT) };
            }
            // Transport encryption in the kernel: programs do it themselves.
            (IPPROTO_TCP, TCP_ULP) => return Err(Errno::ENOENT),
            _ => {}
        }
        options::set(&self.common, level, name, value, self.local.get().is_some())
    }

    fn bytes_waiting(&self) -> Result<usize> {
        if self.state.get() == State::Listen {
            return Err(Errno::EINVAL);
        }
        Ok(transfer::waiting(self))
    }

    fn bytes_sent(&self) -> Result<usize> {
        // What the other end has not read has arrived there all the same.
        if self.state.get() == State::Listen { Err(Errno::EINVAL) } else { Ok(0) }
    }

    fn at_mark(&self) -> Result<bool> {
        Ok(self.urgent.get().is_some_and(|(at, _)| at == self.received.get()))
    }

    fn sends_sigpipe(&self) -> bool {
        true
    }

    fn keeps_borders(&self) -> bool {
        false
    }

    fn common(&self) -> Rc<Common> {
        Rc::clone(&self.common)
    }

    fn release(&self) {
        self.dead.set(true);
        match self.state.get() {
            State::Listen | State::SynSent => connect::disconnect(self),
            State::Closed => {}
            State::Established | State::CloseWait | State::FinWait2 => {
                let unread = !self.queue.borrow().is_empty();
                if unread || self.common.linger.get() == Some(0) {
                    self.send_reset();
                } else {
                    self.send_fin();
                    // What still comes is answered with a RST.
                    if let Some(peer) = self.peer.take() {
                        let ours = peer.peer.borrow().as_ref().is_some_and(|back| std::ptr::eq(Rc::as_ptr(back), self));
                        if ours {
                            drop(peer.peer.take());
                        }
                    }
                }
            }
        }
        self.clear_queue();
        self.give_up_port();
    }
}
