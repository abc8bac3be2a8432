//! In which order addresses are tried: RFC 6724 section 6 and RFC 8305 section 4.
//!
//! Of RFC 6724's rules those stay that tell a route that works from one that does not (1, 2,
//! 5, 6, 8). Rule 9, the longest matching prefix, is left out: it would undo a name server's
//! rotation.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, getsockname, socket_with};

/// The address from which this machine would send to `destination`, `None` where it has no
/// route. No packet is sent: connect(2) on UDP only looks up the route.
#[must_use]
pub fn source_of(destination: IpAddr) -> Option<IpAddr> {
    let family = match destination {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::DGRAM, flags, None).ok()?;
    // Any port but 0; the discard service's.
    connect(&socket, &SocketAddr::new(destination, 9)).ok()?;
    Some(SocketAddr::try_from(getsockname(&socket).ok()?).ok()?.ip())
}

/// Sorts by preference, stably: equals stay in the order of the name server. True beside
/// those that this machine has a route to.
pub fn sort(
    addresses: Vec<IpAddr>,
    source: impl Fn(IpAddr) -> Option<IpAddr>,
) -> Vec<(IpAddr, bool)> {
    let rank = |address: IpAddr| {
        let from = source(address);
        let (precedence, label) = policy(address);
        (
            from.is_none(),                                         // rule 1
            from.is_some_and(|from| scope(from) != scope(address)), // rule 2
            from.is_some_and(|from| policy(from).1 != label),       // rule 5
            std::cmp::Reverse(precedence),                          // rule 6
            scope(address),                                         // rule 8
        )
    };
    let mut ranked: Vec<_> = addresses.into_iter().map(|a| (rank(a), a)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let unranked = ranked.into_iter();
    unranked.map(|(rank, address)| (address, !rank.0)).collect()
}

/// Lets both kinds alternate, beginning with the kind of the first, each in its own order.
pub fn interleave<T>(items: Vec<T>, kind: impl Fn(&T) -> bool) -> Vec<T> {
    let Some(leading) = items.first().map(&kind) else {
        return items;
    };
    let number = items.len();
    let (first, second): (Vec<T>, Vec<T>) = items.into_iter().partition(|i| kind(i) == leading);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::with_capacity(number);
    loop {
        let before = mixed.len();
        mixed.extend(first.next());
        mixed.extend(second.next());
        if mixed.len() == before {
            return mixed;
        }
    }
}

/// Precedence and label of RFC 6724 section 2.1's default table.
fn policy(address: IpAddr) -> (u8, u8) {
    let address = match address {
        IpAddr::V4(_) => return (35, 4),
        IpAddr::V6(address) => address,
    };
    let [first, second, ..] = address.segments();
    if address == Ipv6Addr::LOCALHOST {
        (50, 0)
    } else if address.to_ipv4_mapped().is_some() {
        (35, 4)
    } else if first == 0x2002 {
        (30, 2)
    } else if (first, second) == (0x2001, 0) {
        (5, 5)
    } else if first & 0xfe00 == 0xfc00 {
        (3, 13)
    } else if first & 0xffc0 == 0xfec0 {
        (1, 11)
    } else if first == 0x3ffe {
        (1, 12)
    } else {
        (40, 1)
    }
}

/// RFC 6724 sections 3.1 and 3.2: loopback counts as link-local.
fn scope(address: IpAddr) -> u8 {
    let local = match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    };
    if local { 0x2 } else { 0xe }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts
            .iter()
            .map(|t| t.parse().expect("an address"))
            .collect()
    }

    /// A host with IPv4, global IPv6 and loopback.
    fn both(destination: IpAddr) -> Option<IpAddr> {
        let text = match destination {
            IpAddr::V4(a) if a.is_loopback() => "127.0.0.1",
            IpAddr::V4(_) => "192.0.2.1",
            IpAddr::V6(a) if a.is_loopback() => "::1",
            IpAddr::V6(_) => "2001:db8::1",
        };
        Some(text.parse().expect("an address"))
    }

    fn sorted(texts: &[&str], source: impl Fn(IpAddr) -> Option<IpAddr>) -> Vec<String> {
        let sorted = sort(addresses(texts), source).into_iter();
        sorted.map(|(address, _)| address.to_string()).collect()
    }

    #[test]
    fn ipv6_comes_first_where_it_has_a_route() {
        let given = ["198.51.100.1", "2001:db8:1::1"];
        assert_eq!(sorted(&given, both), ["2001:db8:1::1", "198.51.100.1"]);
        let ipv4_only = |a: IpAddr| a.is_ipv4().then(|| both(a)).flatten();
        assert_eq!(sorted(&given, ipv4_only), given);
        let reached = sort(addresses(&given), ipv4_only);
        assert_eq!(
            reached
                .iter()
                .map(|(_, routed)| *routed)
                .collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn private_ipv6_without_a_source_of_its_kind_comes_after_ipv4() {
        let given = ["fd00::1", "198.51.100.1"];
        assert_eq!(sorted(&given, both), ["198.51.100.1", "fd00::1"]);
    }

    #[test]
    fn the_servers_rotation_stays() {
        let given = ["198.51.100.7", "198.51.100.1", "198.51.100.3"];
        assert_eq!(sorted(&given, both), given);
    }

    #[test]
    fn families_alternate_from_the_preferred_one() {
        let given = addresses(&["::1", "::2", "::3", "10.0.0.1"]);
        let mixed = interleave(given, IpAddr::is_ipv6);
        assert_eq!(mixed, addresses(&["::1", "10.0.0.1", "::2", "::3"]));
        assert!(interleave(Vec::<IpAddr>::new(), IpAddr::is_ipv6).is_empty());
    }

    #[test]
    fn families_take_turns_from_the_first_one_on() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let [four_a, four_b, six_a, six_b, six_c] =
            ["1.1.1.1:1", "2.2.2.2:1", "[a::]:1", "[b::]:1", "[c::]:1"].map(address);
        let mixed = |given: &[SocketAddr]| interleave(given.to_vec(), SocketAddr::is_ipv6);
        assert_eq!(
            mixed(&[six_a, six_b, six_c, four_a, four_b]),
            [six_a, four_a, six_b, four_b, six_c]
        );
        assert_eq!(mixed(&[four_a, six_a]), [four_a, six_a]);
        assert_eq!(mixed(&[four_a, four_b]), [four_a, four_b]);
        assert!(mixed(&[]).is_empty());
    }

    #[test]
    fn this_machine_has_a_route_to_itself() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        assert_eq!(source_of(loopback), Some(loopback));
    }
}
