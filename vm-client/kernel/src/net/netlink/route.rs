//! rtnetlink(7): the loopback interface, its addresses and its routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linux_abi::layout::{Reader, Writer};
use linux_abi::socket::{AF_INET, AF_INET6, AF_UNSPEC};

use super::message::{Answers, Request};
use crate::net::{inet, interface};
use crate::task::cap;
use crate::{Errno, Result, SyscallCx};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWRULE: u16 = 32;
const RTM_GETRULE: u16 = 34;
const RTM_GETNSID: u16 = 90;
const RTM_MAX: u16 = 122;

const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_HOST: u8 = 254;
const RT_TABLE_LOCAL: u8 = 255;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_DEFAULT: u8 = 253;
const RTPROT_KERNEL: u8 = 2;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BROADCAST: u8 = 3;

/// Answers a request.
pub(super) fn answer(cx: &SyscallCx, request: &Request, answers: &mut Answers) -> Result<()> {
    let family = u16::from(request.body.first().copied().unwrap_or(0));
    if request.kind > RTM_MAX {
        return Err(Errno::EOPNOTSUPP);
    }
    // New, delete, get, set: of each kind of thing, in this order. All may ask.
    if request.kind & 3 != 2 && !cx.creds().capable(cap::NET_ADMIN) {
        return Err(Errno::EPERM);
    }
    match request.kind {
        RTM_GETLINK if request.is_dump() => link(cx, answers),
        RTM_GETLINK => {
            check_interface(request)?;
            link(cx, answers);
        }
        // The interface is up; saying so again changes nothing.
        RTM_NEWLINK | RTM_SETLINK => {
            check_interface(request)
                .map_err(|errno| if request.kind == RTM_NEWLINK { Errno::EOPNOTSUPP } else { errno })?;
        }
        RTM_GETADDR if request.is_dump() => addresses(family, answers),
        RTM_GETROUTE if request.is_dump() => routes(family, answers),
        RTM_GETROUTE => route_to(request, answers)?,
        RTM_GETRULE if request.is_dump() => rules(family, answers),
        RTM_GETNSID => {
            const NETNSA_NSID: u16 = 1;
            answers.begin(88, &[0; 4]);
            answers.attribute(NETNSA_NSID, &(-1i32).to_le_bytes());
            answers.end();
        }
        // Of everything else there is nothing.
        kind if kind & 3 == 2 && request.is_dump() => {}
        _ => return Err(Errno::EOPNOTSUPP),
    }
    Ok(())
}

/// ENODEV unless the request names the loopback interface, by number or name.
fn check_interface(request: &Request) -> Result<()> {
    const FIXED: usize = 16;
    const IFLA_IFNAME: u16 = 3;
    let index = Reader::new(&request.body).u32(4);
    let name = request.attribute(FIXED, IFLA_IFNAME).map(|name| name.split(|byte| *byte == 0).next().unwrap_or(name));
    match (index, name) {
        (interface::INDEX, _) => Ok(()),
        (0, Some(name)) if name == interface::NAME => Ok(()),
        (0, None) => Err(Errno::EINVAL),
        _ => Err(Errno::ENODEV),
    }
}

fn link(cx: &SyscallCx, answers: &mut Answers) {
    let mut fixed = [0; 16];
    let mut writer = Writer::new(&mut fixed);
    writer.u16(2, interface::HARDWARE);
    writer.u32(4, interface::INDEX);
    writer.u32(8, interface::FLAGS | interface::LOWER_UP);
    answers.begin(RTM_NEWLINK, &fixed);
    answers.attribute(3, b"lo\0");
    answers.attribute_word(13, interface::QUEUE_LENGTH);
    // Operational state unknown, link mode default.
    answers.attribute(16, &[0]);
    answers.attribute(17, &[0]);
    answers.attribute_word(4, interface::MTU);
    answers.attribute_word(50, 0);
    answers.attribute_word(51, 0);
    answers.attribute_word(27, 0);
    answers.attribute_word(30, 0);
    answers.attribute_word(31, 1);
    answers.attribute_word(40, 65_535);
    answers.attribute_word(41, 65_536);
    answers.attribute_word(32, 1);
    answers.attribute(33, &[1]);
    answers.attribute(6, b"noqueue\0");
    answers.attribute_word(35, 0);
    answers.attribute_word(47, 0);
    answers.attribute_word(48, 0);
    answers.attribute(14, &[0; 32]);
    answers.attribute(1, &[0; 6]);
    answers.attribute(2, &[0; 6]);
    let (packets, bytes) = cx.kernel.net.loopback.so_far();
    let mut wide = [0; 200];
    let mut narrow = [0; 96];
    for (index, value) in [packets, packets, bytes, bytes].into_iter().enumerate() {
        Writer::new(&mut wide).u64(8 * index, value);
        Writer::new(&mut narrow).u32(4 * index, value as u32);
    }
    answers.attribute(23, &wide);
    answers.attribute(7, &narrow);
    answers.attribute(43, &[8, 0, 1, 0, 0, 0, 0, 0]);
    answers.end();
}

/// The interface's addresses with the length of their networks.
const ADDRESSES: [(IpAddr, u8); 2] = [(IpAddr::V4(Ipv4Addr::LOCALHOST), 8), (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)];

