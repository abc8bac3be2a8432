//! Networks of IP addresses in prefix form (RFC 4632 section 3.1, RFC 4291 section 2.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses of one family that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// The address whose bits behind the prefix are zero.
    base: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No IP address before the slash.
    #[error("{0:?} is no IP address; write for example 10.0.0.0/8 or 2001:db8::/32")]
    Address(String),
    /// No number of bits that the family has.
    #[error("{0:?} is no prefix length of an address with {1} bits")]
    Prefix(String, u8),
    /// Bits behind the prefix are set: one of both is a mistake.
    #[error("{0} has bits behind its prefix; write {1}")]
    HostBits(String, Network),
    /// An IPv4 address in IPv6 form (RFC 4291 section 2.5.5.2): connections from there are
    /// compared as IPv4.
    #[error("{0} is an IPv4 address in disguise; write it as IPv4")]
    Mapped(String),
}

impl Network {
    /// Whether an address lies in it. IPv4-mapped addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                masked_v4(address, self.prefix) == base.to_bits()
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                masked_v6(address, self.prefix) == base.to_bits()
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `ADDRESS/PREFIX`, or one address.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address
            .parse()
            .map_err(|_| NetworkError::Address(address.to_owned()))?;
        if base != base.to_canonical() {
            return Err(NetworkError::Mapped(text.to_owned()));
        }
        let bits = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => {
                let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
                let number = prefix.parse().ok().filter(|&number| number <= bits);
                number
                    .filter(|_| digits)
                    .ok_or_else(|| NetworkError::Prefix(prefix.to_owned(), bits))?
            }
        };
        let masked = match base {
            IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from_bits(masked_v4(base, prefix))),
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(masked_v6(base, prefix))),
        };
        let network = Self {
            base: masked,
            prefix,
        };
        if masked == base {
            Ok(network)
        } else {
            Err(NetworkError::HostBits(text.to_owned(), network))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.base, self.prefix)
    }
}

fn masked_v4(address: Ipv4Addr, prefix: u8) -> u32 {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    address.to_bits() & mask
}

fn masked_v6(address: Ipv6Addr, prefix: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    address.to_bits() & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect(text)
    }

    #[test]
    fn a_network_contains_what_begins_with_its_prefix() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.0/25", "192.0.2.127", "192.0.2.128"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1", "::1", "::2"),
            ("::/0", "ff02::1", "127.0.0.1"),
        ] {
            let contains = |address: &str| network(text).contains(address.parse().expect(address));
            assert!(contains(inside), "{inside} lies in {text}");
            assert!(!contains(outside), "{outside} lies outside of {text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_its_cure() {
        for (text, part) in [
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("2001:db8::1/64", "write 2001:db8::/64"),
            ("10.0.0.0/33", "prefix length"),
            ("10.0.0.0/+8", "prefix length"),
            ("10.0.0.0/", "prefix length"),
            ("::/129", "prefix length"),
            ("10.0.0/8", "no IP address"),
            ("proxy.example", "no IP address"),
            ("", "no IP address"),
            ("::ffff:10.0.0.0/104", "disguise"),
            ("fe80::1%eth0", "no IP address"),
        ] {
            let error = text.parse::<Network>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_text_is_the_prefix_form() {
        for (text, written) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(network(text).to_string(), written);
        }
    }
}
