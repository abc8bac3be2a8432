//! Supervisor ↔ `cloister-door`: one JSON message per `SOCK_SEQPACKET` packet.
//!
//! Only the supervisor asks; the door answers each request with one reply that carries
//! the request's `id`. The first packet that the door sends is [`Reply::Ready`].
//!
//! Descriptors travel by `SCM_RIGHTS` beside a request and are appended, in order, to a
//! list of pending descriptors. [`Request::Apply`] consumes that whole list: the indices
//! in it and in its snapshot count from the start of the list. One packet carries at most
//! 253 descriptors (`SCM_MAX_FD`, Linux); [`Request::Descriptors`] precedes a longer list.

use serde::{Deserialize, Serialize};

/// The version of this schema; [`Reply::Ready`] names it.
pub const PROTOCOL: u32 = 4;

/// What the supervisor asks of the door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Adds the packet's descriptors to the pending list. Answered by [`Reply::Received`].
    Descriptors {
        /// Echoed in the reply.
        id: u64,
    },
    /// Replaces the running snapshot, atomically for each connection.
    Apply {
        /// Echoed in the reply.
        id: u64,
        /// Index of the descriptor from which to read the [`Snapshot`] as JSON (a memfd).
        snapshot: usize,
    },
    /// Asks for the counters.
    Stats {
        /// Echoed in the reply.
        id: u64,
    },
    /// Asks whether every worker thread answers.
    Check {
        /// Echoed in the reply.
        id: u64,
        /// Milliseconds until which they must.
        patience_ms: u64,
    },
    /// Closes the listeners and exits when the last connection has ended or at the deadline.
    Drain {
        /// Echoed in the reply.
        id: u64,
        /// Milliseconds from now after which open connections are cut.
        deadline_ms: u64,
    },
}

/// What the door answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// Sent once, unasked, when the door is confined and can take a snapshot.
    Ready {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The door's own version.
        version: String,
        /// Whether each protection is in force, in the order in which they were taken.
        confinement: Vec<Protection>,
    },
    /// The descriptors were taken.
    Received {
        /// The request's id.
        id: u64,
    },
    /// The snapshot is in force for every connection accepted from now on.
    Applied {
        /// The request's id.
        id: u64,
        /// [`Snapshot::generation`].
        generation: u64,
    },
    /// The request changed nothing.
    Refused {
        /// The request's id; 0 where the request could not be read.
        id: u64,
        /// What is wrong, where, and what to do.
        reason: String,
    },
    /// The counters.
    Stats {
        /// The request's id.
        id: u64,
        /// All counters since the door started.
        stats: Statistics,
    },
    /// The listeners are closed; the door exits by itself.
    Draining {
        /// The request's id.
        id: u64,
        /// Connections still open.
        active: u64,
    },
    /// Whether the workers answer.
    Checked {
        /// The request's id.
        id: u64,
        /// Whether all of them did in time.
        answering: bool,
    },
    /// Sent once, unasked, when the last connection of a drain has ended: the door exits.
    Ended {
        /// All counters, for the last time.
        stats: Statistics,
    },
}

/// One protection that the door took on itself at start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// `user`, `capabilities`, `no-new-privileges`, `seccomp`.
    pub name: String,
    /// Whether it is in force.
    pub active: bool,
    /// Why not, or a detail such as the user id.
    pub detail: String,
}

/// Everything that the door needs to know. Immutable; replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Counts upwards; named in statistics and log lines.
    pub generation: u64,
    /// Worker threads. Only the first snapshot's number counts.
    pub workers: u16,
    /// Whether to write one JSON line per connection to standard output.
    pub log_connections: bool,
    /// All listeners. One that the door holds and that is not named here is closed.
    pub listeners: Vec<Listener>,
    /// Targets by TLS server name, looked up before any hosts directory.
    pub hosts: Vec<HostRoute>,
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The listener's name in the configuration.
    pub name: String,
    /// Its address for people: `0.0.0.0:443`, `[::]:443`, `unix:/run/x.sock`.
    pub address: String,
    /// Index of its descriptor: a listening `SOCK_STREAM` socket, TCP or Unix. A socket
    /// that the door holds already (same inode) goes on without losing its queue.
    pub descriptor: usize,
    /// Where its connections go.
    pub route: Route,
    /// Whose connections begin with a PROXY header, which names the client: networks
    /// (`10.0.0.0/8`), addresses, `unix` or `unix:UID`. Nobody else's header is read.
    pub accept_proxy: Vec<String>,
    /// Its bounds.
    pub limits: Limits,
    /// TCP keepalive of its clients' connections and of those to its TCP target; without it
    /// the sockets stay as they came.
    pub keepalive: Option<Keepalive>,
}

