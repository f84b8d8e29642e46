//! Control messages that say how a datagram came (ip(7), ipv6(7), socket(7)).

use std::net::{IpAddr, SocketAddr};

use linux_abi::layout::{Width, Writer};
use linux_abi::socket::*;
use linux_abi::time::Timespec;

use crate::net::options::Common;

/// Number of the loopback interface.
pub(crate) const LOOPBACK_INDEX: u32 = 1;

/// What a receiver asked to be told about a datagram to `to` that came at `when`.
pub(super) fn about(common: &Common, width: Width, to: SocketAddr, when: Timespec) -> Vec<ControlMessage> {
    let mut messages = Vec::new();
    let mut put = |level, kind, data| messages.push(ControlMessage { level, kind, data });
    let mut time = |name, width: Width, fraction: u32| {
        if common.is_on(SOL_SOCKET, name) {
            let mut data = vec![0; 2 * width.bytes()];
            let mut writer = Writer::new(&mut data);
            writer.word(width, 0, when.sec as u64);
            writer.word(width, width.bytes(), u64::from(fraction));
            put(SOL_SOCKET, name, data);
        }
    };
    time(SO_TIMESTAMP_OLD, width, when.nsec / 1000);
    time(SO_TIMESTAMPNS_OLD, width, when.nsec);
    time(SO_TIMESTAMP_NEW, Width::Bits64, when.nsec / 1000);
    time(SO_TIMESTAMPNS_NEW, Width::Bits64, when.nsec);
    match to.ip() {
        IpAddr::V4(ip) => {
            if common.is_on(IPPROTO_IP, IP_PKTINFO) {
                let mut data = LOOPBACK_INDEX.to_le_bytes().to_vec();
                data.extend_from_slice(&ip.octets());
                data.extend_from_slice(&ip.octets());
                put(IPPROTO_IP, IP_PKTINFO, data);
            }
            if common.is_on(IPPROTO_IP, IP_RECVTTL) {
                put(IPPROTO_IP, IP_TTL, 64u32.to_le_bytes().to_vec());
            }
            if common.is_on(IPPROTO_IP, IP_RECVTOS) {
                put(IPPROTO_IP, IP_TOS, vec![0]);
            }
            if common.is_on(IPPROTO_IP, IP_RECVORIGDSTADDR) {
                put(IPPROTO_IP, IP_RECVORIGDSTADDR, SockAddr::V4(ip, to.port()).encode());
            }
        }
        IpAddr::V6(ip) => {
            if common.is_on(IPPROTO_IPV6, IPV6_RECVPKTINFO) {
                let mut data = ip.octets().to_vec();
                data.extend_from_slice(&LOOPBACK_INDEX.to_le_bytes());
                put(IPPROTO_IPV6, IPV6_PKTINFO, data);
            }
            if common.is_on(IPPROTO_IPV6, IPV6_RECVHOPLIMIT) {
                put(IPPROTO_IPV6, IPV6_HOPLIMIT, 64u32.to_le_bytes().to_vec());
            }
            if common.is_on(IPPROTO_IPV6, IPV6_RECVTCLASS) {
                put(IPPROTO_IPV6, IPV6_TCLASS, 0u32.to_le_bytes().to_vec());
            }
        }
    }
    messages
}
