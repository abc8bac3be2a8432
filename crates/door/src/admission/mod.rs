//! Whom a listener lets in: who may speak for others, and how many there may be at once.
//!
//! Counting costs nothing where nothing is limited, and no system call where something is.

pub mod places;
pub mod trusted;

use std::sync::Arc;

use crate::connection::client::Client;
use crate::target::remote::Lease;
use places::{Place, Places};
use trusted::TrustedPeers;

/// Whom a limit for each client counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientGroup {
    /// One IPv4 address.
    V4(u32),
    /// One IPv6 network of 64 bits, which is what a single customer has at least (RFC 6177
    /// section 2): limiting addresses would limit nobody.
    V6(u64),
    /// One user of this machine.
    User(u32),
    /// One virtual machine, by its context id.
    Machine(u32),
    /// All about whom nothing is known.
    Unknown,
}

impl ClientGroup {
    /// Whom a client belongs to.
    #[must_use]
    pub fn of(client: &Client) -> Self {
        match client {
            Client::Inet(address) => match address.ip().to_canonical() {
                std::net::IpAddr::V4(ip) => Self::V4(ip.to_bits()),
                std::net::IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
            },
            Client::Unix { uid, .. } => Self::User(*uid),
            Client::Vsock(address) => Self::Machine(address.cid),
            Client::Unknown => Self::Unknown,
        }
    }
}

/// A listener's connections now, by client and by host. It belongs to the listener's name:
/// all addresses of it and all its snapshots share one.
#[derive(Debug, Default)]
pub struct Occupancy {
    /// By client.
    pub clients: Arc<Places<ClientGroup>>,
    /// By the host that was asked for, as the route names it.
    pub hosts: Arc<Places<Box<str>>>,
}

/// What a listener's terms say of admission.
#[derive(Debug, Default)]
pub struct Admission {
    /// Who has to begin with a PROXY header.
    pub trusted: TrustedPeers,
    /// Who is there.
    pub occupancy: Arc<Occupancy>,
}

/// What one connection holds of its listener's places, and whom it speaks for. Exists only
/// where a limit, a PROXY header or a target with several addresses asks for it.
#[derive(Debug)]
pub struct Admitted {
    /// Who connected, or whom the PROXY header names.
    pub client: Client,
    /// What the PROXY header says, to be passed on; boxed, since most have none.
    pub origin: Option<Box<cloister_proto::proxy_header::Origin>>,
    /// Its place among its client's.
    pub client_place: Option<Place<ClientGroup>>,
    /// Its place among its host's.
    pub host_place: Option<Place<Box<str>>>,
    /// Its place among the connections to one of the target's addresses.
    pub lease: Option<Lease>,
}

impl Admitted {
    /// A client that holds no place yet.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self {
            client,
            origin: None,
            client_place: None,
            host_place: None,
            lease: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_grouped_by_what_one_customer_has() {
        let group = |text: &str| {
            let address = text.parse().expect("an address");
            ClientGroup::of(&Client::Inet(address))
        };
        assert_eq!(group("192.0.2.1:1"), group("192.0.2.1:2"));
        assert_ne!(group("192.0.2.1:1"), group("192.0.2.2:1"));
        assert_eq!(group("[::ffff:192.0.2.1]:1"), group("192.0.2.1:2"));
        assert_eq!(group("[2001:db8:0:1::1]:1"), group("[2001:db8:0:1:ff::]:2"));
        assert_ne!(group("[2001:db8:0:1::1]:1"), group("[2001:db8:0:2::1]:1"));
        let user = |uid, pid| ClientGroup::of(&Client::Unix { uid, pid });
        assert_eq!(user(7, 1), user(7, 2));
        assert_ne!(user(7, 1), user(8, 1));
    }
}
