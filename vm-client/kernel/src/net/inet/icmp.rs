//! Echo requests to this machine: ping sockets and raw ICMP sockets (icmp(7), raw(7)).
//!
//! A request to an address of this machine is answered at once. Raw sockets of other protocols can be made and bound by the
//! privileged, as programs that look at the network do, and receive nothing.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use linux_abi::poll::Ready;
use linux_abi::socket::*;
use vm_rt::Io;

use super::udp::{Datagram, Inbox};
use super::{address_to_bind, any, canonical, control, options, route, shown, source_for};
use crate::net::Net;
use crate::net::options::Common;
use crate::net::protocol::{Incoming, Outgoing, Patience, Protocol, Wanted, shut};
use crate::{Errno, Result, SyscallCx};

/// A socket that sends and receives ICMP messages.
pub(crate) struct Ping {
    this: Weak<Ping>,
    net: Rc<Net>,
    common: Rc<Common>,
    /// The port is the identifier of its echo requests.
    local: Cell<Option<SocketAddr>>,
    remote: Cell<Option<SocketAddr>>,
    shut: Cell<u8>,
    inbox: Inbox,
}

const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// The Internet checksum (RFC 1071).
fn checksum(data: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in data.chunks(2) {
        let high = u32::from(pair.first().copied().unwrap_or(0));
        let low = u32::from(pair.get(1).copied().unwrap_or(0));
        sum += high << 8 | low;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The answer to an echo request; `None` if it is none.
fn answer(request: &[u8], v6: bool) -> Option<Vec<u8>> {
    let (asks, answers) = if v6 { (ECHO_REQUEST_V6, ECHO_REPLY_V6) } else { (ECHO_REQUEST, 0) };
    if request.len() < 8 || *request.first()? != asks {
        return None;
    }
    let mut reply = request.to_vec();
    *reply.get_mut(0)? = answers;
    reply.get_mut(2..4)?.fill(0);
    let sum = checksum(&reply).to_be_bytes();
    reply.get_mut(2..4)?.copy_from_slice(&sum);
    Some(reply)
}

/// An IPv4 header before a message, which raw sockets get to see.
fn with_header(message: &[u8], from: IpAddr, to: IpAddr, protocol: u32) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) else { return message.to_vec() };
    let len = ((message.len() + 20) as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, len[0], len[1], 0, 0, 0, 0, 64, protocol as u8, 0, 0];
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    let sum = checksum(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet.extend_from_slice(message);
    packet
}

impl Ping {
    pub(super) fn new(net: &Rc<Net>, common: Rc<Common>) -> Rc<Self> {
        let ping = Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            net: Rc::clone(net),
            common,
            local: Cell::default(),
            remote: Cell::default(),
            shut: Cell::default(),
            inbox: Inbox::default(),
        });
        let mut all = net.inet.ping.borrow_mut();
        all.retain(|other| other.strong_count() > 0);
        all.push(Weak::clone(&ping.this));
        drop(all);
        ping
    }

    fn is_raw(&self) -> bool {
        self.common.kind == SOCK_RAW
    }

    fn is_v6(&self) -> bool {
        self.common.family == AF_INET6
    }

    fn identifier(&self) -> u16 {
        if let Some(local) = self.local.get().filter(|local| local.port() != 0) {
            return local.port();
        }
        let next = self.net.inet.last_ident.get().wrapping_add(1).max(1);
        self.net.inet.last_ident.set(next);
        let ip = self.local.get().map_or(any(self.common.family), |local| local.ip());
        self.local.set(Some(SocketAddr::new(ip, next)));
        next
    }

    fn send_now(&self, cx: &SyscallCx, message: &Outgoing<'_>) -> Result<usize> {
        if message.data.len() > 0xffff {
            return Err(Errno::EMSGSIZE);
        }
        let to = match &message.to {
            Some(address) => canonical(&self.common, address)?,
            None => self.remote.get().ok_or(Errno::EDESTADDRREQ)?,
        };
        let to = SocketAddr::new(route(to.ip())?, 0);
        if self.shut.get() & shut::WRITE != 0 {
            return Err(Errno::EPIPE);
        }
        let mut request = message.data.to_vec();
        if !self.is_raw() {
            let asks = if self.is_v6() { ECHO_REQUEST_V6 } else { ECHO_REQUEST };
            if request.len() < 8 || request.first() != Some(&asks) || request.get(1) != Some(&0) {
                return Err(Errno::EINVAL);
            }
            let identifier = self.identifier().to_be_bytes();
            request.get_mut(4..6).ok_or(Errno::EINVAL)?.copy_from_slice(&identifier);
        }
        self.net.loopback.count(request.len() + 20);
        let icmp = if self.is_v6() { IPPROTO_ICMPV6 } else { IPPROTO_ICMP };
        if self.common.protocol == icmp {
            let source = self.local.get().map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
            let source = source.unwrap_or_else(|| source_for(to.ip()));
            // Everybody who listens to ICMP sees the request, and the answer.
            self.spread(cx, &request, source, to.ip());
            if let Some(reply) = answer(&request, self.is_v6()) {
                self.net.loopback.count(reply.len() + 20);
                self.spread(cx, &reply, to.ip(), source);
            }
        }
        Ok(message.data.len())
    }

    fn spread(&self, cx: &SyscallCx, message: &[u8], from: IpAddr, to: IpAddr) {
        let all: Vec<Rc<Ping>> = self.net.inet.ping.borrow().iter().filter_map(Weak::upgrade).collect();
        for ping in all {
            if ping.common.family != self.common.family || ping.common.protocol != self.common.protocol {
                continue;
            }
            let data = if ping.is_raw() {
                with_header(message, from, to, self.common.protocol)
            } else {
                let is_reply = matches!(message.first(), Some(&(0 | ECHO_REPLY_V6)));
                let identifier = message.get(4..6).map(|id| u16::from_be_bytes([id[0], id[1]]));
                if !is_reply || identifier != ping.local.get().map(|local| local.port()) {
                    continue;
                }
                message.to_vec()
            };
            let (from, to) = (SocketAddr::new(from, 0), SocketAddr::new(to, 0));
            let datagram = Datagram { data, from, to, when: cx.now(), header: control::Header::default() };
            ping.inbox.deliver(&self.net, ping.common.receive_buffer.get(), datagram);
        }
    }

    fn try_receive(&self, cx: &SyscallCx, wanted: Wanted) -> Option<Result<Incoming>> {
        if wanted.flags & MSG_ERRQUEUE != 0 {
            return Some(Err(Errno::EAGAIN));
        }
        if let Some(incoming) = self.inbox.take(cx, &self.common, &self.net, wanted) {
            return Some(Ok(incoming));
        }
        (self.shut.get() & shut::READ != 0).then(|| Ok(Incoming::default()))
    }
}

