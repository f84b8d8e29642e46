//! Sockets: families, types, flags, options, addresses, message headers and control messages (socket(2), recvmsg(2), cmsg(3)).
//!
//! What depends on the size of a pointer takes a [`Width`]; everything else is the same on i386 and x86-64.
#![expect(missing_docs, reason = "the names are Linux's own")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::Errno;
use crate::layout::{Reader, Width, Writer};

pub const AF_UNSPEC: u16 = 0;
pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
pub const AF_NETLINK: u16 = 16;
pub const AF_PACKET: u16 = 17;
/// The first number that is no family.
pub const AF_MAX: u64 = 46;

pub const SOCK_STREAM: u32 = 1;
pub const SOCK_DGRAM: u32 = 2;
pub const SOCK_RAW: u32 = 3;
pub const SOCK_RDM: u32 = 4;
pub const SOCK_SEQPACKET: u32 = 5;
pub const SOCK_PACKET: u32 = 10;
pub const SOCK_NONBLOCK: u32 = crate::fcntl::O_NONBLOCK;
pub const SOCK_CLOEXEC: u32 = crate::fcntl::O_CLOEXEC;

pub const IPPROTO_IP: u32 = 0;
pub const IPPROTO_ICMP: u32 = 1;
pub const IPPROTO_TCP: u32 = 6;
pub const IPPROTO_UDP: u32 = 17;
pub const IPPROTO_UDPLITE: u32 = 136;
pub const IPPROTO_IPV6: u32 = 41;
pub const IPPROTO_ICMPV6: u32 = 58;
pub const IPPROTO_RAW: u32 = 255;

pub const MSG_OOB: u32 = 0x1;
pub const MSG_PEEK: u32 = 0x2;
pub const MSG_DONTROUTE: u32 = 0x4;
pub const MSG_CTRUNC: u32 = 0x8;
pub const MSG_TRUNC: u32 = 0x20;
pub const MSG_DONTWAIT: u32 = 0x40;
pub const MSG_EOR: u32 = 0x80;
pub const MSG_WAITALL: u32 = 0x100;
pub const MSG_ERRQUEUE: u32 = 0x2000;
pub const MSG_NOSIGNAL: u32 = 0x4000;
pub const MSG_MORE: u32 = 0x8000;
pub const MSG_WAITFORONE: u32 = 0x10000;
pub const MSG_FASTOPEN: u32 = 0x2000_0000;
pub const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

pub const SOL_SOCKET: u32 = 1;
pub const SOL_NETLINK: u32 = 270;

pub const SO_DEBUG: u32 = 1;
pub const SO_REUSEADDR: u32 = 2;
pub const SO_TYPE: u32 = 3;
pub const SO_ERROR: u32 = 4;
pub const SO_DONTROUTE: u32 = 5;
pub const SO_BROADCAST: u32 = 6;
pub const SO_SNDBUF: u32 = 7;
pub const SO_RCVBUF: u32 = 8;
pub const SO_KEEPALIVE: u32 = 9;
pub const SO_OOBINLINE: u32 = 10;
pub const SO_NO_CHECK: u32 = 11;
pub const SO_PRIORITY: u32 = 12;
pub const SO_LINGER: u32 = 13;
pub const SO_BSDCOMPAT: u32 = 14;
pub const SO_REUSEPORT: u32 = 15;
pub const SO_PASSCRED: u32 = 16;
pub const SO_PEERCRED: u32 = 17;
pub const SO_RCVLOWAT: u32 = 18;
pub const SO_SNDLOWAT: u32 = 19;
pub const SO_RCVTIMEO_OLD: u32 = 20;
pub const SO_SNDTIMEO_OLD: u32 = 21;
pub const SO_BINDTODEVICE: u32 = 25;
pub const SO_ATTACH_FILTER: u32 = 26;
pub const SO_DETACH_FILTER: u32 = 27;
pub const SO_PEERNAME: u32 = 28;
pub const SO_TIMESTAMP_OLD: u32 = 29;
pub const SO_ACCEPTCONN: u32 = 30;
pub const SO_PEERSEC: u32 = 31;
pub const SO_SNDBUFFORCE: u32 = 32;
pub const SO_RCVBUFFORCE: u32 = 33;
pub const SO_PASSSEC: u32 = 34;
pub const SO_TIMESTAMPNS_OLD: u32 = 35;
pub const SO_MARK: u32 = 36;
pub const SO_TIMESTAMPING_OLD: u32 = 37;
pub const SO_PROTOCOL: u32 = 38;
pub const SO_DOMAIN: u32 = 39;
pub const SO_RXQ_OVFL: u32 = 40;
pub const SO_WIFI_STATUS: u32 = 41;
pub const SO_PEEK_OFF: u32 = 42;
pub const SO_NOFCS: u32 = 43;
pub const SO_LOCK_FILTER: u32 = 44;
pub const SO_SELECT_ERR_QUEUE: u32 = 45;
pub const SO_BUSY_POLL: u32 = 46;
pub const SO_INCOMING_CPU: u32 = 49;
pub const SO_ATTACH_BPF: u32 = 50;
pub const SO_PEERGROUPS: u32 = 59;
pub const SO_ZEROCOPY: u32 = 60;
pub const SO_TIMESTAMP_NEW: u32 = 63;
pub const SO_TIMESTAMPNS_NEW: u32 = 64;
pub const SO_RCVTIMEO_NEW: u32 = 66;
pub const SO_SNDTIMEO_NEW: u32 = 67;
pub const SO_BINDTOIFINDEX: u32 = 62;

