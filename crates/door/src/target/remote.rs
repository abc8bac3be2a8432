//! Targets beyond a network: one address, or a name that leads to several.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use cloister_proto::messages::door::{self, Balance};
use cloister_sys::vsock::VsockAddress;

use super::address::Address;
use crate::clock::Moment;
use crate::resolve::{Endpoint, Query, Resolver, State, Waker};

/// A target with one or more addresses.
#[derive(Debug)]
pub struct Remote {
    text: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Fixed(Address),
    Named {
        query: Query,
        balance: Balance,
        /// There once the resolver runs, which is after the door has confined itself.
        endpoint: OnceLock<Arc<Endpoint>>,
    },
}

/// What a target's name leads to now.
#[derive(Debug)]
pub enum Named {
    /// Where to try, the best address first.
    Addresses(Vec<Address>),
    /// Not known yet; the waker is called once it is.
    Pending,
    /// To nothing, and why.
    Nowhere(String),
}

impl Remote {
    /// Checks a target of a snapshot that is no Unix socket.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for a person.
    pub fn new(target: &door::Target, balance: Balance) -> Result<Self, String> {
        let named = |query: Query, text: String| Self {
            text,
            place: Place::Named {
                query,
                balance,
                endpoint: OnceLock::new(),
            },
        };
        match target {
            door::Target::Tcp { port: 0, .. } => Err("port 0 is nobody's".to_owned()),
            door::Target::Tcp { host, port } => Ok(match host.parse::<IpAddr>() {
                Ok(address) => {
                    let address = SocketAddr::new(address, *port);
                    Self::fixed(format!("tcp:{address}"), Address::Tcp(address))
                }
                Err(_) => {
                    let (name, port) = (host.clone(), *port);
                    named(Query::Host { name, port }, format!("tcp:{host}:{port}"))
                }
            }),
            door::Target::Srv { name } => {
                let text = format!("srv:{name}");
                let name = name.clone();
                Ok(named(Query::Service { name }, text))
            }
            door::Target::Vsock { cid, port } => Ok(Self::fixed(
                format!("vsock:{cid}:{port}"),
                Address::Vsock(VsockAddress {
                    cid: *cid,
                    port: *port,
                }),
            )),
            door::Target::UnixPath { .. } | door::Target::UnixAbstract { .. } => {
                Err("a Unix socket is not beyond a network".to_owned())
            }
        }
    }

    const fn fixed(text: String, address: Address) -> Self {
        Self {
            text,
            place: Place::Fixed(address),
        }
    }

    /// The address, where it is no name.
    #[must_use]
    pub const fn literal(&self) -> Option<Address> {
        match self.place {
            Place::Fixed(address) => Some(address),
            Place::Named { .. } => None,
        }
    }

    /// Has a name looked up from now on. A second call changes nothing.
    pub fn watch(&self, resolver: &Resolver) {
        if let Place::Named {
            query, endpoint, ..
        } = &self.place
        {
            endpoint.get_or_init(|| resolver.watch(query.clone()));
        }
    }

    /// Where to try now; takes a turn among several addresses. `waker` is called, once, when
    /// a name that is `Pending` has an answer.
    pub fn name(&self, now: Moment, waker: &Arc<dyn Waker>) -> Named {
        let (endpoint, balance) = match &self.place {
            Place::Fixed(address) => return Named::Addresses(vec![*address]),
            Place::Named {
                endpoint, balance, ..
            } => (endpoint.get(), *balance),
        };
        let Some(endpoint) = endpoint else {
            return Named::Nowhere(format!("{self}: there is no resolver"));
        };
        let answer = endpoint.current();
        match &answer.state {
            State::Pending => {
                endpoint.wait(answer.generation, waker);
                Named::Pending
            }
            State::Failed(reason) => Named::Nowhere(format!("{self}: {reason}")),
            State::Fresh | State::Stale(_) => {
                let addresses = endpoint.choose(now, balance);
                Named::Addresses(addresses.into_iter().map(Address::Tcp).collect())
            }
        }
    }

    /// An address has refused, or has not answered in time: it rests.
    pub fn failed(&self, now: Moment, address: Address) {
        if let Some((endpoint, address)) = self.member(address) {
            endpoint.failed(now, address);
        }
    }

    /// An address has taken a connection, which counts for as long as the lease is held.
    #[must_use]
    pub fn succeeded(&self, address: Address) -> Option<Lease> {
        let (endpoint, address) = self.member(address)?;
        endpoint.succeeded(address);
        Some(Lease {
            endpoint: Arc::clone(endpoint),
            address,
        })
    }

    fn member(&self, address: Address) -> Option<(&Arc<Endpoint>, SocketAddr)> {
        match (&self.place, address) {
            (Place::Named { endpoint, .. }, Address::Tcp(address)) => {
                Some((endpoint.get()?, address))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// One connection to one of several addresses. Counts until it is dropped.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    address: SocketAddr,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.closed(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(target: &door::Target) -> Result<Remote, String> {
        Remote::new(target, Balance::RoundRobin)
    }

    fn tcp(host: &str, port: u16) -> door::Target {
        door::Target::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn addresses_are_fixed_and_names_are_not() {
        for (target, text, fixed) in [
            (tcp("127.0.0.1", 80), "tcp:127.0.0.1:80", true),
            (tcp("::1", 80), "tcp:[::1]:80", true),
            (tcp("php.example.", 80), "tcp:php.example.:80", false),
            (
                door::Target::Srv {
                    name: "_a._tcp.b".to_owned(),
                },
                "srv:_a._tcp.b",
                false,
            ),
            (door::Target::Vsock { cid: 2, port: 7 }, "vsock:2:7", true),
        ] {
            let remote = remote(&target).expect(text);
            assert_eq!(remote.to_string(), text);
            assert_eq!(remote.literal().is_some(), fixed, "{text}");
        }
        assert!(remote(&tcp("host", 0)).is_err());
        let path = "/x".to_owned();
        assert!(remote(&door::Target::UnixPath { path }).is_err());
    }
}
