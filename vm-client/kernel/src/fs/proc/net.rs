//! /proc/PID/net: the loopback interface and the sockets (proc(5)).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use linux_abi::socket::*;

use crate::fs::generated::{Fixed, constant, directory, file};
use crate::net::inet::{TcpState, Udp};
use crate::net::protocol::Protocol;
use crate::net::unix::State;
use crate::{Result, SyscallCx};

pub(super) const NET: &[Fixed] = &[
    constant!("arp", "IP address       HW type     Flags       HW address            Mask     Device\n"),
    file!("dev", dev),
    constant!("dev_mcast", ""),
    constant!("fib_trie", ""),
    constant!("if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n"),
    constant!("igmp", "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"),
    constant!(
        "ipv6_route",
        concat!(
            "00000000000000000000000000000001 80 00000000000000000000000000000000 00 ",
            "00000000000000000000000000000000 00000000 00000001 00000000 80200001       lo\n"
        )
    ),
    file!("netlink", netlink),
    constant!("packet", "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n"),
    constant!(
        "raw",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
    ),
    constant!(
        "route",
        concat!(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
            "                                                       \n"
        )
    ),
    constant!("rt_cache", "Iface\tDestination\tGateway\n"),
    file!("sockstat", sockstat),
    file!("sockstat6", sockstat6),
    file!("tcp", tcp4),
    file!("tcp6", tcp6),
    file!("udp", udp4),
    file!("udp6", udp6),
    file!("unix", unix),
    constant!(
        "wireless",
        concat!(
            "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n",
            " face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n"
        )
    ),
];

/// /proc/sys/net. The numbers are those that the sockets go by.
pub(super) const SYSCTL: &[Fixed] = &[
    directory!("core", SYSCTL_CORE),
    directory!("ipv4", SYSCTL_IPV4),
    directory!("ipv6", SYSCTL_IPV6),
    directory!("unix", SYSCTL_UNIX),
];

const SYSCTL_CORE: &[Fixed] = &[
    constant!("default_qdisc", "pfifo_fast\n"),
    constant!("netdev_max_backlog", "1000\n"),
    constant!("optmem_max", "20480\n"),
    constant!("rmem_default", "212992\n"),
    constant!("rmem_max", "212992\n"),
    constant!("somaxconn", "4096\n"),
    constant!("wmem_default", "212992\n"),
    constant!("wmem_max", "212992\n"),
];

const SYSCTL_IPV4: &[Fixed] = &[
    constant!("ip_default_ttl", "64\n"),
    constant!("ip_forward", "0\n"),
    constant!("ip_local_port_range", "32768\t60999\n"),
    constant!("ip_local_reserved_ports", "\n"),
    constant!("ip_nonlocal_bind", "0\n"),
    constant!("ip_unprivileged_port_start", "1024\n"),
    constant!("ping_group_range", "0\t0\n"),
    constant!("tcp_available_congestion_control", "reno cubic\n"),
    constant!("tcp_congestion_control", "cubic\n"),
    constant!("tcp_fastopen", "0\n"),
    constant!("tcp_fin_timeout", "60\n"),
    constant!("tcp_keepalive_intvl", "75\n"),
    constant!("tcp_keepalive_probes", "9\n"),
    constant!("tcp_keepalive_time", "7200\n"),
    constant!("tcp_max_syn_backlog", "512\n"),
    constant!("tcp_rmem", "4096\t131072\t6291456\n"),
    constant!("tcp_sack", "1\n"),
    constant!("tcp_syn_retries", "6\n"),
    constant!("tcp_syncookies", "1\n"),
    constant!("tcp_timestamps", "1\n"),
    constant!("tcp_tw_reuse", "2\n"),
    constant!("tcp_window_scaling", "1\n"),
    constant!("tcp_wmem", "4096\t16384\t4194304\n"),
];

const SYSCTL_IPV6: &[Fixed] = &[constant!("bindv6only", "0\n"), directory!("conf", SYSCTL_IPV6_CONF)];

