//! Where connections go.

pub mod hosts_directory;
pub mod table;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use cloister_proto::alpn;
use cloister_proto::hostname::Hostname;
use cloister_proto::messages::door::{Delivery, SendProxy};
use rustix::net::SocketType;

use crate::stats::AppCounters;
use crate::target::{ConnectError, Remote, Target};
use hosts_directory::{HostsDirectory, Kind, Wanted};

/// One target of the configuration and what belongs to it.
#[derive(Debug)]
pub struct Destination {
    /// Where to.
    pub target: Target,
    /// The `host` of its route, which a limit for each host counts by; empty for a listener's
    /// one target.
    pub host: Box<str>,
    /// The header to begin with.
    pub send_proxy: SendProxy,
    /// How it gets the connection.
    pub delivery: Delivery,
    /// Whose counters, where the table names an application.
    pub app: Option<Arc<AppCounters>>,
}

/// A target that has been connected to.
#[derive(Debug)]
pub enum Reached {
    /// Bytes go through this socket, behind this header.
    Relay(OwnedFd, SendProxy),
    /// The connection itself goes through this socket.
    Handoff(OwnedFd),
}

/// The decision for one connection. Connecting looks everything up afresh, so a second try
/// sees a socket that was replaced since the first.
#[derive(Clone, Debug)]
pub enum Choice {
    /// A target of the configuration.
    Table(Arc<Destination>),
    /// A folder of a hosts directory: the name's, or for no name the default.
    Directory(Arc<HostsDirectory>, Option<Hostname>),
}

impl Choice {
    /// Connects without blocking, in the way in which the target takes connections.
    /// `offered` are the client's protocols in its order.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub fn connect(&self, offered: &[Vec<u8>]) -> Result<Reached, ConnectError> {
        match self {
            Self::Table(destination) if destination.delivery == Delivery::Handoff => destination
                .target
                .connect(SocketType::SEQPACKET)
                .map(Reached::Handoff),
            Self::Table(_) => {
                let (socket, header) = self.connect_relay(offered)?;
                Ok(Reached::Relay(socket, header))
            }
            Self::Directory(directory, name) => {
                let found = directory.connect(name.as_ref(), offered, Wanted::Any)?;
                Ok(match found.kind {
                    Kind::Relay => Reached::Relay(found.socket, found.send_proxy),
                    Kind::Handoff { .. } => Reached::Handoff(found.socket),
                })
            }
        }
    }

    /// Whether the target probably gets the connection itself: a guess, without a system
    /// call. [`Choice::connect`] tells.
    #[must_use]
    pub fn probably_hands_off(&self) -> bool {
        match self {
            Self::Table(destination) => destination.delivery == Delivery::Handoff,
            Self::Directory(directory, name) => directory.probably_hands_off(name.as_ref()),
        }
    }

    /// Whether connecting at one moment leads both to the same socket, for clients that offer
    /// these protocols: everything that [`Choice::connect`] goes by is equal.
    #[must_use]
    pub fn leads_where(&self, offered: &[Vec<u8>], other: &Self, others: &[Vec<u8>]) -> bool {
        match (self, other) {
            (Self::Table(one), Self::Table(two)) => Arc::ptr_eq(one, two),
            (Self::Directory(one, name), Self::Directory(two, other_name)) => {
                Arc::ptr_eq(one, two)
                    && name == other_name
                    && alpn::preferred(offered) == alpn::preferred(others)
            }
            _ => false,
        }
    }

    /// The target, where connecting to it takes time.
    #[must_use]
    pub fn remote(&self) -> Option<&Arc<Remote>> {
        match self {
            Self::Table(destination) => destination.target.remote(),
            Self::Directory(..) => None,
        }
    }

    /// The header to begin with, as far as the configuration says it.
    #[must_use]
    pub fn send_proxy(&self) -> SendProxy {
        match self {
            Self::Table(destination) => destination.send_proxy,
            Self::Directory(..) => SendProxy::None,
        }
    }

    /// Connects without blocking for a connection that is not handed off, and says which
    /// header to begin with.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub fn connect_relay(&self, offered: &[Vec<u8>]) -> Result<(OwnedFd, SendProxy), ConnectError> {
        match self {
            Self::Table(destination) if destination.delivery == Delivery::Handoff => {
                Err(ConnectError::NoRelay)
            }
            Self::Table(destination) => {
                let socket = destination.target.connect(SocketType::STREAM)?;
                Ok((socket, destination.send_proxy))
            }
            Self::Directory(directory, name) => {
                let found = directory.connect(name.as_ref(), offered, Wanted::Relay)?;
                Ok((found.socket, found.send_proxy))
            }
        }
    }

    /// The target for people: `unix:/path`. `handed_off`: it got the connection itself.
    #[must_use]
    pub fn describe(&self, handed_off: bool) -> String {
        match self {
            Self::Table(destination) => destination.target.to_string(),
            Self::Directory(directory, name) => {
                let socket = if handed_off {
                    hosts_directory::HANDOFF_SOCKET
                } else {
                    hosts_directory::SOCKET
                };
                let folder = directory.folder_name(name.as_ref().map(AsRef::as_ref));
                format!("unix:{}/{folder}/{socket}", directory.path)
            }
        }
    }

    /// What a limit for each host counts by: the `host` of the table's route, so that the many
    /// names of a wildcard share one share, or the folder's name.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Table(destination) if destination.host.is_empty() => None,
            Self::Table(destination) => Some(&destination.host),
            Self::Directory(_, name) => Some(
                name.as_ref()
                    .map_or(hosts_directory::DEFAULT, Hostname::as_str),
            ),
        }
    }

    /// The application's counters, where the table named one.
    #[must_use]
    pub fn app(&self) -> Option<&Arc<AppCounters>> {
        match self {
            Self::Table(destination) => destination.app.as_ref(),
            Self::Directory(..) => None,
        }
    }
}