/// How the kernel finds out that a silent peer is gone: tcp(7) `TCP_KEEPIDLE`,
/// `TCP_KEEPINTVL`, `TCP_KEEPCNT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keepalive {
    /// Seconds of silence before the first probe; 1 to 32767.
    pub idle_s: u32,
    /// Seconds between probes; 1 to 32767.
    pub interval_s: u32,
    /// Unanswered probes that end the connection; 1 to 127.
    pub probes: u32,
}

/// Where a listener's connections go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Route {
    /// All to one target; the bytes are not looked at.
    Target {
        /// The target.
        target: Target,
        /// The PROXY header to begin with.
        send_proxy: SendProxy,
        /// Which of the target's addresses comes first.
        balance: Balance,
    },
    /// By the TLS server name: [`Snapshot::hosts`] first, then the directory.
    ServerName {
        /// The hosts directory, if there is one.
        directory: Option<HostsDirectory>,
    },
}

/// A hosts directory: one folder per hostname, looked up for each connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsDirectory {
    /// Its path, for messages only.
    pub path: String,
    /// Index of its descriptor, opened `O_PATH | O_DIRECTORY`.
    pub descriptor: usize,
    /// Whether its folders are called by the hashes of the hostnames.
    pub hashed: bool,
}

/// One entry of the routing table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRoute {
    /// A canonical hostname; `*.parent` for every name one label below `parent`; `*` for
    /// every other name, and for hellos without one.
    pub host: String,
    /// The application's name, for log lines and statistics.
    pub app: Option<String>,
    /// Where to.
    pub target: Target,
    /// The PROXY header to begin with; nothing can precede what is handed off.
    pub send_proxy: SendProxy,
    /// How the target gets the connection.
    pub delivery: Delivery,
}

/// How a target gets a client's connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// The door moves its bytes.
    #[default]
    Relay,
    /// The target is a listening `SOCK_SEQPACKET` socket and gets the accepted connection
    /// itself, by `SCM_RIGHTS` (docs/handoff.md).
    Handoff,
}

/// A place that takes connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Target {
    /// A Unix socket in the file system; an absolute path of any length.
    UnixPath {
        /// The path.
        path: String,
    },
    /// A Unix socket in the abstract namespace (unix(7)).
    UnixAbstract {
        /// The name without the leading NUL byte.
        name: String,
    },
    /// A TCP port. All addresses of a name are tried; it is looked up again as they expire.
    Tcp {
        /// An IPv4 or IPv6 address without brackets, or a name.
        host: String,
        /// The port; not 0.
        port: u16,
    },
    /// A port of a virtual machine or of its host (vsock(7)).
    Vsock {
        /// The context id; 2 is the host, 1 this machine.
        cid: u32,
        /// The port.
        port: u32,
    },
    /// The TCP ports that a DNS service record names (RFC 2782).
    Srv {
        /// The record's name: `_service._tcp.example.org`.
        name: String,
    },
}

/// Which address of a target with several comes first for the next connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// The one with the fewest open connections.
    LeastConnections,
}

/// Which PROXY protocol header (haproxy's proxy-protocol.txt) precedes the client's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SendProxy {
    /// None: the target gets the client's bytes and nothing else.
    #[default]
    None,
    /// The text form.
    V1,
    /// The binary form, with the AUTHORITY and ALPN type-length-values where known.
    V2,
}

/// The bounds of one listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Connections at once; one more is closed at once and counted. 0: no bound.
    pub connections: u32,
    /// The same for each client: an IPv4 address, an IPv6 network of 64 bits, a user of this
    /// machine, a virtual machine; counted over all listeners of the same name. 0: no bound.
    pub connections_per_client: u32,
    /// The same for each host that is asked for, as the route names it; answered by
    /// `internal_error`. 0: no bound.
    pub connections_per_host: u32,
    /// Milliseconds from accept to the end of the PROXY header and the ClientHello.
    pub hello_timeout_ms: u32,
    /// Milliseconds to reach the target.
    pub connect_timeout_ms: u32,
    /// Milliseconds without a byte in either direction after which a relayed connection is
    /// reset. 0: none.
    pub idle_timeout_ms: u32,
}