const SYSCTL_IPV6_CONF: &[Fixed] = &[
    directory!("all", SYSCTL_IPV6_INTERFACE),
    directory!("default", SYSCTL_IPV6_INTERFACE),
    directory!("lo", SYSCTL_IPV6_INTERFACE),
];

const SYSCTL_IPV6_INTERFACE: &[Fixed] = &[constant!("disable_ipv6", "0\n"), constant!("forwarding", "0\n")];

const SYSCTL_UNIX: &[Fixed] = &[constant!("max_dgram_qlen", "10\n")];

fn dev(cx: &SyscallCx) -> Result<Vec<u8>> {
    let (packets, bytes) = cx.kernel.net.loopback.so_far();
    let mut text = String::from(concat!(
        "Inter-|   Receive                                                |  Transmit\n",
        " face |bytes    packets errs drop fifo frame compressed multicast",
        "|bytes    packets errs drop fifo colls carrier compressed\n"
    ));
    let _ = writeln!(
        text,
        "    lo: {bytes:7} {packets:7}    0    0    0     0          0         0 \
         {bytes:8} {packets:7}    0    0    0     0       0          0"
    );
    Ok(text.into_bytes())
}

/// An address and port, the address in words of memory as the processor reads them.
fn hexadecimal(address: SocketAddr, family: u16) -> String {
    let words = |octets: &[u8]| {
        octets.chunks_exact(4).fold(String::new(), |mut text, word| {
            let _ = write!(text, "{:08X}", u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
            text
        })
    };
    let ip = match (address.ip(), family) {
        (IpAddr::V4(ip), AF_INET) => words(&ip.octets()),
        (IpAddr::V4(ip), _) if ip.is_unspecified() => words(&[0; 16]),
        (IpAddr::V4(ip), _) => words(&ip.to_ipv6_mapped().octets()),
        (IpAddr::V6(ip), _) => words(&ip.octets()),
    };
    format!("{ip}:{:04X}", address.port())
}

fn tcp4(cx: &SyscallCx) -> Result<Vec<u8>> {
    let head = concat!(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        "                                                     \n"
    );
    Ok(tcp(cx, AF_INET, head))
}

fn tcp6(cx: &SyscallCx) -> Result<Vec<u8>> {
    let head = concat!(
        "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when ",
        "retrnsmt   uid  timeout inode\n"
    );
    Ok(tcp(cx, AF_INET6, head))
}

fn tcp(cx: &SyscallCx, family: u16, head: &str) -> Vec<u8> {
    let mut text = head.to_owned();
    let mut all = cx.kernel.net.inet.tcp.all();
    all.retain(|tcp| tcp.common().family == family && tcp.state() != TcpState::Closed);
    all.sort_by_key(|tcp| tcp.state() != TcpState::Listen);
    for (index, tcp) in all.into_iter().enumerate() {
        let common = tcp.common();
        let (local, remote) = tcp.addresses();
        let (sent, received) = tcp.queues();
        let sent = if tcp.state() == TcpState::Listen { 0 } else { sent };
        let mut line = format!(
            "{index:4}: {} {} {:02X} {sent:08X}:{received:08X} 00:00000000 00000000 {:5}        0 {} 1 0000000000000000 \
             100 0 0 10 0",
            hexadecimal(local, family),
            hexadecimal(remote, family),
            tcp.state().number(),
            common.uid.get(),
            common.ino.get(),
        );
        if family == AF_INET {
            line = format!("{line:<149}");
        }
        text.push_str(&line);
        text.push('\n');
    }
    text.into_bytes()
}

fn udp4(cx: &SyscallCx) -> Result<Vec<u8>> {
    let head = concat!(
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ",
        "ref pointer drops             \n"
    );
    Ok(udp(cx, AF_INET, head))
}

fn udp6(cx: &SyscallCx) -> Result<Vec<u8>> {
    let head = concat!(
        "   sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when ",
        "retrnsmt   uid  timeout inode ref pointer drops\n"
    );
    Ok(udp(cx, AF_INET6, head))
}

fn udp(cx: &SyscallCx, family: u16, head: &str) -> Vec<u8> {
    let mut text = head.to_owned();
    let state = |udp: &Udp| if udp.is_connected() { TcpState::Established } else { TcpState::Closed };
    for udp in cx.kernel.net.inet.udp.all() {
        let common = udp.common();
        if common.family != family {
            continue;
        }
        let (local, remote) = udp.addresses();
        let (received, dropped) = udp.received();
        let slot = local.port();
        let mut line = format!(
            "{slot:5}: {} {} {:02X} {:08X}:{received:08X} 00:00000000 00000000 {:5}        0 {} 2 0000000000000000 {dropped}",
            hexadecimal(local, family),
            hexadecimal(remote, family),
            state(&udp).number(),
            0,
            common.uid.get(),
            common.ino.get(),
        );
        if family == AF_INET {
            line = format!("{line:<127}");
        }
        text.push_str(&line);
        text.push('\n');
    }
    text.into_bytes()
}

fn unix(cx: &SyscallCx) -> Result<Vec<u8>> {
    let mut text = b"Num       RefCount Protocol Flags    Type St Inode Path\n".to_vec();
    for unix in cx.kernel.net.unix.all() {
        let (flags, state) = match unix.state.get() {
            State::Unconnected => (0, 1),
            State::Listening => (0x1_0000, 1),
            State::Connected => (0, 3),
        };
        let (kind, ino) = (unix.common.kind, unix.common.ino.get());
        text.extend_from_slice(
            format!("{:016x}: 00000002 00000000 {flags:08X} {kind:04X} {state:02X} {ino:5}", 0).as_bytes(),
        );
        match &*unix.name.borrow() {
            UnixName::Unnamed => {}
            UnixName::Path(path) => {
                text.push(b' ');
                text.extend_from_slice(path);
            }
            UnixName::Abstract(name) => {
                text.extend_from_slice(b" @");
                text.extend(name.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }));
            }
        }
        text.push(b'\n');
    }
    Ok(text)
}

