//! Whose address counts: the socket's, unless a proxy we trust speaks for somebody else.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// The proxies that are believed; by default none, loopback neither.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Reads addresses and networks: `10.0.0.0/8`, `::1`.
    ///
    /// # Errors
    /// Names the text that is neither.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, String> {
        let read = |text: &str| match text.parse::<IpNet>() {
            Ok(net) => Ok(net.trunc()),
            Err(_) => text.parse::<IpAddr>().map(IpNet::from),
        };
        let nets = texts.iter().map(|text| {
            let text = text.as_ref().trim();
            read(text).map_err(|_| format!("{text} is neither an address nor a network like 10.0.0.0/8"))
        });
        nets.collect::<Result<_, _>>().map(Self)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// The client's address: `peer`, the other end of the socket, or, if that is a trusted proxy, the
    /// last address in the `X-Forwarded-For` headers (in their order) that is not one.
    ///
    /// What stands left of that address anybody may have written. An entry that is no address ends the
    /// walk at the proxy that reported it.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer.to_canonical();
        let hops = forwarded.rev().flat_map(|line| line.rsplit(','));
        for hop in hops {
            if !self.trusts(client) {
                break;
            }
            match read_hop(hop.trim()) {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }
}

/// An address, perhaps with a port, as proxies write it.
fn read_hop(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

/// What is counted of an address: one of IPv4 as a whole; of IPv6 the /64, since whoever has one
/// address there has all 2^64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies = Proxies::parse(trusted).unwrap();
        proxies.client(peer.parse().unwrap(), forwarded.iter().copied()).to_string()
    }

    #[test]
    fn believes_nobody_by_default() {
        assert_eq!(client(&[], "127.0.0.1", &["6.6.6.6"]), "127.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "9.9.9.9", &["6.6.6.6"]), "9.9.9.9");
    }

    #[test]
    fn walks_from_the_right_past_trusted_hops() {
        let trusted = ["10.0.0.0/8", "::1"];
        let from = |forwarded: &[&str]| client(&trusted, "10.0.0.1", forwarded);
        assert_eq!(from(&["7.7.7.7"]), "7.7.7.7");
        assert_eq!(from(&["6.6.6.6, 7.7.7.7"]), "7.7.7.7");
        assert_eq!(from(&["6.6.6.6, 7.7.7.7, 10.1.1.1"]), "7.7.7.7");
        assert_eq!(from(&["6.6.6.6", "7.7.7.7 ,10.1.1.1", "10.2.2.2"]), "7.7.7.7");
        assert_eq!(from(&[]), "10.0.0.1");
        assert_eq!(from(&["10.3.3.3, 10.1.1.1"]), "10.3.3.3");
        assert_eq!(client(&trusted, "::1", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn stops_at_nonsense() {
        let from = |forwarded: &str| client(&["10.0.0.0/8"], "10.0.0.1", &[forwarded]);
        assert_eq!(from("6.6.6.6, unknown, 10.1.1.1"), "10.1.1.1");
        assert_eq!(from(""), "10.0.0.1");
        assert_eq!(from("6.6.6.6,,"), "10.0.0.1");
    }

    #[test]
    fn reads_ports_brackets_and_mapped_addresses() {
        let from = |forwarded: &str| client(&["10.0.0.0/8"], "::ffff:10.0.0.1", &[forwarded]);
        assert_eq!(from("7.7.7.7:5000"), "7.7.7.7");
        assert_eq!(from("[2001:db8::1]:5000"), "2001:db8::1");
        assert_eq!(from("[2001:db8::1]"), "2001:db8::1");
        assert_eq!(from("7.7.7.7, ::ffff:10.1.1.1"), "7.7.7.7");
    }

    #[test]
    fn counts_ipv6_by_its_network() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:7.7.7.7"), "7.7.7.7");
        assert_eq!(of("7.7.7.7"), "7.7.7.7");
    }

    #[test]
    fn says_which_proxy_is_nonsense() {
        assert!(Proxies::parse(&["10.0.0.0/33"]).unwrap_err().contains("10.0.0.0/33"));
        assert!(Proxies::parse(&["10.0.0.7/8"]).is_ok());
    }
}
