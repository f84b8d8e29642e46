//! Options of ip(7), ipv6(7), tcp(7) and udp(7).

use linux_abi::layout::{Reader, Writer};
use linux_abi::socket::*;

use super::TcpState;
use crate::net::options::{Check, Common, Plain, find, number, plain};
use crate::{Errno, Result};

/// MTU of the loopback interface, bytes.
const MTU: u32 = 65_536;
/// The largest MTU that IPv4 speaks of.
const IP_MAX_MTU: u32 = 65_535;

const IP: &[Plain] = &[
    plain(IPPROTO_IP, IP_TOS, 0, Check::Range(0, 255)),
    plain(IPPROTO_IP, IP_TTL, 64, Check::Range(1, 255)),
    plain(IPPROTO_IP, IP_HDRINCL, 0, Check::Bool),
    plain(IPPROTO_IP, IP_RECVOPTS, 0, Check::Bool),
    plain(IPPROTO_IP, IP_RETOPTS, 0, Check::Bool),
    plain(IPPROTO_IP, IP_PKTINFO, 0, Check::Bool),
    plain(IPPROTO_IP, IP_MTU_DISCOVER, 1, Check::Range(0, 5)),
    plain(IPPROTO_IP, IP_RECVERR, 0, Check::Bool),
    plain(IPPROTO_IP, IP_RECVTTL, 0, Check::Bool),
    plain(IPPROTO_IP, IP_RECVTOS, 0, Check::Bool),
    plain(IPPROTO_IP, IP_FREEBIND, 0, Check::Bool),
    plain(IPPROTO_IP, IP_TRANSPARENT, 0, Check::Bool),
    plain(IPPROTO_IP, IP_RECVORIGDSTADDR, 0, Check::Bool),
    plain(IPPROTO_IP, IP_MINTTL, 0, Check::Range(0, 255)),
    plain(IPPROTO_IP, IP_NODEFRAG, 0, Check::Bool),
    plain(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0, Check::Bool),
    plain(IPPROTO_IP, IP_MULTICAST_TTL, 1, Check::Range(0, 255)),
    plain(IPPROTO_IP, IP_MULTICAST_LOOP, 1, Check::Bool),
    plain(IPPROTO_IP, IP_MULTICAST_ALL, 1, Check::Bool),
    plain(IPPROTO_IP, IP_UNICAST_IF, 0, Check::Any),
];

const IPV6: &[Plain] = &[
    plain(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 64, Check::Range(-1, 255)),
    plain(IPPROTO_IPV6, IPV6_MULTICAST_IF, 0, Check::Any),
    plain(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1, Check::Range(-1, 255)),
    plain(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1, Check::Bool),
    plain(IPPROTO_IPV6, IPV6_MTU_DISCOVER, 1, Check::Range(0, 5)),
    plain(IPPROTO_IPV6, IPV6_RECVERR, 0, Check::Bool),
    plain(IPPROTO_IPV6, IPV6_RECVPKTINFO, 0, Check::Bool),
    plain(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0, Check::Bool),
    plain(IPPROTO_IPV6, IPV6_RECVTCLASS, 0, Check::Bool),
    plain(IPPROTO_IPV6, IPV6_TCLASS, 0, Check::Range(-1, 255)),
];

const TCP: &[Plain] = &[
    plain(IPPROTO_TCP, TCP_NODELAY, 0, Check::Bool),
    plain(IPPROTO_TCP, TCP_CORK, 0, Check::Bool),
    plain(IPPROTO_TCP, TCP_KEEPIDLE, 7200, Check::Range(1, 32_767)),
    plain(IPPROTO_TCP, TCP_KEEPINTVL, 75, Check::Range(1, 32_767)),
    plain(IPPROTO_TCP, TCP_KEEPCNT, 9, Check::Range(1, 127)),
    plain(IPPROTO_TCP, TCP_SYNCNT, 6, Check::Range(1, 127)),
    plain(IPPROTO_TCP, TCP_LINGER2, 60, Check::Any),
    plain(IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, Check::Any),
    plain(IPPROTO_TCP, TCP_WINDOW_CLAMP, 0, Check::Range(0, i32::MAX)),
    plain(IPPROTO_TCP, TCP_QUICKACK, 1, Check::Bool),
    plain(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 0, Check::Range(0, 1)),
    plain(IPPROTO_TCP, TCP_THIN_DUPACK, 0, Check::Range(0, 1)),
    plain(IPPROTO_TCP, TCP_USER_TIMEOUT, 0, Check::Range(0, i32::MAX)),
    plain(IPPROTO_TCP, TCP_FASTOPEN, 0, Check::Range(0, i32::MAX)),
    plain(IPPROTO_TCP, TCP_TIMESTAMP, 0, Check::Any),
    plain(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, Check::Any),
    plain(IPPROTO_TCP, TCP_SAVE_SYN, 0, Check::Range(0, 2)),
    plain(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0, Check::Range(0, 1)),
    plain(IPPROTO_TCP, TCP_INQ, 0, Check::Range(0, 1)),
];

const UDP: &[Plain] = &[
    plain(IPPROTO_UDP, UDP_CORK, 0, Check::Bool),
    plain(IPPROTO_UDP, UDP_SEGMENT, 0, Check::Range(0, 65_535)),
    plain(IPPROTO_UDP, UDP_GRO, 0, Check::Bool),
];

/// How much of a datagram its checksum covers.
const UDPLITE: &[Plain] = &[
    plain(IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV, 0, Check::Range(0, 65_535)),
    plain(IPPROTO_UDPLITE, UDPLITE_RECV_CSCOV, 0, Check::Range(0, 65_535)),
];