fn netlink(cx: &SyscallCx) -> Result<Vec<u8>> {
    let mut text =
        String::from("sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n");
    for socket in cx.kernel.net.netlink.all() {
        let _ = writeln!(
            text,
            "{:016x} {:<3} {:<10} {:08x} {:<8} {:<8} {:<5} {:<8} {:<8} {:<8}",
            0,
            socket.protocol(),
            socket.shown_number(),
            socket.shown_groups(),
            socket.queued(),
            0,
            0,
            2,
            0,
            socket.ino()
        );
    }
    Ok(text.into_bytes())
}

fn counts(cx: &SyscallCx, family: u16) -> (usize, usize) {
    let inet = &cx.kernel.net.inet;
    let tcp = inet.tcp.all().iter().filter(|tcp| tcp.common().family == family).count();
    let udp = inet.udp.all().iter().filter(|udp| udp.common().family == family).count();
    (tcp, udp)
}

fn sockstat(cx: &SyscallCx) -> Result<Vec<u8>> {
    let (tcp, udp) = counts(cx, AF_INET);
    let (tcp6, udp6) = counts(cx, AF_INET6);
    let used = tcp + udp + tcp6 + udp6 + cx.kernel.net.unix.all().len() + cx.kernel.net.netlink.all().len();
    Ok(format!(
        "sockets: used {used}\nTCP: inuse {tcp} orphan 0 tw 0 alloc {} mem 0\nUDP: inuse {udp} mem 0\n\
         UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
        tcp + tcp6
    )
    .into_bytes())
}

fn sockstat6(cx: &SyscallCx) -> Result<Vec<u8>> {
    let (tcp, udp) = counts(cx, AF_INET6);
    Ok(format!("TCP6: inuse {tcp}\nUDP6: inuse {udp}\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n")
        .into_bytes())
}
