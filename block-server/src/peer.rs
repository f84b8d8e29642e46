//! Whose request it is: the address that connected, or, behind a proxy we know, the one the proxy names.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// An address as far as limits tell addresses apart: IPv6 by its /64, which is one subscriber's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asker(IpAddr);

impl Asker {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            v4 => Self(v4),
        }
    }
}

/// The address a request comes from. `X-Forwarded-For` is believed as far as the proxies that wrote it are ours: it is read
/// from its end, where the nearest proxy wrote, up to the first address that is none of them.
pub(crate) fn address(peer: SocketAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let ours = |address: &IpAddr| proxies.iter().any(|net| net.contains(address));
    let mut address = peer.ip().to_canonical();
    if !ours(&address) {
        return address;
    }
    let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        // Whatever a proxy of ours could not read is somebody's invention: the proxy's own address stands.
        let Some(hop) = parse(hop.trim()) else { break };
        address = hop;
        if !ours(&address) {
            break;
        }
    }
    address
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`.
fn parse(hop: &str) -> Option<IpAddr> {
    let address: Option<IpAddr> = hop.parse().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bare = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(with_port).or_else(bare).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], proxies: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().expect("a header"));
        }
        let proxies: Vec<IpNet> = proxies.iter().map(|net| net.parse().expect("a network")).collect();
        address(peer.parse().expect("an address"), &headers, &proxies).to_string()
    }

    #[test]
    fn only_our_own_proxies_are_believed() {
        assert_eq!(seen("198.51.100.7:5", &["192.0.2.9"], &[]), "198.51.100.7");
        assert_eq!(seen("198.51.100.7:5", &["192.0.2.9"], &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(seen("10.1.2.3:5", &["192.0.2.9"], &["10.0.0.0/8"]), "192.0.2.9");
        assert_eq!(seen("10.1.2.3:5", &[], &["10.0.0.0/8"]), "10.1.2.3");
        assert_eq!(seen("[::ffff:10.1.2.3]:5", &["192.0.2.9"], &["10.0.0.0/8"]), "192.0.2.9");
    }

    #[test]
    fn what_the_client_itself_wrote_is_not_read() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(seen("10.1.2.3:5", &["1.1.1.1, 192.0.2.9"], &proxies), "192.0.2.9");
        assert_eq!(seen("10.1.2.3:5", &["1.1.1.1, 192.0.2.9, 10.9.9.9"], &proxies), "192.0.2.9");
        assert_eq!(seen("10.1.2.3:5", &["1.1.1.1", "192.0.2.9"], &proxies), "192.0.2.9");
        assert_eq!(seen("10.1.2.3:5", &["10.0.0.1, 10.0.0.2"], &proxies), "10.0.0.1");
        assert_eq!(seen("[fd00::1]:5", &["[2001:db8::9]:443"], &proxies), "2001:db8::9");
        assert_eq!(seen("10.1.2.3:5", &["192.0.2.9, nonsense"], &proxies), "10.1.2.3");
    }

    #[test]
    fn ipv6_subscribers_are_one_asker() {
        let asker = |text: &str| Asker::of(text.parse().expect("an address"));
        assert_eq!(asker("2001:db8:1:2::1"), asker("2001:db8:1:2:ffff::9"));
        assert_ne!(asker("2001:db8:1:2::1"), asker("2001:db8:1:3::1"));
        assert_eq!(asker("::ffff:192.0.2.1"), asker("192.0.2.1"));
        assert_ne!(asker("192.0.2.1"), asker("192.0.2.2"));
    }
}
