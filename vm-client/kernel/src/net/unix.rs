//! Unix sockets (unix(7)).
//!
//! Messages wait in the queue of the socket that will receive them and are charged to the send buffer of the one that sent
//! them, so a sender waits for its own buffer and a reader for its own queue. Sockets refer to each other until they close.

mod address;
mod datagram;
mod stream;

pub(crate) use address::Names;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use linux_abi::poll::Ready;
use linux_abi::socket::*;
use vm_rt::{Io, WaitQueue, first_of};

use super::Net;
use super::flow::Charge;
use super::options::Common;
use super::protocol::{Ancillary, Incoming, Outgoing, Patience, Protocol, Wanted, shut};
use crate::task::Credentials;
use crate::vfs::{OpenFile, Path};
use crate::{Errno, Result, SyscallCx};

/// What a socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Unconnected,
    Listening,
    Connected,
}

/// Who is at the other end (SO_PEERCRED, SO_PEERGROUPS).
#[derive(Clone)]
pub(crate) struct PeerCredentials {
    ucred: Ucred,
    groups: Vec<u32>,
}

impl PeerCredentials {
    fn of(cx: &SyscallCx, creds: &Credentials) -> Self {
        let ucred = Ucred { pid: cx.task.pid(), uid: creds.euid, gid: creds.egid };
        Self { ucred, groups: creds.groups.clone() }
    }
}

/// A message, or a part of a stream, that waits to be received.
struct Message {
    data: Vec<u8>,
    /// Bytes of `data` that were received.
    taken: usize,
    from: UnixName,
    ancillary: Ancillary,
    charge: Charge,
}

impl Message {
    fn rest(&self) -> &[u8] {
        self.data.get(self.taken..).unwrap_or_default()
    }
}

/// A Unix socket.
pub(crate) struct Unix {
    this: Weak<Unix>,
    net: Rc<Net>,
    pub(crate) common: Rc<Common>,
    pub(crate) state: Cell<State>,
    pub(crate) name: RefCell<UnixName>,
    /// Keeps the inode of a path name.
    place: RefCell<Option<Path>>,
    peer: RefCell<Option<Rc<Unix>>>,
    /// Its last descriptor is gone.
    dead: Cell<bool>,
    /// Bits of [`shut`].
    shut: Cell<u8>,
    error: Cell<Option<Errno>>,
    queue: RefCell<VecDeque<Message>>,
    /// Connections nobody accepted yet.
    pending: RefCell<VecDeque<Rc<Unix>>>,
    backlog: Cell<usize>,
    /// What connecting sockets will see of this one.
    own_credentials: RefCell<Option<PeerCredentials>>,
    peer_credentials: RefCell<Option<PeerCredentials>>,
    /// Woken when something can be received or accepted, and when the state changed.
    readable: WaitQueue,
    /// Woken when the queue of messages or connections has room again.
    queue_room: WaitQueue,
}

/// Messages that may wait for one socket (net.unix.max_dgram_qlen).
pub(crate) const MAX_DGRAM_QLEN: usize = 10;
/// The longest backlog (net.core.somaxconn).
pub(crate) const SOMAXCONN: usize = 4096;

/// socket(2).
pub(super) fn create(cx: &SyscallCx, kind: u32, protocol: u32) -> Result<(Rc<Common>, Rc<dyn Protocol>)> {
    let unix = Unix::of_type(cx, kind, protocol)?;
    Ok((Rc::clone(&unix.common), unix))
}

/// socketpair(2).
pub(crate) fn pair(cx: &SyscallCx, kind: u32, protocol: u32) -> Result<[Rc<Unix>; 2]> {
    let (a, b) = (Unix::of_type(cx, kind, protocol)?, Unix::of_type(cx, kind, protocol)?);
    let creds = PeerCredentials::of(cx, &cx.creds());
    for (one, other) in [(&a, &b), (&b, &a)] {
        one.common.uid.set(cx.creds().fsuid);
        *one.peer.borrow_mut() = Some(Rc::clone(other));
        *one.peer_credentials.borrow_mut() = Some(creds.clone());
        *one.own_credentials.borrow_mut() = Some(creds.clone());
        one.state.set(State::Connected);
    }
    Ok([a, b])
}

impl Unix {
    fn of_type(cx: &SyscallCx, kind: u32, protocol: u32) -> Result<Rc<Self>> {
        if !matches!(protocol, 0 | 1) {
            return Err(Errno::EPROTONOSUPPORT);
        }
        let kind = match kind {
            SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET => kind,
            SOCK_RAW => SOCK_DGRAM,
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        };
        let net = &cx.kernel.net;
        Ok(Self::with(net, Common::new(AF_UNIX, kind, 0, &net.queued)))
    }

