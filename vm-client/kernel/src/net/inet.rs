//! Internet sockets between programs of this machine (ip(7)).
//!
//! Addresses are kept in one form: IPv4 is IPv4 even on an AF_INET6 socket, where it is shown mapped. What goes anywhere
//! but to this machine is decided in one place, [`route`].

mod control;
mod icmp;
mod options;
mod ports;
mod tcp;
mod udp;

pub(crate) use icmp::Ping;
pub(crate) use ports::Ports;
pub(crate) use tcp::{State as TcpState, Tcp};
pub(crate) use udp::Udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use linux_abi::socket::*;

use super::options::Common;
use super::protocol::Protocol;
use crate::task::cap;
use crate::{Errno, Result, SyscallCx};

/// Ports below this need CAP_NET_BIND_SERVICE.
const PRIVILEGED_PORTS: u16 = 1024;

/// socket(2) of AF_INET and AF_INET6.
pub(super) fn create(cx: &SyscallCx, family: u16, kind: u32, protocol: u32) -> Result<(Rc<Common>, Rc<dyn Protocol>)> {
    let net = &cx.kernel.net;
    let icmp = if family == AF_INET { IPPROTO_ICMP } else { IPPROTO_ICMPV6 };
    let common = |protocol| Common::new(family, kind, protocol, &net.queued);
    if protocol > 262 {
        return Err(Errno::EINVAL);
    }
    let made: Rc<dyn Protocol> = match (kind, protocol) {
        (SOCK_STREAM, 0 | IPPROTO_TCP) => Tcp::new(net, common(IPPROTO_TCP)),
        (SOCK_DGRAM, 0 | IPPROTO_UDP) => Udp::new(net, common(IPPROTO_UDP)),
        (SOCK_DGRAM, IPPROTO_UDPLITE) => Udp::new(net, common(IPPROTO_UDPLITE)),
        (SOCK_DGRAM, _) if protocol == icmp => {
            if !cx.creds().in_group(0) && !cx.creds().capable(cap::NET_RAW) {
                return Err(Errno::EACCES);
            }
            Ping::new(net, common(protocol))
        }
        (SOCK_RAW, _) => {
            if !cx.creds().capable(cap::NET_RAW) {
                return Err(Errno::EPERM);
            }
            match protocol {
                0 => return Err(Errno::EPROTONOSUPPORT),
                _ => Ping::new(net, common(protocol)),
            }
        }
        (SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET | SOCK_RDM, _) if kind != SOCK_STREAM && kind != SOCK_DGRAM => {
            return Err(Errno::ESOCKTNOSUPPORT);
        }
        (SOCK_STREAM | SOCK_DGRAM, _) => return Err(Errno::EPROTONOSUPPORT),
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    Ok((made.common(), made))
}

/// Whether an address is this machine's own.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified(),
    }
}

/// Where a packet to an address goes: the address of this machine that it comes to. Everything else has no route.
pub(crate) fn route(to: IpAddr) -> Result<IpAddr> {
    match to {
        IpAddr::V4(ip) if ip.is_unspecified() => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(ip) if ip.is_unspecified() => Ok(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ip if is_local(ip) => Ok(ip),
        _ => Err(Errno::ENETUNREACH),
    }
}

/// The address that a packet to one of this machine's addresses comes from.
pub(crate) fn source_for(to: IpAddr) -> IpAddr {
    if to.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) }
}

/// The address that stands for all of a family.
pub(crate) fn any(family: u16) -> IpAddr {
    if family == AF_INET { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) }
}

/// An address that a program passed, in the one form.
fn canonical(common: &Common, address: &SockAddr) -> Result<SocketAddr> {
    match (address, common.family) {
        (SockAddr::V4(ip, port), AF_INET) => Ok(SocketAddr::new(IpAddr::V4(*ip), *port)),
        // A struct sockaddr_in is too short to be an AF_INET6 address, but for sending with UDP.
        (SockAddr::V4(ip, port), _) if common.kind == SOCK_DGRAM && !is_v6_only(common) => {
            Ok(SocketAddr::new(IpAddr::V4(*ip), *port))
        }
        (SockAddr::V4(..), _) => Err(Errno::EINVAL),
        (SockAddr::V6(v6), AF_INET6) => match v6.ip().to_ipv4_mapped() {
            Some(_) if is_v6_only(common) => Err(Errno::ENETUNREACH),
            Some(ip) => Ok(SocketAddr::new(IpAddr::V4(ip), v6.port())),
            None => Ok(SocketAddr::new(IpAddr::V6(*v6.ip()), v6.port())),
        },
        (SockAddr::Other(AF_INET6, _), AF_INET6) => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

fn is_v6_only(common: &Common) -> bool {
    common.is_on(IPPROTO_IPV6, IPV6_V6ONLY)
}

/// Checks the address of bind(2).
fn address_to_bind(cx: &SyscallCx, common: &Common, address: &SockAddr) -> Result<SocketAddr> {
    let address = match (address, common.family) {
        // Old programs leave the family of "any" out.
        (SockAddr::Unspec, AF_INET) => return Err(Errno::EAFNOSUPPORT),
        (SockAddr::V4(..), AF_INET6) => return Err(Errno::EINVAL),
        (address, _) => canonical(common, address)
            .map_err(|errno| if errno == Errno::ENETUNREACH { Errno::EINVAL } else { errno })?,
    };
    let bindable = match address.ip() {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    };
    let free = common.is_on(IPPROTO_IP, IP_FREEBIND) || common.is_on(IPPROTO_IP, IP_TRANSPARENT);
    if !(is_local(address.ip()) || free || bindable && common.kind != SOCK_STREAM) {
        return Err(Errno::EADDRNOTAVAIL);
    }
    if (1..PRIVILEGED_PORTS).contains(&address.port()) && !cx.creds().capable(cap::NET_BIND_SERVICE) {
        return Err(Errno::EACCES);
    }
    Ok(address)
}

/// An address as a socket shows it; an unbound socket shows zeros.
fn shown(common: &Common, address: Option<SocketAddr>) -> SockAddr {
    let address = address.unwrap_or_else(|| SocketAddr::new(any(common.family), 0));
    match address.ip() {
        // "Any" of IPv4 is "any" on an AF_INET6 socket.
        IpAddr::V4(ip) if ip.is_unspecified() && common.family == AF_INET6 => {
            SockAddr::internet(SocketAddr::new(any(AF_INET6), address.port()), AF_INET6)
        }
        _ => SockAddr::internet(address, common.family),
    }
}
