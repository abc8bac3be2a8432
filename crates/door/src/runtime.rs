//! What is in force: an immutable value that all workers share and swap as a whole.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::admission::Admission;
use crate::places::Places;
use crate::route::hosts_directory::HostsDirectory;
use crate::route::table::Table;
use crate::route::{Choice, Destination};
use crate::stats::ListenerCounters;
use cloister_proto::hostname::Hostname;
use cloister_proto::messages::door::Keepalive;

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
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Connections at once; 0 for no bound.
    pub connections: u32,
    /// The same for each client.
    pub per_client: u32,
    /// The same for each host.
    pub per_host: u32,
    /// From accept to the end of the hello.
    pub hello: Duration,
    /// From the hello to a connected target.
    pub connect: Duration,
    /// How long a relayed connection may move no byte; zero for any time.
    pub idle: Duration,
}

/// What a listener's connections are served by: all of it but the socket, which must not
/// stay open for them.
#[derive(Debug)]
pub struct Terms {
    /// Where they go.
    pub route: Route,
    /// Their bounds.
    pub limits: Limits,
    /// Who is let in.
    pub admission: Admission,
    /// TCP keepalive towards clients and a TCP target.
    pub keepalive: Option<Keepalive>,
    /// Their counters.
    pub counters: Arc<ListenerCounters>,
    /// The places that they share with other listeners' connections: without a free one a
    /// client waits in the listener's queue.
    pub places: Option<Arc<Places>>,
}

impl Terms {
    /// Whether a connection's client has to be known before it is let in.
    #[must_use]
    pub fn asks_for_client(&self) -> bool {
        self.limits.per_client > 0 || !self.admission.trusted.is_empty()
    }
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

    /// The listening sockets with their names, for a service manager to keep.
    #[must_use]
    pub fn stored(&self) -> Vec<(&str, BorrowedFd<'_>)> {
        let mut stored = Vec::with_capacity(self.listeners.len());
        for listener in &self.listeners {
            let name = listener.terms.counters.name.as_str();
            stored.push((name, listener.socket.descriptor.as_fd()));
        }
        stored
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
        Some(Choice::Directory(Arc::clone(directory?), name.cloned()))
    }
}
