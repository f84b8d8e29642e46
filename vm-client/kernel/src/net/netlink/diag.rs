//! sock_diag(7): the sockets of the machine, as ss(8) asks for them.

use std::net::{IpAddr, SocketAddr};

use linux_abi::layout::{Reader, Writer};
use linux_abi::socket::*;

use super::message::{Answers, Request};
use super::word;
use crate::net::inet::{Tcp, TcpState, Udp};
use crate::net::options::Common;
use crate::net::protocol::Protocol;
use crate::net::unix::{State, Unix};
use crate::{Errno, Result, SyscallCx};

const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// Answers a request.
pub(super) fn answer(cx: &SyscallCx, request: &Request, answers: &mut Answers) -> Result<()> {
    if request.kind != SOCK_DIAG_BY_FAMILY {
        return Err(Errno::EINVAL);
    }
    let family = request.body.first().copied().ok_or(Errno::EINVAL)?;
    match u16::from(family) {
        AF_INET | AF_INET6 => internet(cx, request, answers, u16::from(family)),
        AF_UNIX => unix(cx, request, answers),
        family if u64::from(family) >= AF_MAX => Err(Errno::EINVAL),
        _ => Err(Errno::ENOENT),
    }
}

/// Whether a state is among those asked for.
fn wants(states: u32, state: u8) -> bool {
    states & 1u32.checked_shl(u32::from(state)).unwrap_or(0) != 0
}

fn internet(cx: &SyscallCx, request: &Request, answers: &mut Answers, family: u16) -> Result<()> {
    const FIXED: usize = 56;
    if request.body.len() < FIXED {
        return Err(Errno::EINVAL);
    }
    let protocol = request.body.get(1).copied().map_or(0, u32::from);
    let states = word(&request.body, 4);
    if !request.is_dump() {
        return one(cx, request, answers, family, protocol);
    }
    match protocol {
        IPPROTO_TCP => {
            for tcp in cx.kernel.net.inet.tcp.all() {
                if tcp.common().family == family && wants(states, tcp.state().number()) {
                    put_tcp(&tcp, answers);
                }
            }
        }
        IPPROTO_UDP => {
            for udp in cx.kernel.net.inet.udp.all() {
                if udp.common().family == family && wants(states, udp_state(&udp)) {
                    put_udp(&udp, answers);
                }
            }
        }
        IPPROTO_RAW => {}
        _ => return Err(Errno::ENOENT),
    }
    Ok(())
}

/// The socket with a pair of addresses.
fn one(cx: &SyscallCx, request: &Request, answers: &mut Answers, family: u16, protocol: u32) -> Result<()> {
    let reader = Reader::new(&request.body);
    let (source, destination) = (reader.u16(8).to_be(), reader.u16(10).to_be());
    let fits = |addresses: (SocketAddr, SocketAddr)| addresses.0.port() == source && addresses.1.port() == destination;
    match protocol {
        IPPROTO_TCP => {
            let all = cx.kernel.net.inet.tcp.all();
            let found = all.iter().find(|tcp| tcp.common().family == family && fits(tcp.addresses()));
            put_tcp(found.ok_or(Errno::ENOENT)?, answers);
        }
        IPPROTO_UDP => {
            let all = cx.kernel.net.inet.udp.all();
            let found = all.iter().find(|udp| udp.common().family == family && fits(udp.addresses()));
            put_udp(found.ok_or(Errno::ENOENT)?, answers);
        }
        _ => return Err(Errno::ENOENT),
    }
    Ok(())
}

fn udp_state(udp: &Udp) -> u8 {
    if udp.is_connected() { TcpState::Established.number() } else { TcpState::Closed.number() }
}

fn put_address(writer: &mut Writer<'_>, at: usize, common: &Common, ip: IpAddr) {
    match (ip, common.family) {
        (IpAddr::V4(ip), AF_INET) => writer.bytes(at, &ip.octets()),
        (IpAddr::V4(ip), _) if ip.is_unspecified() => {}
        (IpAddr::V4(ip), _) => writer.bytes(at, &ip.to_ipv6_mapped().octets()),
        (IpAddr::V6(ip), _) => writer.bytes(at, &ip.octets()),
    }
}

