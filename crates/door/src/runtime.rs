//! What is in force: an immutable value that all workers share and swap as a whole.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::route::hosts_directory::HostsDirectory;
use crate::route::table::Table;
use crate::route::{Choice, Destination};
use crate::stats::ListenerCounters;
use cloister_proto::hostname::Hostname;

/// A listening socket. Closed when the last snapshot that names it is gone; connections do
/// not hold it.
#[derive(Debug)]
pub struct ListeningSocket {
    /// Names it in epoll events; never used again for another.
    pub id: u32,
    /// Non-blocking and close-on-exec.
    pub descriptor: OwnedFd,
    /// Its number in the kernel's socket file system: tells whether two descriptors are one
    /// socket.
    pub inode: u64,
    /// Whether it is TCP, not Unix.
    pub tcp: bool,
}

/// Where a listener's connections go.
#[derive(Debug)]
pub enum Route {
    /// All to one target.
    Target(Arc<Destination>),
    /// By server name: the table, then the directory.
    ServerName(Option<Arc<HostsDirectory>>),
}

/// The bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; 0 for no bound.
    pub connections: u32,
    /// From accept to the end of the hello.
    pub hello: Duration,
    /// From the hello to a connected target.
    pub connect: Duration,
}

/// What a listener's connections are served by: all of it but the socket, which must not
/// stay open for them.
#[derive(Debug)]
pub struct Terms {
    /// Where they go.
    pub route: Route,
    /// Their bounds.
    pub limits: Limits,
    /// Their counters.
    pub counters: Arc<ListenerCounters>,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its socket.
    pub socket: Arc<ListeningSocket>,
    /// How its connections are served.
    pub terms: Arc<Terms>,
}

/// A snapshot in force.
#[derive(Debug, Default)]
pub struct Runtime {
    /// The snapshot's number.
    pub generation: u64,
    /// Whether connections are logged.
    pub log_connections: bool,
    /// All listeners.
    pub listeners: Vec<Listener>,
    /// Targets by server name.
    pub table: Arc<Table>,
}

impl Runtime {
    /// The same without listeners: what a worker keeps for the connections of a drain.
    #[must_use]
    pub fn without_listeners(&self) -> Self {
        Self {
            generation: self.generation,
            log_connections: self.log_connections,
            listeners: Vec::new(),
            table: Arc::clone(&self.table),
        }
    }

    /// Decides for a server name; `None` where nothing takes it.
    #[must_use]
    pub fn choose(
        &self,
        directory: Option<&Arc<HostsDirectory>>,
        name: Option<&Hostname>,
    ) -> Option<Choice> {
        if let Some(destination) = self.table.find(name) {
            return Some(Choice::Table(Arc::clone(destination)));
        }
        Some(Choice::Directory(Arc::clone(directory?), name?.clone()))
    }
}