pub const SCM_RIGHTS: u32 = 1;
pub const SCM_CREDENTIALS: u32 = 2;

pub const IP_TOS: u32 = 1;
pub const IP_TTL: u32 = 2;
pub const IP_HDRINCL: u32 = 3;
pub const IP_OPTIONS: u32 = 4;
pub const IP_RECVOPTS: u32 = 6;
pub const IP_RETOPTS: u32 = 7;
pub const IP_PKTINFO: u32 = 8;
pub const IP_MTU_DISCOVER: u32 = 10;
pub const IP_RECVERR: u32 = 11;
pub const IP_RECVTTL: u32 = 12;
pub const IP_RECVTOS: u32 = 13;
pub const IP_MTU: u32 = 14;
pub const IP_FREEBIND: u32 = 15;
pub const IP_TRANSPARENT: u32 = 19;
pub const IP_RECVORIGDSTADDR: u32 = 20;
pub const IP_MINTTL: u32 = 21;
pub const IP_NODEFRAG: u32 = 22;
pub const IP_BIND_ADDRESS_NO_PORT: u32 = 24;
pub const IP_MULTICAST_IF: u32 = 32;
pub const IP_MULTICAST_TTL: u32 = 33;
pub const IP_MULTICAST_LOOP: u32 = 34;
pub const IP_ADD_MEMBERSHIP: u32 = 35;
pub const IP_DROP_MEMBERSHIP: u32 = 36;
pub const IP_MULTICAST_ALL: u32 = 49;
pub const IP_UNICAST_IF: u32 = 50;

pub const IPV6_UNICAST_HOPS: u32 = 16;
pub const IPV6_MULTICAST_IF: u32 = 17;
pub const IPV6_MULTICAST_HOPS: u32 = 18;
pub const IPV6_MULTICAST_LOOP: u32 = 19;
pub const IPV6_JOIN_GROUP: u32 = 20;
pub const IPV6_LEAVE_GROUP: u32 = 21;
pub const IPV6_MTU_DISCOVER: u32 = 23;
pub const IPV6_MTU: u32 = 24;
pub const IPV6_RECVERR: u32 = 25;
pub const IPV6_V6ONLY: u32 = 26;
pub const IPV6_RECVPKTINFO: u32 = 49;
pub const IPV6_PKTINFO: u32 = 50;
pub const IPV6_RECVHOPLIMIT: u32 = 51;
pub const IPV6_HOPLIMIT: u32 = 52;
pub const IPV6_RECVTCLASS: u32 = 66;
pub const IPV6_TCLASS: u32 = 67;

