//! Sockets (socket(7)).
//!
//! A [`Socket`] is the open file: what all families share, and a [`Protocol`] that does the work. `unix` is unix(7). `inet` is
//! ip(7), tcp(7) and udp(7) between programs of this machine: both ends are here, so what one sends is put into the other's
//! queue and no packet is ever made. `netlink` answers questions about the one interface (`lo`) and about sockets. [`Net`] is
//! what they share: names, ports, and how much memory waits in queues.
//!
//! System calls are decoded in `syscall::socket`; nothing here sees a structure of the caller's. The way out of the machine is
//! [`inet::route`]: an address that is not loopback has no route until a link is there.

pub(crate) mod flow;
pub(crate) mod inet;
pub(crate) mod interface;
pub(crate) mod netlink;
pub(crate) mod options;
pub(crate) mod protocol;
pub(crate) mod rights;
pub(crate) mod socket;
pub(crate) mod unix;

use std::cell::Cell;
use std::rc::Rc;

pub use socket::Socket;

/// What the sockets of one machine share.
#[derive(Default)]
pub struct Net {
    /// Names of Unix sockets.
    pub(crate) unix: unix::Names,
    /// Files on their way from process to process.
    pub(crate) rights: rights::InFlight,
    /// Ports of Internet sockets.
    pub(crate) inet: inet::Ports,
    /// Netlink sockets by number.
    pub(crate) netlink: netlink::Sockets,
    /// Bytes that wait in all sockets together.
    pub(crate) queued: Rc<Cell<usize>>,
    /// What went over the loopback interface.
    pub(crate) loopback: interface::Traffic,
}

/// Bytes that all sockets together hold before each is cut down to a little. They are host memory, which the guest's memory does
/// not bound.
const QUEUED_SOFT_LIMIT: usize = 48 * 1024 * 1024;
/// What a socket may hold beyond that.
const SCARCE: usize = 16 * 1024;

impl Net {
    /// What a socket may hold now, of what it is allowed.
    pub(crate) fn allowance(&self, wanted: usize) -> usize {
        if self.queued.get() < QUEUED_SOFT_LIMIT { wanted } else { wanted.min(SCARCE) }
    }
}
