//! How far the door's targets lie: what it must be able to do beyond Unix sockets.

use crate::target::{Target, address::Address};

/// Which networks connections to targets take. Nothing, by default: Unix sockets that have a
/// path, which lie in no network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Abstract Unix sockets: they belong to the network namespace (network_namespaces(7)).
    pub abstract_names: bool,
    /// TCP over IPv4 and IPv6.
    pub tcp: bool,
    /// Virtual machines.
    pub vsock: bool,
    /// Names that are looked up: name servers, and the files that say which.
    pub names: bool,
}

impl Reach {
    /// What one target needs.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let mut reach = Self::default();
        match target {
            Target::Long { .. } => {}
            Target::Unix(address, _) => reach.abstract_names = address.abstract_name().is_some(),
            Target::Remote(remote) => match remote.literal() {
                Some(Address::Vsock(_)) => reach.vsock = true,
                Some(Address::Tcp(_)) => reach.tcp = true,
                None => (reach.tcp, reach.names) = (true, true),
            },
        }
        reach
    }

    /// Reads a list like `tcp,vsock`; `abstract` and `names` are the other words.
    ///
    /// # Errors
    ///
    /// The word that is none of them, for a person.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut reach = Self::default();
        for word in list.split(',').filter(|word| !word.is_empty()) {
            match word {
                "abstract" => reach.abstract_names = true,
                "tcp" => reach.tcp = true,
                "vsock" => reach.vsock = true,
                "names" => reach.names = true,
                other => {
                    return Err(format!(
                        "{other:?} is none of abstract, tcp, vsock and names"
                    ));
                }
            }
        }
        Ok(reach)
    }

    /// Whether everything that `other` needs is there.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        (self.abstract_names || !other.abstract_names)
            && (self.tcp || !other.tcp)
            && (self.vsock || !other.vsock)
            && (self.names || !other.names)
    }

    /// Whether no target lies in the door's network namespace. AF_VSOCK passes every
    /// namespace, but there is no reason to rely on that.
    #[must_use]
    pub fn needs_no_network(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_words() {
        let all = Reach {
            abstract_names: true,
            tcp: true,
            vsock: true,
            names: true,
        };
        assert_eq!(Reach::parse("vsock,tcp,abstract,names"), Ok(all));
        assert_eq!(Reach::parse(""), Ok(Reach::default()));
        let tcp = Reach::parse("tcp").expect("a word");
        assert!(all.covers(tcp) && !tcp.covers(all) && !Reach::default().covers(tcp));
        assert!(Reach::default().needs_no_network() && !tcp.needs_no_network());
        assert!(Reach::parse("udp").is_err());
    }
}