pub const TCP_NODELAY: u32 = 1;
pub const TCP_MAXSEG: u32 = 2;
pub const TCP_CORK: u32 = 3;
pub const TCP_KEEPIDLE: u32 = 4;
pub const TCP_KEEPINTVL: u32 = 5;
pub const TCP_KEEPCNT: u32 = 6;
pub const TCP_SYNCNT: u32 = 7;
pub const TCP_LINGER2: u32 = 8;
pub const TCP_DEFER_ACCEPT: u32 = 9;
pub const TCP_WINDOW_CLAMP: u32 = 10;
pub const TCP_INFO: u32 = 11;
pub const TCP_QUICKACK: u32 = 12;
pub const TCP_CONGESTION: u32 = 13;
pub const TCP_THIN_LINEAR_TIMEOUTS: u32 = 16;
pub const TCP_THIN_DUPACK: u32 = 17;
pub const TCP_USER_TIMEOUT: u32 = 18;
pub const TCP_FASTOPEN: u32 = 23;
pub const TCP_TIMESTAMP: u32 = 24;
pub const TCP_NOTSENT_LOWAT: u32 = 25;
pub const TCP_SAVE_SYN: u32 = 27;
pub const TCP_FASTOPEN_CONNECT: u32 = 30;
pub const TCP_ULP: u32 = 31;
pub const TCP_INQ: u32 = 36;

pub const UDP_CORK: u32 = 1;
pub const UDP_SEGMENT: u32 = 103;
pub const UDP_GRO: u32 = 104;
pub const UDPLITE_SEND_CSCOV: u32 = 10;
pub const UDPLITE_RECV_CSCOV: u32 = 11;

/// Bytes of the largest address (`struct sockaddr_storage`).
pub const SOCKADDR_MAX: usize = 128;
/// Bytes of `sun_path`.
pub const UNIX_PATH_MAX: usize = 108;

/// The name of a Unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnixName {
    /// None: not bound.
    #[default]
    Unnamed,
    /// A path, without a NUL.
    Path(Vec<u8>),
    /// A name in the abstract name space, without its leading NUL.
    Abstract(Vec<u8>),
}

/// An address of any family, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SockAddr {
    /// AF_UNSPEC, which dissolves an association.
    Unspec,
    Unix(UnixName),
    /// AF_INET.
    V4(Ipv4Addr, u16),
    /// AF_INET6.
    V6(SocketAddrV6),
    Netlink {
        pid: u32,
        groups: u32,
    },
    /// A family that nothing here knows; its bytes after the family.
    Other(u16, Vec<u8>),
}

impl SockAddr {
    /// The address in these bytes. A structure that is too short for its family is EINVAL.
    pub fn decode(raw: &[u8]) -> Result<Self, Errno> {
        if raw.len() < 2 || raw.len() > SOCKADDR_MAX {
            return Err(Errno::EINVAL);
        }
        let reader = Reader::new(raw);
        let rest = raw.get(2..).unwrap_or_default();
        Ok(match reader.u16(0) {
            AF_UNSPEC => Self::Unspec,
            AF_UNIX if rest.len() > UNIX_PATH_MAX => return Err(Errno::EINVAL),
            AF_UNIX => Self::Unix(match rest {
                [] => UnixName::Unnamed,
                [0, name @ ..] => UnixName::Abstract(name.to_vec()),
                path => UnixName::Path(path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()),
            }),
            AF_INET if raw.len() < 16 => return Err(Errno::EINVAL),
            AF_INET => Self::V4(Ipv4Addr::from(reader.u32(4).to_be()), reader.u16(2).to_be()),
            // What is too short for this family is wrong only for sockets of the family.
            AF_INET6 if raw.len() < 24 => Self::Other(AF_INET6, rest.to_vec()),
            AF_INET6 => {
                let mut address = [0; 16];
                address.copy_from_slice(raw.get(8..24).ok_or(Errno::EINVAL)?);
                let flow = reader.u32(4);
                Self::V6(SocketAddrV6::new(Ipv6Addr::from(address), reader.u16(2).to_be(), flow, reader.u32(24)))
            }
            AF_NETLINK if raw.len() < 12 => return Err(Errno::EINVAL),
            AF_NETLINK => Self::Netlink { pid: reader.u32(4), groups: reader.u32(8) },
            family => Self::Other(family, rest.to_vec()),
        })
    }