/// Counters since the door started; `active` and `descriptors` are gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// The snapshot in force.
    pub generation: u64,
    /// Worker threads.
    pub workers: u16,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now, from accept to close.
    pub active: u64,
    /// Bytes relayed from clients to targets, hello included, PROXY headers excluded.
    pub bytes_to_target: u64,
    /// Bytes relayed from targets to clients.
    pub bytes_to_client: u64,
    /// Log lines dropped because their reader was too slow.
    pub log_lines_lost: u64,
    /// How often a worker paused its listeners because descriptors or memory had run out.
    pub accept_pauses: u64,
    /// How the ended connections ended, by [`Outcome`]'s name; outcomes that never
    /// happened may be left out.
    pub outcomes: std::collections::BTreeMap<String, u64>,
    /// From accept to the end of the ClientHello.
    pub hello: Histogram,
    /// From the decision where a connection goes to the connected target.
    pub connect: Histogram,
    /// From accept to the target's first byte: what a client waits for the answer to its hello.
    pub answer: Histogram,
    /// By listener.
    pub listeners: Vec<ListenerStatistics>,
    /// By application of the table.
    pub apps: Vec<AppStatistics>,
}

/// How long something took, how often. What begins and ends within one batch of events of a
/// worker counts as no time at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// The longest duration of each bucket but the last, in microseconds, in rising order.
    pub bounds_us: Vec<u64>,
    /// How many durations fell into each bucket: one more than there are bounds.
    pub counts: Vec<u64>,
    /// Their sum in microseconds.
    pub sum_us: u64,
}

/// Counters of one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerStatistics {
    /// [`Listener::name`].
    pub name: String,
    /// [`Listener::address`].
    pub address: String,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub active: u64,
    /// Bytes from clients.
    pub bytes_to_target: u64,
    /// Bytes to clients.
    pub bytes_to_client: u64,
    /// As [`Statistics::outcomes`].
    pub outcomes: std::collections::BTreeMap<String, u64>,
}

/// Counters of one application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppStatistics {
    /// [`HostRoute::app`].
    pub name: String,
    /// Connections routed to it.
    pub accepted: u64,
    /// Connections open now.
    pub active: u64,
    /// Bytes to it.
    pub bytes_to_target: u64,
    /// Bytes from it.
    pub bytes_to_client: u64,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Both sides closed, each after its last byte; or the client, after its last byte, closed
    /// without waiting for the target's end.
    Complete,
    /// The client reset the connection or vanished.
    ClientAborted,
    /// The target reset the connection or vanished.
    TargetAborted,
    /// The listener's connection limit was reached; closed at once.
    RefusedLimit,
    /// The client's limit was reached; closed at once.
    RefusedClientLimit,
    /// The limit of the host that was asked for was reached; answered by `internal_error`.
    RefusedHostLimit,
    /// A peer that must begin with a PROXY header did not, or not in time.
    RefusedProxy,
    /// The first bytes are no valid ClientHello; answered by an alert.
    RefusedHello,
    /// No such name; answered by `unrecognized_name`.
    RefusedName,
    /// The hello did not end in time; answered by `user_canceled`.
    HelloTimeout,
    /// The client closed before its hello ended.
    HelloIncomplete,
    /// The target could not be reached.
    TargetUnreachable,
    /// The target did not take the connection in time.
    TargetTimeout,
    /// No byte came either way for the idle time-out.
    IdleTimeout,
    /// The target got the connection itself; how that ends is not the door's to know.
    HandedOff,
    /// Cut by a drain's deadline.
    Drained,
    /// The door ran out of something (descriptors, memory).
    Internal,
}

/// One line of the connection log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionRecord {
    /// When it ended: microseconds since 1970-01-01 00:00 UTC.
    pub time_us: u64,
    /// [`Listener::name`].
    pub listener: String,
    /// The client's address: `192.0.2.1:4711`, `[2001:db8::1]:4711`, `unix:uid=1000,pid=77`,
    /// `vsock:3:1024`.
    pub client: String,
    /// The canonical server name, where the hello had one.
    pub name: Option<String>,
    /// The protocols that the client offered, in its order.
    pub alpn: Vec<String>,
    /// The application, where the table routed.
    pub app: Option<String>,
    /// The target, where one was chosen: `unix:/path`, `unix:@name`; for a name of the hosts
    /// directory the socket that was looked for, there or not.
    pub target: Option<String>,
    /// Bytes from the client to the target.
    pub bytes_to_target: u64,
    /// Bytes from the target to the client.
    pub bytes_to_client: u64,
    /// Microseconds from accept to the end.
    pub duration_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What exactly was wrong, for outcomes that refuse.
    pub reason: Option<String>,
}