/// `struct inet_diag_msg`.
fn put_internet(
    answers: &mut Answers,
    common: &Common,
    state: u8,
    (local, remote): (SocketAddr, SocketAddr),
    (receive, send): (usize, usize),
) {
    const INET_DIAG_SHUTDOWN: u16 = 8;
    let mut fixed = [0; 72];
    fixed[0] = common.family as u8;
    fixed[1] = state;
    let mut writer = Writer::new(&mut fixed);
    writer.u16(4, local.port().to_be());
    writer.u16(6, remote.port().to_be());
    put_address(&mut writer, 8, common, local.ip());
    put_address(&mut writer, 24, common, remote.ip());
    writer.u32(44, common.ino.get() as u32);
    writer.u32(56, receive as u32);
    writer.u32(60, send as u32);
    writer.u32(64, common.uid.get());
    writer.u32(68, common.ino.get() as u32);
    answers.begin(SOCK_DIAG_BY_FAMILY, &fixed);
    answers.attribute(INET_DIAG_SHUTDOWN, &[0]);
    answers.end();
}

fn put_tcp(tcp: &Tcp, answers: &mut Answers) {
    let (send, receive) = tcp.queues();
    put_internet(answers, &tcp.common(), tcp.state().number(), tcp.addresses(), (receive, send));
}

fn put_udp(udp: &Udp, answers: &mut Answers) {
    put_internet(answers, &udp.common(), udp_state(udp), udp.addresses(), (udp.received().0, 0));
}

fn unix(cx: &SyscallCx, request: &Request, answers: &mut Answers) -> Result<()> {
    const FIXED: usize = 24;
    if request.body.len() < FIXED {
        return Err(Errno::EINVAL);
    }
    let (states, ino, show) = (word(&request.body, 4), word(&request.body, 8), word(&request.body, 12));
    let all = cx.kernel.net.unix.all();
    if !request.is_dump() {
        let found = all.iter().find(|unix| ino != 0 && unix.common.ino.get() == u64::from(ino));
        put_unix(found.ok_or(Errno::ENOENT)?, show, answers);
        return Ok(());
    }
    for unix in all {
        if wants(states, unix_state(&unix)) {
            put_unix(&unix, show, answers);
        }
    }
    Ok(())
}

fn unix_state(unix: &Unix) -> u8 {
    match unix.state.get() {
        State::Unconnected => TcpState::Closed,
        State::Listening => TcpState::Listen,
        State::Connected => TcpState::Established,
    }
    .number()
}

/// `struct unix_diag_msg`.
fn put_unix(unix: &Unix, show: u32, answers: &mut Answers) {
    const SHOW_NAME: u32 = 1;
    const SHOW_VFS: u32 = 2;
    const SHOW_PEER: u32 = 4;
    const SHOW_RQLEN: u32 = 0x10;
    const SHOW_UID: u32 = 0x40;
    let ino = unix.common.ino.get() as u32;
    let mut fixed = [0; 16];
    fixed[0] = AF_UNIX as u8;
    fixed[1] = unix.common.kind as u8;
    fixed[2] = unix_state(unix);
    let mut writer = Writer::new(&mut fixed);
    writer.u32(4, ino);
    writer.u32(8, ino);
    answers.begin(SOCK_DIAG_BY_FAMILY, &fixed);
    if show & SHOW_NAME != 0 {
        let name = SockAddr::Unix(unix.name.borrow().clone()).encode();
        if let Some(name) = name.get(2..).filter(|name| !name.is_empty()) {
            answers.attribute(0, name);
        }
    }
    if let Some(place) = unix.place_of_name().filter(|_| show & SHOW_VFS != 0) {
        let meta = place.inode().metadata();
        let both = [(meta.ino as u32).to_le_bytes(), (meta.dev as u32).to_le_bytes()].concat();
        answers.attribute(1, &both);
    }
    if let Some(peer) = unix.peer_now().filter(|_| show & SHOW_PEER != 0) {
        answers.attribute_word(2, peer.common.ino.get() as u32);
    }
    if show & SHOW_RQLEN != 0 {
        let other = if unix.state.get() == State::Listening { unix.backlog() } else { unix.common.send_buffer.used() };
        answers.attribute(4, &[(unix.waiting() as u32).to_le_bytes(), (other as u32).to_le_bytes()].concat());
    }
    answers.attribute(6, &[0]);
    if show & SHOW_UID != 0 {
        answers.attribute_word(7, unix.common.uid.get());
    }
    answers.end();
}