    /// The bytes of the address.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Unspec => AF_UNSPEC.to_le_bytes().to_vec(),
            Self::Unix(name) => {
                let mut raw = AF_UNIX.to_le_bytes().to_vec();
                match name {
                    UnixName::Unnamed => {}
                    UnixName::Path(path) => {
                        raw.extend_from_slice(path);
                        raw.push(0);
                    }
                    UnixName::Abstract(name) => {
                        raw.push(0);
                        raw.extend_from_slice(name);
                    }
                }
                raw
            }
            Self::V4(address, port) => {
                let mut raw = vec![0; 16];
                let mut writer = Writer::new(&mut raw);
                writer.u16(0, AF_INET);
                writer.u16(2, port.to_be());
                writer.bytes(4, &address.octets());
                raw
            }
            Self::V6(address) => {
                let mut raw = vec![0; 28];
                let mut writer = Writer::new(&mut raw);
                writer.u16(0, AF_INET6);
                writer.u16(2, address.port().to_be());
                writer.u32(4, address.flowinfo());
                writer.bytes(8, &address.ip().octets());
                writer.u32(24, address.scope_id());
                raw
            }
            Self::Netlink { pid, groups } => {
                let mut raw = vec![0; 12];
                let mut writer = Writer::new(&mut raw);
                writer.u16(0, AF_NETLINK);
                writer.u32(4, *pid);
                writer.u32(8, *groups);
                raw
            }
            Self::Other(family, rest) => [&family.to_le_bytes()[..], rest].concat(),
        }
    }

    /// Its family.
    pub fn family(&self) -> u16 {
        match self {
            Self::Unspec => AF_UNSPEC,
            Self::Unix(_) => AF_UNIX,
            Self::V4(..) => AF_INET,
            Self::V6(_) => AF_INET6,
            Self::Netlink { .. } => AF_NETLINK,
            Self::Other(family, _) => *family,
        }
    }

    /// An Internet address as a socket of this family shows it: IPv4 is mapped for AF_INET6.
    pub fn internet(address: SocketAddr, family: u16) -> Self {
        match (address.ip(), family) {
            (IpAddr::V4(ip), AF_INET6) => Self::V6(SocketAddrV6::new(ip.to_ipv6_mapped(), address.port(), 0, 0)),
            (IpAddr::V4(ip), _) => Self::V4(ip, address.port()),
            (IpAddr::V6(ip), _) => Self::V6(SocketAddrV6::new(ip, address.port(), 0, 0)),
        }
    }
}

/// `struct msghdr`, decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageHeader {
    pub name: u64,
    pub name_len: u32,
    pub iov: u64,
    pub iov_len: u64,
    pub control: u64,
    pub control_len: u64,
    pub flags: u32,
}

impl MessageHeader {
    /// Bytes of the structure.
    pub fn size(width: Width) -> usize {
        7 * width.bytes()
    }

    /// Bytes of `struct mmsghdr`: the header and the length that comes out.
    pub fn size_in_vector(width: Width) -> usize {
        8 * width.bytes()
    }

    /// The structure of these bytes.
    pub fn decode(width: Width, raw: &[u8]) -> Self {
        let reader = Reader::new(raw);
        let word = |index| reader.word(width, index * width.bytes());
        Self {
            name: word(0),
            name_len: reader.u32(width.bytes()),
            iov: word(2),
            iov_len: word(3),
            control: word(4),
            control_len: word(5),
            flags: reader.u32(6 * width.bytes()),
        }
    }

    /// Offsets of the fields that recvmsg(2) writes: name length, control length, flags.
    pub fn output_offsets(width: Width) -> [u64; 3] {
        [1, 5, 6].map(|index| index * width.bytes() as u64)
    }
}

/// One control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlMessage {
    pub level: u32,
    pub kind: u32,
    pub data: Vec<u8>,
}

impl ControlMessage {
    /// Bytes of `struct cmsghdr`.
    pub fn header_size(width: Width) -> usize {
        width.bytes() + 8
    }

    fn aligned(width: Width, len: usize) -> usize {
        len.next_multiple_of(width.bytes())
    }