fn family_of(ip: IpAddr) -> u16 {
    if ip.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn addresses(family: u16, answers: &mut Answers) {
    const IFA_F_PERMANENT: u8 = 0x80;
    for (ip, length) in ADDRESSES {
        if family != AF_UNSPEC && family != family_of(ip) {
            continue;
        }
        let mut fixed = [family_of(ip) as u8, length, IFA_F_PERMANENT, RT_SCOPE_HOST, 0, 0, 0, 0];
        Writer::new(&mut fixed).u32(4, interface::INDEX);
        answers.begin(RTM_NEWADDR, &fixed);
        answers.attribute(1, &octets(ip));
        if ip.is_ipv4() {
            answers.attribute(2, &octets(ip));
            answers.attribute(3, b"lo\0");
        }
        answers.attribute_word(8, u32::from(IFA_F_PERMANENT));
        let for_ever = [[0xff; 8], [0; 8]].concat();
        answers.attribute(6, &for_ever);
        answers.end();
    }
}

/// A route.
struct Route {
    to: IpAddr,
    length: u8,
    table: u8,
    scope: u8,
    kind: u8,
    metric: u32,
}

const fn v4(to: [u8; 4], length: u8, scope: u8, kind: u8) -> Route {
    let to = IpAddr::V4(Ipv4Addr::new(to[0], to[1], to[2], to[3]));
    Route { to, length, table: RT_TABLE_LOCAL, scope, kind, metric: 0 }
}

const ROUTES: [Route; 5] = [
    v4([127, 0, 0, 0], 8, RT_SCOPE_HOST, RTN_LOCAL),
    v4([127, 0, 0, 1], 32, RT_SCOPE_HOST, RTN_LOCAL),
    v4([127, 255, 255, 255], 32, RT_SCOPE_LINK, RTN_BROADCAST),
    Route {
        to: IpAddr::V6(Ipv6Addr::LOCALHOST),
        length: 128,
        table: RT_TABLE_MAIN,
        scope: RT_SCOPE_UNIVERSE,
        kind: RTN_UNICAST,
        metric: 256,
    },
    Route {
        to: IpAddr::V6(Ipv6Addr::LOCALHOST),
        length: 128,
        table: RT_TABLE_LOCAL,
        scope: RT_SCOPE_UNIVERSE,
        kind: RTN_LOCAL,
        metric: 0,
    },
];

fn routes(family: u16, answers: &mut Answers) {
    for route in &ROUTES {
        if family == AF_UNSPEC || family == family_of(route.to) {
            put_route(route, answers);
        }
    }
}

fn put_route(route: &Route, answers: &mut Answers) {
    let fixed = [
        family_of(route.to) as u8,
        route.length,
        0,
        0,
        route.table,
        RTPROT_KERNEL,
        route.scope,
        route.kind,
        0,
        0,
        0,
        0,
    ];
    answers.begin(RTM_NEWROUTE, &fixed);
    answers.attribute_word(15, u32::from(route.table));
    answers.attribute(1, &octets(route.to));
    if route.to.is_ipv4() {
        answers.attribute(7, &octets(inet::source_for(route.to)));
    } else {
        answers.attribute_word(6, route.metric);
    }
    answers.attribute_word(4, interface::INDEX);
    if route.to.is_ipv6() {
        answers.attribute(12, &[0; 32]);
        answers.attribute(20, &[0]);
    }
    answers.end();
}

/// The route to one address.
fn route_to(request: &Request, answers: &mut Answers) -> Result<()> {
    const FIXED: usize = 12;
    const RTA_DST: u16 = 1;
    let destination = request.attribute(FIXED, RTA_DST).unwrap_or_default();
    let to = match *destination {
        [a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => {
            let octets: [u8; 16] = destination.try_into().map_err(|_| Errno::EINVAL)?;
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    };
    let to = inet::route(to)?;
    // Of IPv4, Linux keeps the local table in the main one until somebody adds a rule, and tells what kind of route it is.
    let (length, table, kind) = if to.is_ipv4() { (32, RT_TABLE_MAIN, 0x80) } else { (128, RT_TABLE_LOCAL, 0) };
    let fixed = [family_of(to) as u8, length, 0, 0, table, 0, RT_SCOPE_UNIVERSE, RTN_LOCAL, 0, 2, 0, kind];
    answers.begin(RTM_NEWROUTE, &fixed);
    answers.attribute_word(15, u32::from(table));
    answers.attribute(1, &octets(to));
    answers.attribute_word(4, interface::INDEX);
    answers.attribute(7, &octets(inet::source_for(to)));
    answers.attribute_word(25, 0);
    answers.attribute(12, &[0; 32]);
    answers.end();
    Ok(())
}

fn rules(family: u16, answers: &mut Answers) {
    let of = |family, priority: u32, table: u8, answers: &mut Answers| {
        let fixed = [family as u8, 0, 0, 0, table, 0, 0, 1, 0, 0, 0, 0];
        answers.begin(RTM_NEWRULE, &fixed);
        answers.attribute_word(15, u32::from(table));
        answers.attribute_word(14, u32::MAX);
        answers.attribute(21, &[RTPROT_KERNEL]);
        if priority != 0 {
            answers.attribute_word(6, priority);
        }
        answers.end();
    };
    if matches!(family, AF_UNSPEC | AF_INET) {
        of(AF_INET, 0, RT_TABLE_LOCAL, answers);
        of(AF_INET, 32_766, RT_TABLE_MAIN, answers);
        of(AF_INET, 32_767, RT_TABLE_DEFAULT, answers);
    }
    if matches!(family, AF_UNSPEC | AF_INET6) {
        of(AF_INET6, 0, RT_TABLE_LOCAL, answers);
        of(AF_INET6, 32_766, RT_TABLE_MAIN, answers);
    }
}