fn row(common: &Common, level: u32, name: u32) -> Option<&'static Plain> {
    let table = match level {
        IPPROTO_IP => IP,
        IPPROTO_IPV6 if common.family == AF_INET6 => IPV6,
        IPPROTO_TCP if common.protocol == IPPROTO_TCP => TCP,
        IPPROTO_UDP if common.protocol == IPPROTO_UDP => UDP,
        IPPROTO_UDPLITE if common.protocol == IPPROTO_UDPLITE => UDPLITE,
        _ => return None,
    };
    find(table, level, name)
}

/// An option that depends on the socket's settings alone. A connected socket knows the MTU of its route.
pub(super) fn get(common: &Common, level: u32, name: u32, room: usize, connected: bool) -> Result<Option<Vec<u8>>> {
    let mtu = |mtu: u32| if connected { Ok(Some(mtu.to_le_bytes().to_vec())) } else { Err(Errno::ENOTCONN) };
    match (level, name) {
        (IPPROTO_IP, IP_MTU) => return mtu(IP_MAX_MTU),
        (IPPROTO_IPV6, IPV6_MTU) if common.family == AF_INET6 => return mtu(MTU),
        (IPPROTO_IP, IP_OPTIONS) => return Ok(Some(Vec::new())),
        (IPPROTO_IP, IP_MULTICAST_IF) => return Ok(Some(vec![0; 4])),
        (IPPROTO_IPV6, IPV6_V6ONLY) if common.family == AF_INET6 => {
            return Ok(Some(common.value(level, name).to_le_bytes().to_vec()));
        }
        _ => {}
    }
    let Some(row) = row(common, level, name) else { return Ok(None) };
    let mut value = common.get_plain(row);
    // Old programs ask for a byte.
    if level == IPPROTO_IP && (1..4).contains(&room) {
        value.truncate(1);
    }
    Ok(Some(value))
}

/// Sets an option that only changes the socket's settings. A bound socket cannot change between IPv6 and both.
pub(super) fn set(common: &Common, level: u32, name: u32, value: &[u8], bound: bool) -> Result<Option<()>> {
    match (level, name) {
        (IPPROTO_IPV6, IPV6_V6ONLY) if common.family == AF_INET6 => {
            let on = number(value)?;
            if bound {
                return Err(Errno::EINVAL);
            }
            common.set_value(level, name, i32::from(on != 0));
            return Ok(Some(()));
        }
        (IPPROTO_IP, IP_OPTIONS) => {
            return if value.len() > 40 { Err(Errno::EINVAL) } else { Ok(Some(())) };
        }
        // No interface here takes part in multicast.
        (IPPROTO_IP, IP_MULTICAST_IF) => {
            return if value.len() < 4 { Err(Errno::EINVAL) } else { Ok(Some(())) };
        }
        (IPPROTO_IP, IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP) if value.len() < 8 => return Err(Errno::EINVAL),
        (IPPROTO_IP, IP_ADD_MEMBERSHIP) => {
            let group = Reader::new(value).u32(0).to_be();
            return Err(if group >> 28 == 0xe { Errno::ENODEV } else { Errno::EINVAL });
        }
        (IPPROTO_IP, IP_DROP_MEMBERSHIP) => return Err(Errno::EADDRNOTAVAIL),
        (IPPROTO_IPV6, IPV6_JOIN_GROUP) if value.len() >= 20 => return Err(Errno::ENODEV),
        (IPPROTO_IPV6, IPV6_LEAVE_GROUP) if value.len() >= 20 => return Err(Errno::EADDRNOTAVAIL),
        _ => {}
    }
    let Some(row) = row(common, level, name) else { return Ok(None) };
    let word = match *value {
        [byte] if level == IPPROTO_IP => i32::from(byte),
        _ => number(value)?,
    };
    // -1 is the default again.
    let word =
        if word == -1 && matches!((level, name), (IPPROTO_IP, IP_TTL | IP_MULTICAST_TTL)) { row.default } else { word };
    common.set_plain(row, word).map(Some)
}

/// The largest segment of a connection over the loopback interface, bytes.
pub(super) fn segment_size(common: &Common, connected: bool) -> u32 {
    match (connected, common.family) {
        (false, _) => 536,
        // Headers, with the time stamps that Linux's TCP uses.
        (true, AF_INET) => MTU - 20 - 20 - 12 - 1,
        (true, _) => MTU - 40 - 20 - 12 - 1,
    }
}

/// `struct tcp_info`.
pub(super) fn tcp_info(common: &Common, state: TcpState, received: u64, sent: u64) -> Vec<u8> {
    const SIZE: usize = 232;
    let connected = !matches!(state, TcpState::Closed | TcpState::Listen | TcpState::SynSent);
    let segment = segment_size(common, connected);
    let mut raw = vec![0; SIZE];
    raw[0] = state.number();
    // Time stamps, selective acknowledgements, window scaling: what Linux's TCP agrees with itself on.
    raw[5] = if connected { 7 } else { 0 };
    raw[6] = if connected { 0x77 } else { 0 };
    let mut writer = Writer::new(&mut raw);
    writer.u32(8, 204_000);
    writer.u32(12, 40_000);
    writer.u32(16, segment);
    writer.u32(20, segment);
    writer.u32(60, if connected { MTU } else { 0 });
    writer.u32(64, 65_483);
    writer.u32(68, 20);
    writer.u32(72, 10);
    writer.u32(76, i32::MAX as u32);
    writer.u32(80, 10);
    writer.u32(84, segment);
    writer.u32(88, 3);
    writer.u64(120, sent);
    writer.u64(128, received);
    raw
}
