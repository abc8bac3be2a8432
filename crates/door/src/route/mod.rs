//! Where connections go.

pub mod hosts_directory;
pub mod table;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use cloister_proto::hostname::Hostname;
use cloister_proto::messages::door::SendProxy;

use crate::stats::AppCounters;
use crate::target::{ConnectError, Target};
use hosts_directory::HostsDirectory;

/// One target of the configuration and what belongs to it.
#[derive(Debug)]
pub struct Destination {
    /// Where to.
    pub target: Target,
    /// The header to begin with.
    pub send_proxy: SendProxy,
    /// Whose counters, where the table names an application.
    pub app: Option<Arc<AppCounters>>,
}

/// The decision for one connection. Connecting looks everything up afresh, so a second try
/// sees a socket that was replaced since the first.
#[derive(Clone, Debug)]
pub enum Choice {
    /// A target of the configuration.
    Table(Arc<Destination>),
    /// A folder of a hosts directory.
    Directory(Arc<HostsDirectory>, Hostname),
}

impl Choice {
    /// Connects without blocking and says which header to begin with.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub fn connect(&self) -> Result<(OwnedFd, SendProxy), ConnectError> {
        match self {
            Self::Table(destination) => {
                let socket = destination.target.connect()?;
                Ok((socket, destination.send_proxy))
            }
            Self::Directory(directory, name) => directory.connect(name),
        }
    }

    /// The target for people: `unix:/path`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Table(destination) => destination.target.to_string(),
            Self::Directory(directory, name) => {
                format!("unix:{}/{name}/{}", directory.path, hosts_directory::SOCKET)
            }
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
