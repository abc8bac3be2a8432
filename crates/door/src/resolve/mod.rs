//! Names to addresses, as they change: one thread that asks, workers that read.
//!
//! [`Resolver::watch`] gives an [`Endpoint`] for a name. A worker reads its
//! [`Answer`] without waiting; the resolver's thread refreshes it ahead of its expiry while it
//! is in use, and serves the last good one while no server answers ([`schedule`]). The hosts
//! file, search domains and the servers of resolv.conf are honoured, and their changes too
//! ([`files`]). Nothing here is started for a door whose targets are sockets and literals.
//!
//! Answers come from servers that may lie: the number of addresses ([`ADDRESSES`]), of
//! services ([`lookup`]), of names ([`NAMES`]) and of questions under way is bounded, times of
//! life are cut to sane ones, and addresses that no host has are dropped. An address of this
//! machine or of a private network is taken: names for those are what a relay is for.

pub mod balance;
pub mod configuration;
pub mod endpoint;
pub mod files;
pub mod hosts;
pub mod lookup;
pub mod order;
pub mod records;
pub mod schedule;
mod task;
mod thread;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use endpoint::{Endpoint, Waker};
pub use thread::{Report, Resolver, ResolverOptions};

/// Addresses of one name at most; more are dropped, from the end.
pub const ADDRESSES: usize = 64;

/// Names at once; further ones fail.
pub const NAMES: usize = 4096;

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// The addresses of a host: A and AAAA.
    Host {
        /// A name or an IP address. With a trailing dot it is absolute: no search domains.
        name: String,
        /// The port of every address.
        port: u16,
    },
    /// The servers of a service: SRV (RFC 2782), then A and AAAA.
    Service {
        /// Such as `_service._tcp.example.org`.
        name: String,
    },
}

impl Query {
    /// The address, where no server needs to be asked.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        let Self::Host { name, port } = self else {
            return None;
        };
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let address: IpAddr = bare.unwrap_or(name).parse().ok()?;
        Some(SocketAddr::new(address, *port))
    }
}

impl fmt::Display for Query {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { name, port } => write!(formatter, "{name}:{port}"),
            Self::Service { name } => write!(formatter, "srv:{name}"),
        }
    }
}

/// One address to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where.
    pub socket: SocketAddr,
    /// Lower ones first: that of the SRV record, 65536 more where this machine has no route.
    pub priority: u32,
    /// Share among addresses of the same priority; only the ratio counts.
    pub weight: u32,
}

impl Address {
    /// One without a priority and weight of its own.
    #[must_use]
    pub const fn plain(socket: SocketAddr) -> Self {
        Self {
            socket,
            priority: 0,
            weight: 1,
        }
    }
}

/// How much an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// On its way. Addresses, if any, are old ones: better to wait for the next answer.
    Pending,
    /// Within its time of life.
    Fresh,
    /// The last good one, beyond its time of life: why there is no newer one.
    Stale(Arc<str>),
    /// There is none: why.
    Failed(Arc<str>),
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In order of preference. Never empty when `Fresh` or `Stale`, always when `Failed`.
    pub addresses: Vec<Address>,
    /// What it is worth.
    pub state: State,
    /// Grows with each answer of an endpoint.
    pub generation: u64,
}
