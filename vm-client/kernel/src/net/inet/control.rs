//! Control messages that say how a datagram came (ip(7), ipv6(7), socket(7)).

use std::net::{IpAddr, SocketAddr};

use linux_abi::layout::{Reader, Width, Writer};
use linux_abi::socket::*;
use linux_abi::time::Timespec;

use crate::net::options::Common;
use crate::{Errno, Result};

/// Number of the loopback interface.
pub(crate) const LOOPBACK_INDEX: u32 = 1;

/// Hops a datagram may take unless something else was said.
const HOPS: u8 = 64;

/// What the header of a datagram says beside its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Time to live, or hop limit.
    hops: u8,
    /// Type of service, or traffic class.
    class: u8,
}

impl Header {
    /// That of a datagram to `to`: as the socket has it, but for what the messages that go with it say.
    pub(super) fn new(common: &Common, to: IpAddr, messages: &[ControlMessage]) -> Result<Self> {
        let (level, hops, class) = match to {
            IpAddr::V4(_) => (IPPROTO_IP, IP_TTL, IP_TOS),
            IpAddr::V6(_) => (IPPROTO_IPV6, IPV6_UNICAST_HOPS, IPV6_TCLASS),
        };
        let set = |name| u8::try_from(common.value(level, name)).ok();
        let mut header =
            Self { hops: set(hops).filter(|hops| *hops > 0).unwrap_or(HOPS), class: set(class).unwrap_or(0) };
        for message in messages.iter().filter(|message| message.level == level) {
            let number = || match message.data.len() {
                4 => Ok(Reader::new(&message.data).i32(0)),
                _ => Err(Errno::EINVAL),
            };
            let within = |number: i32, least: i32| match u8::try_from(number) {
                Ok(value) if number >= least => Ok(Some(value)),
                _ if number == -1 && level == IPPROTO_IPV6 => Ok(None),
                _ => Err(Errno::EINVAL),
            };
            match (level, message.kind) {
                (IPPROTO_IP, IP_TTL) => header.hops = within(number()?, 1)?.unwrap_or(header.hops),
                (IPPROTO_IP, IP_TOS) if message.data.len() == 1 => header.class = message.data[0],
                (IPPROTO_IPV6, IPV6_HOPLIMIT) => header.hops = within(number()?, 0)?.unwrap_or(header.hops),
                (IPPROTO_IP, IP_TOS) | (IPPROTO_IPV6, IPV6_TCLASS) => {
                    header.class = within(number()?, 0)?.unwrap_or(header.class);
                }
                _ => {}
            }
        }
        Ok(header)
    }
}

impl Default for Header {
    fn default() -> Self {
        Self { hops: HOPS, class: 0 }
    }
}

/// What a receiver asked to be told about a datagram to `to` that came at `when`.
pub(super) fn about(
    common: &Common,
    width: Width,
    to: SocketAddr,
    when: Timespec,
    header: Header,
) -> Vec<ControlMessage> {
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
                put(IPPROTO_IP, IP_TTL, u32::from(header.hops).to_le_bytes().to_vec());
            }
            if common.is_on(IPPROTO_IP, IP_RECVTOS) {
                put(IPPROTO_IP, IP_TOS, vec![header.class]);
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
                put(IPPROTO_IPV6, IPV6_HOPLIMIT, u32::from(header.hops).to_le_bytes().to_vec());
            }
            if common.is_on(IPPROTO_IPV6, IPV6_RECVTCLASS) {
                put(IPPROTO_IPV6, IPV6_TCLASS, u32::from(header.class).to_le_bytes().to_vec());
            }
        }
    }
    messages
}