impl Protocol for Ping {
    fn bind<'a>(&'a self, cx: &'a SyscallCx, address: SockAddr) -> Io<'a, Result<()>> {
        Io::ready(address_to_bind(cx, &self.common, &address).map(|address| self.local.set(Some(address))))
    }

    fn connect<'a>(&'a self, _cx: &'a SyscallCx, address: SockAddr, _patience: Patience) -> Io<'a, Result<()>> {
        Io::ready((|| {
            if address == SockAddr::Unspec {
                self.remote.set(None);
                return Ok(());
            }
            let to = canonical(&self.common, &address)?;
            self.remote.set(Some(SocketAddr::new(route(to.ip())?, to.port())));
            Ok(())
        })())
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
        Ok(shown(&self.common, Some(self.remote.get().ok_or(Errno::ENOTCONN)?)))
    }

    fn poll(&self) -> Ready {
        let mut ready = Ready::OUT | Ready::WRNORM | Ready::WRBAND;
        if !self.inbox.is_empty() || self.shut.get() & shut::READ != 0 {
            ready |= Ready::IN | Ready::RDNORM;
        }
        ready
    }

    fn wait(&self, _interest: Ready) -> Io<'static, ()> {
        Io::later(self.inbox.readable.wait())
    }

    fn get_option(&self, _cx: &SyscallCx, level: u32, name: u32, room: usize) -> Result<Option<Vec<u8>>> {
        const SOL_RAW: u32 = 255;
        if self.is_raw() && level == SOL_RAW {
            return Ok(Some(self.common.value(level, name).to_le_bytes().to_vec()));
        }
        options::get(&self.common, level, name, room, self.remote.get().is_some())
    }

    fn set_option(&self, _cx: &SyscallCx, level: u32, name: u32, value: &[u8]) -> Result<Option<()>> {
        const SOL_RAW: u32 = 255;
        // Filters of message types (ICMP_FILTER, ICMP6_FILTER) save readers work; they look themselves.
        if self.is_raw() && matches!(level, SOL_RAW | IPPROTO_ICMPV6) {
            return Ok(Some(()));
        }
        options::set(&self.common, level, name, value, false)
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
        self.net.inet.ping.borrow_mut().retain(|other| !std::ptr::eq(other.as_ptr(), self));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_the_header_in_wikipedia() {
        // The example of RFC 1071's article: an IPv4 header whose checksum is b861.
        let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(checksum(&header), 0xb861);
    }

    #[test]
    fn only_requests_are_answered_and_a_reply_checks() {
        let request = [8, 0, 0, 0, 1, 2, 0, 1, b'x', b'y'];
        let reply = answer(&request, false).expect("it is a request");
        assert_eq!(reply[0], 0);
        assert_eq!(checksum(&reply), 0);
        assert_eq!(answer(&reply, false), None);
        assert_eq!(answer(&request[..7], false), None);
    }
}