    fn with(net: &Rc<Net>, common: Rc<Common>) -> Rc<Self> {
        let unix = Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            net: Rc::clone(net),
            common,
            state: Cell::new(State::Unconnected),
            name: RefCell::default(),
            place: RefCell::default(),
            peer: RefCell::default(),
            dead: Cell::default(),
            shut: Cell::new(shut::NONE),
            error: Cell::default(),
            queue: RefCell::default(),
            pending: RefCell::default(),
            backlog: Cell::new(MAX_DGRAM_QLEN),
            own_credentials: RefCell::default(),
            peer_credentials: RefCell::default(),
            readable: WaitQueue::new(),
            queue_room: WaitQueue::new(),
        });
        net.unix.register(&unix);
        unix
    }

    fn strong(&self) -> Rc<Self> {
        self.this.upgrade().expect("a socket lives in the Rc that its constructor made")
    }

    fn is_datagram(&self) -> bool {
        self.common.kind == SOCK_DGRAM
    }

    pub(crate) fn peer_now(&self) -> Option<Rc<Unix>> {
        self.peer.borrow().clone()
    }

    /// Tells everybody that something about the socket changed.
    fn changed(&self) {
        self.readable.wake_all();
        self.common.send_buffer.room.wake_all();
        self.queue_room.wake_all();
    }

    fn shut_has(&self, how: u8) -> bool {
        self.shut.get() & how == how
    }

    /// What the kernel says about the sender, if either end asked for it.
    fn credentials_for(&self, cx: &SyscallCx, other: &Unix) -> Option<Ucred> {
        let asked = self.common.passes_credentials.get()
            || other.common.passes_credentials.get()
            || (other.common.ino.get() == 0 && !self.is_datagram());
        asked.then(|| {
            let creds = cx.creds();
            Ucred { pid: cx.task.pid(), uid: creds.uid, gid: creds.gid }
        })
    }

    /// Puts a message into the queue.
    fn enqueue(&self, message: Message) {
        self.queue.borrow_mut().push_back(message);
        self.readable.wake_all();
    }

    /// Files that wait in the queue, those of connections nobody accepted included.
    pub(crate) fn files_in_queue(&self) -> Vec<Rc<OpenFile>> {
        let mut files = Vec::new();
        for message in &*self.queue.borrow() {
            if let Some(rights) = &message.ancillary.rights {
                files.extend(rights.files().iter().cloned());
            }
        }
        for embryo in &*self.pending.borrow() {
            files.extend(embryo.files_in_queue());
        }
        files
    }

    /// Drops what waits in the queue.
    pub(crate) fn forget_queue(&self) {
        let queue = std::mem::take(&mut *self.queue.borrow_mut());
        drop(queue);
        let pending = std::mem::take(&mut *self.pending.borrow_mut());
        for embryo in pending {
            embryo.close(Embryo::Yes);
        }
    }

    fn close(&self, embryo: Embryo) {
        if self.dead.replace(true) {
            return;
        }
        self.net.unix.forget(self);
        let unread = !self.queue.borrow().is_empty() || embryo == Embryo::Yes;
        self.state.set(State::Unconnected);
        self.shut.set(shut::BOTH);
        let peer = self.peer.take();
        if let (Some(peer), false) = (&peer, self.is_datagram()) {
            peer.shut.set(shut::BOTH);
            if unread {
                peer.error.set(Some(Errno::ECONNRESET));
            }
            peer.changed();
        }
        self.forget_queue();
        drop(self.place.take());
        self.changed();
        // Not before everything above: what waits for this socket may be garbage now.
        self.net.rights.collect();
    }

    /// Connections and bytes that wait: for /proc/net/unix and sock_diag.
    pub(crate) fn waiting(&self) -> usize {
        if self.state.get() == State::Listening {
            self.pending.borrow().len()
        } else {
            self.queue.borrow().iter().map(|message| message.rest().len()).sum()
        }
    }

    pub(crate) fn backlog(&self) -> usize {
        self.backlog.get()
    }

    pub(crate) fn place_of_name(&self) -> Option<Path> {
        self.place.borrow().clone()
    }
}

/// Whether a socket closes that nobody accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Embryo {
    Yes,
    No,
}

impl Protocol for Unix {
    fn bind<'a>(&'a self, cx: &'a SyscallCx, address: SockAddr) -> Io<'a, Result<()>> {
        Io::later(address::bind(self, cx, address))
    }

    fn connect<'a>(&'a self, cx: &'a SyscallCx, address: SockAddr, patience: Patience) -> Io<'a, Result<()>> {
        if self.is_datagram() {
            Io::later(datagram::connect(self, cx, address))
        } else {
            Io::later(stream::connect(self, cx, address, patience))
        }
    }

    fn listen(&self, cx: &SyscallCx, backlog: usize) -> Result<()> {
        if self.is_datagram() {
            return Err(Errno::EOPNOTSUPP);
        }
        if *self.name.borrow() == UnixName::Unnamed || self.state.get() == State::Connected {
            return Err(Errno::EINVAL);
        }
        let backlog = backlog.min(SOMAXCONN);
        if backlog > self.backlog.get() {
            self.queue_room.wake_all();
        }
        self.backlog.set(backlog);
        self.state.set(State::Listening);
        *self.own_credentials.borrow_mut() = Some(PeerCredentials::of(cx, &cx.creds()));
        Ok(())
    }