    /// The messages in a control buffer; EINVAL if one does not fit.
    pub fn decode_all(width: Width, raw: &[u8]) -> Result<Vec<Self>, Errno> {
        let header = Self::header_size(width);
        let mut messages = Vec::new();
        let mut at = 0;
        while raw.len().saturating_sub(at) >= header {
            let reader = Reader::new(raw.get(at..).unwrap_or_default());
            let len = usize::try_from(reader.word(width, 0)).map_err(|_| Errno::EINVAL)?;
            if len < header {
                return Err(Errno::EINVAL);
            }
            let end = at.checked_add(len).ok_or(Errno::EINVAL)?;
            let data = raw.get(at + header..end).ok_or(Errno::EINVAL)?.to_vec();
            messages.push(Self { level: reader.u32(width.bytes()), kind: reader.u32(width.bytes() + 4), data });
            at = at.saturating_add(Self::aligned(width, len));
        }
        Ok(messages)
    }

    /// The bytes of this message, with the padding that leads to the next one.
    pub fn encode(&self, width: Width) -> Vec<u8> {
        let header = Self::header_size(width);
        let len = header + self.data.len();
        let mut raw = vec![0; Self::aligned(width, len)];
        let mut writer = Writer::new(&mut raw);
        writer.word(width, 0, len as u64);
        writer.u32(width.bytes(), self.level);
        writer.u32(width.bytes() + 4, self.kind);
        writer.bytes(header, &self.data);
        raw
    }
}

/// `struct ucred`: a process, its user and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ucred {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

impl Ucred {
    /// Bytes of the structure.
    pub const SIZE: usize = 12;

    /// The structure of these bytes.
    pub fn decode(raw: &[u8]) -> Self {
        let reader = Reader::new(raw);
        Self { pid: reader.i32(0), uid: reader.u32(4), gid: reader.u32(8) }
    }

    /// The bytes of the structure.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = vec![0; Self::SIZE];
        let mut writer = Writer::new(&mut raw);
        writer.u32(0, self.pid as u32);
        writer.u32(4, self.uid);
        writer.u32(8, self.gid);
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes from a C program on the host: `struct sockaddr_in` of 127.0.0.1:8080 and `sockaddr_in6` of [::1]:443%2.
    #[test]
    fn addresses_are_laid_out_as_in_c() {
        let v4 = SockAddr::V4(Ipv4Addr::LOCALHOST, 8080);
        assert_eq!(v4.encode(), [2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let v6 = SockAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 0, 2));
        let raw = [&[10, 0, 1, 0xbb][..], &[0; 19], &[1, 2, 0, 0, 0]].concat();
        assert_eq!(v6.encode(), raw);
        for address in [v4, v6, SockAddr::Netlink { pid: 7, groups: 1 }, SockAddr::Unix(UnixName::Path(b"/a".to_vec()))]
        {
            assert_eq!(SockAddr::decode(&address.encode()), Ok(address));
        }
    }

    #[test]
    fn a_path_ends_at_its_nul_and_an_abstract_name_does_not() {
        assert_eq!(SockAddr::decode(b"\x01\0/x\0junk"), Ok(SockAddr::Unix(UnixName::Path(b"/x".to_vec()))));
        assert_eq!(SockAddr::decode(b"\x01\0\0a\0b"), Ok(SockAddr::Unix(UnixName::Abstract(b"a\0b".to_vec()))));
        assert_eq!(SockAddr::decode(b"\x01"), Err(Errno::EINVAL));
        assert_eq!(SockAddr::decode(&[2, 0, 0]), Err(Errno::EINVAL));
    }

    #[test]
    fn control_messages_come_back_and_bad_lengths_are_refused() {
        for width in [Width::Bits32, Width::Bits64] {
            let one = ControlMessage { level: SOL_SOCKET, kind: SCM_RIGHTS, data: vec![1, 0, 0, 0, 2] };
            let raw = [one.encode(width), one.encode(width)].concat();
            assert_eq!(ControlMessage::decode_all(width, &raw), Ok(vec![one.clone(), one]));
            let mut bad = raw;
            bad[0] = 3;
            assert_eq!(ControlMessage::decode_all(width, &bad), Err(Errno::EINVAL));
            bad[0] = 255;
            assert_eq!(ControlMessage::decode_all(width, &bad), Err(Errno::EINVAL));
        }
    }
}
