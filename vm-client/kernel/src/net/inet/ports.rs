//! Who has which port.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use linux_abi::socket::{AF_INET6, SO_REUSEADDR, SO_REUSEPORT, SOL_SOCKET};

use super::{Ping, Tcp, Udp, is_v6_only};
use crate::net::options::Common;
use crate::{Errno, Result};

/// Ports that are given to sockets that ask for none (net.ipv4.ip_local_port_range).
pub(crate) const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// The sockets of one protocol by port.
pub(crate) struct Table<T> {
    by_port: RefCell<BTreeMap<u16, Vec<Weak<T>>>>,
    last: Cell<u16>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { by_port: RefCell::default(), last: Cell::new(*EPHEMERAL.start()) }
    }
}

/// What a table has to know of a socket.
pub(crate) trait Bound {
    /// Type, owner and options.
    fn common(&self) -> &Common;
    /// Its own address.
    fn local(&self) -> Option<SocketAddr>;
    /// Whether it takes connections.
    fn listens(&self) -> bool;
    /// Whether its port was taken for one connection only, by connect(2).
    fn is_shareable(&self) -> bool {
        false
    }
}

/// All ports.
#[derive(Default)]
pub(crate) struct Ports {
    pub(crate) tcp: Table<Tcp>,
    pub(crate) udp: Table<Udp>,
    /// Ports of UDP-Lite.
    pub(crate) udplite: Table<Udp>,
    pub(crate) ping: RefCell<Vec<Weak<Ping>>>,
    pub(super) last_ident: Cell<u16>,
}

/// Whether two sockets with these addresses would get the same packets.
fn overlap(a: (&Common, IpAddr), b: (&Common, IpAddr)) -> bool {
    let covers = |(common, ip): (&Common, IpAddr), other: IpAddr| {
        ip == other
            || (ip.is_unspecified()
                && (ip.is_ipv4() == other.is_ipv4()
                    || (ip.is_ipv6() && common.family == AF_INET6 && !is_v6_only(common))))
    };
    covers(a, b.1) || covers(b, a.1)
}

impl<T: Bound> Table<T> {
    fn at(&self, port: u16) -> Vec<Rc<T>> {
        self.by_port.borrow().get(&port).into_iter().flatten().filter_map(Weak::upgrade).collect()
    }

    /// Every bound socket.
    pub(crate) fn all(&self) -> Vec<Rc<T>> {
        self.by_port.borrow().values().flatten().filter_map(Weak::upgrade).collect()
    }

    /// Whether somebody else has the address already, and not both are willing to share.
    pub(crate) fn conflicts(&self, socket: &T, address: SocketAddr) -> bool {
        let mine = socket.common();
        let reuse = |common: &Common| common.is_on(SOL_SOCKET, SO_REUSEADDR);
        let reuse_port = |common: &Common| common.is_on(SOL_SOCKET, SO_REUSEPORT);
        self.at(address.port()).iter().any(|other| {
            if std::ptr::eq(Rc::as_ptr(other), socket) {
                return false;
            }
            let Some(theirs) = other.local() else { return false };
            let common = other.common();
            if !overlap((mine, address.ip()), (common, theirs.ip())) {
                return false;
            }
            let share = reuse(mine) && reuse(common) && !other.listens();
            let share_port = reuse_port(mine) && reuse_port(common) && mine.uid.get() == common.uid.get();
            !share && !share_port
        })
    }

    /// Takes an address for a socket; port 0 is any free one. Gives the address taken.
    pub(crate) fn take(&self, socket: &Rc<T>, address: SocketAddr) -> Result<SocketAddr> {
        if address.port() != 0 {
            if self.conflicts(socket, address) {
                return Err(Errno::EADDRINUSE);
            }
            self.insert(socket, address.port());
            return Ok(address);
        }
        let free = |port: u16| self.at(port).is_empty();
        let port = self.next_port(free).ok_or(Errno::EADDRINUSE)?;
        self.insert(socket, port);
        Ok(SocketAddr::new(address.ip(), port))
    }

    /// Takes any port for a connection to an address.
    pub(crate) fn take_for(&self, socket: &Rc<T>, ip: IpAddr, unique: impl Fn(&T) -> bool) -> Result<SocketAddr> {
        let free = |port: u16| self.at(port).is_empty();
        // When all are in use, one that others use for connections to elsewhere will do.
        let shared = |port: u16| self.at(port).iter().all(|other| other.is_shareable() && unique(other));
        let port = self.next_port(free).or_else(|| self.next_port(shared)).ok_or(Errno::EADDRNOTAVAIL)?;
        self.insert(socket, port);
        Ok(SocketAddr::new(ip, port))
    }

    fn next_port(&self, fits: impl Fn(u16) -> bool) -> Option<u16> {
        let mut port = self.last.get();
        for _ in EPHEMERAL {
            port = if port >= *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 };
            if fits(port) {
                self.last.set(port);
                return Some(port);
            }
        }
        None
    }

    /// Adds a socket to those of a port.
    pub(crate) fn insert(&self, socket: &Rc<T>, port: u16) {
        self.by_port.borrow_mut().entry(port).or_default().push(Rc::downgrade(socket));
    }

    /// Gives the port of a socket up.
    pub(crate) fn remove(&self, socket: &T, port: u16) {
        let mut by_port = self.by_port.borrow_mut();
        let Some(sockets) = by_port.get_mut(&port) else { return };
        sockets.retain(|other| !std::ptr::eq(other.as_ptr(), socket) && other.strong_count() > 0);
        if sockets.is_empty() {
            by_port.remove(&port);
        }
    }

    /// The socket that what comes to an address is for: of those that `score` above zero the best, and of several equally good
    /// ones that share a port the one that `hash` picks.
    pub(crate) fn find(&self, to: SocketAddr, hash: u64, score: impl Fn(&T) -> u32) -> Option<Rc<T>> {
        let mut best: Vec<Rc<T>> = Vec::new();
        let mut best_score = 0;
        for socket in self.at(to.port()) {
            let Some(local) = socket.local() else { continue };
            let addressed = if local.ip() == to.ip() {
                3
            } else if !local.ip().is_unspecified() {
                0
            } else if local.is_ipv4() == to.is_ipv4() {
                2
            } else if local.is_ipv6() && !is_v6_only(socket.common()) {
                1
            } else {
                0
            };
            let more = if addressed == 0 { 0 } else { score(&socket) };
            if more == 0 {
                continue;
            }
            let total = more * 4 + addressed;
            if total > best_score {
                best_score = total;
                best.clear();
            }
            if total == best_score {
                best.push(socket);
            }
        }
        let count = best.len() as u64;
        // Without SO_REUSEPORT the last to bind gets it all.
        let grouped = best.first().is_some_and(|socket| socket.common().is_on(SOL_SOCKET, SO_REUSEPORT));
        if count == 0 {
            return None;
        }
        let index = if grouped { hash % count } else { count - 1 };
        best.into_iter().nth(index as usize)
    }
}