    fn accept<'a>(&'a self, cx: &'a SyscallCx, patience: Patience) -> Io<'a, Result<Rc<dyn Protocol>>> {
        Io::later(stream::accept(self, cx, patience))
    }

    fn send<'a>(&'a self, cx: &'a SyscallCx, message: Outgoing<'a>) -> Io<'a, Result<usize>> {
        match self.common.kind {
            SOCK_STREAM => stream::send(self, cx, message),
            _ => Io::later(datagram::send(self, cx, message)),
        }
    }

    fn receive<'a>(&'a self, cx: &'a SyscallCx, wanted: Wanted) -> Io<'a, Result<Incoming>> {
        match self.common.kind {
            SOCK_STREAM => stream::receive(self, cx, wanted),
            _ => datagram::receive(self, cx, wanted),
        }
    }

    fn shutdown(&self, how: u8) -> Result<()> {
        self.shut.set(self.shut.get() | how);
        if !self.is_datagram()
            && let Some(peer) = self.peer_now()
        {
            let read = if how & shut::WRITE != 0 { shut::READ } else { 0 };
            let write = if how & shut::READ != 0 { shut::WRITE } else { 0 };
            peer.shut.set(peer.shut.get() | read | write);
            peer.changed();
        }
        self.changed();
        Ok(())
    }

    fn local(&self) -> SockAddr {
        SockAddr::Unix(self.name.borrow().clone())
    }

    fn peer(&self) -> Result<SockAddr> {
        let peer = self.peer_now().ok_or(Errno::ENOTCONN)?;
        Ok(peer.local())
    }

    fn poll(&self) -> Ready {
        let mut ready = Ready::NONE;
        if self.error.get().is_some() {
            ready |= Ready::ERR;
        }
        if self.shut_has(shut::BOTH) {
            ready |= Ready::HUP;
        }
        if self.shut_has(shut::READ) {
            ready |= Ready::RDHUP | Ready::IN | Ready::RDNORM;
        }
        if !self.queue.borrow().is_empty() || !self.pending.borrow().is_empty() {
            ready |= Ready::IN | Ready::RDNORM;
        }
        if !self.is_datagram() && self.state.get() == State::Unconnected {
            ready |= Ready::HUP;
        }
        let full = self.is_datagram()
            && self.peer_now().is_some_and(|peer| !datagram::is_mutual(self, &peer) && datagram::is_full(&peer));
        if self.state.get() != State::Listening && self.common.send_buffer.is_writable() && !full {
            ready |= Ready::OUT | Ready::WRNORM | Ready::WRBAND;
        }
        ready
    }

    fn wait(&self, interest: Ready) -> Io<'static, ()> {
        let readable = self.readable.wait();
        if !interest.intersects(Ready::OUT | Ready::WRNORM | Ready::WRBAND) {
            return Io::later(readable);
        }
        let room = self.common.send_buffer.room.wait();
        match self.peer_now().filter(|_| self.is_datagram()) {
            None => Io::later(async move {
                first_of(readable, room).await;
            }),
            Some(peer) => {
                let there = peer.queue_room.wait();
                Io::later(async move {
                    first_of(readable, first_of(room, there)).await;
                })
            }
        }
    }

    fn take_error(&self) -> Option<Errno> {
        self.error.take()
    }

    fn is_listening(&self) -> bool {
        self.state.get() == State::Listening
    }

    fn get_option(&self, _cx: &SyscallCx, level: u32, name: u32, room: usize) -> Result<Option<Vec<u8>>> {
        if level != SOL_SOCKET {
            return Ok(None);
        }
        let peer = self.peer_credentials.borrow();
        Ok(match name {
            SO_PEERCRED => {
                let nobody = Ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
                Some(peer.as_ref().map_or(nobody, |peer| peer.ucred).encode())
            }
            SO_PEERGROUPS => {
                let groups = &peer.as_ref().ok_or(Errno::ENODATA)?.groups;
                if room < 4 * groups.len() {
                    return Err(Errno::ERANGE);
                }
                Some(groups.iter().flat_map(|group| group.to_le_bytes()).collect())
            }
            _ => None,
        })
    }

    fn bytes_waiting(&self) -> Result<usize> {
        if self.state.get() == State::Listening {
            return Err(Errno::EINVAL);
        }
        let queue = self.queue.borrow();
        Ok(if self.common.kind == SOCK_DGRAM {
            queue.front().map_or(0, |message| message.rest().len())
        } else {
            queue.iter().map(|message| message.rest().len()).sum()
        })
    }

    fn bytes_sent(&self) -> Result<usize> {
        Ok(self.common.send_buffer.used())
    }

    fn sends_sigpipe(&self) -> bool {
        self.common.kind == SOCK_STREAM
    }

    fn keeps_borders(&self) -> bool {
        self.common.kind != SOCK_STREAM
    }

    fn common(&self) -> Rc<Common> {
        Rc::clone(&self.common)
    }

    fn as_unix(&self) -> Option<Rc<Unix>> {
        Some(self.strong())
    }

    fn release(&self) {
        self.close(Embryo::No);
    }
}
