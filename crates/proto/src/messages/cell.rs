//! Supervisor → `cloister-cell`: one JSON specification, and the report that comes back.
//!
//! The specification is complete: `cloister-cell` has no policy and adds no default. It is
//! read from the descriptor that `--spec-fd` names. The report goes to the descriptor that
//! `--status-fd` names: one [`Failure`] as JSON and then end of file, or, once the
//! application has been executed, end of file and nothing else (every copy of that
//! descriptor is close-on-exec).

use serde::{Deserialize, Serialize};

/// Everything that makes one cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The cell's name, for messages and process titles.
    pub name: String,
    /// The program and its arguments. The program is a path inside the cell, or a name
    /// without a slash that is looked up there in the `PATH` of [`Spec::environment`].
    pub command: Vec<String>,
    /// The application's whole environment: nothing is inherited. `LISTEN_PID`,
    /// `LISTEN_FDS` and `LISTEN_FDNAMES` are added where [`Spec::descriptors`] lists any.
    pub environment: Vec<Variable>,
    /// An absolute path inside the cell.
    pub working_directory: String,
    /// The host name inside the cell, where the UTS namespace is its own.
    pub hostname: String,
    /// Who the application is.
    pub identity: Identity,
    /// Which namespaces are its own.
    pub namespaces: Namespaces,
    /// What it sees of the file system; ignored where the mount namespace is not its own.
    pub filesystem: Filesystem,
    /// Listening sockets handed over as `LISTEN_FDS` (sd_listen_fds(3)), from descriptor 3
    /// upwards in this order.
    pub descriptors: Vec<Descriptor>,
    /// What standard input is; output and errors are always inherited.
    pub stdin: Stdin,
    /// Further protections; each can be taken away so that its effect can be tested.
    pub protections: Protections,
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name: not empty, without `=` and NUL.
    pub name: String,
    /// Its value, without NUL.
    pub value: String,
}

/// The application's user and group, inside the cell and on the host.
///
/// With a user namespace exactly one user id and one group id are mapped, `uid` to
/// `host_uid` and `gid` to `host_gid`; every other id does not exist inside. Without one
/// the application runs as `host_uid` and `host_gid`. Host id 0 is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// User id on the host; never 0.
    pub host_uid: u32,
    /// Group id on the host; never 0.
    pub host_gid: u32,
}

/// Which namespaces (namespaces(7)) are the cell's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespaces {
    /// user_namespaces(7).
    pub user: bool,
    /// mount_namespaces(7).
    pub mount: bool,
    /// pid_namespaces(7).
    pub pid: bool,
    /// ipc_namespaces(7).
    pub ipc: bool,
    /// uts_namespaces(7).
    pub uts: bool,
    /// cgroup_namespaces(7).
    pub cgroup: bool,
    /// network_namespaces(7); the loopback interface is brought up.
    pub network: bool,
}

/// The cell's file system: an empty root, then binds and temporary file systems, each
/// parent before what lies in it whatever its kind (a bind on `/tmp/app` lies in a
/// temporary `/tmp` and stays visible; the caller has sorted the binds themselves), then
/// files, then links. The root itself ends read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filesystem {
    /// Parts of the host's file system.
    pub binds: Vec<Bind>,
    /// Private writable file systems in memory.
    pub temporary: Vec<Temporary>,
    /// Small files made for the cell.
    pub files: Vec<File>,
    /// Symbolic links.
    pub links: Vec<Link>,
    /// Whether to mount a `/proc` that shows only the cell's own processes (`hidepid` and
    /// `subset=pid` come from the pid namespace and its mount options).
    pub proc: bool,
    /// Whether to make a private `/dev` with null, zero, full, random, urandom, tty, a
    /// devpts of its own, shm, and the usual links to /proc/self/fd.
    pub dev: bool,
}

/// A part of the host's file system, seen in the cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// An absolute path on the host; resolved with the launcher's privileges.
    pub source: String,
    /// An absolute path in the cell; missing folders above it are made.
    pub destination: String,
    /// Whether the cell may write to it.
    pub writable: bool,
    /// Whether programs on it may be executed.
    pub executable: bool,
    /// Whether a missing source is passed over in silence.
    pub optional: bool,
}

/// A private file system in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Temporary {
    /// An absolute path in the cell.
    pub path: String,
    /// Its bound in bytes.
    pub size_bytes: u64,
    /// Its permission bits, for example 0o1777 as 1023.
    pub mode: u32,
}

/// A file made for the cell, owned by the application's user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// An absolute path in the cell; missing folders above it are made.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its content.
    pub content: Content,
}

/// Where a file's content comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Content {
    /// The text itself.
    Text {
        /// The text.
        text: String,
    },
    /// Read to its end, at most 1 MiB, from an inherited descriptor: secrets never stand
    /// in the specification.
    Descriptor {
        /// The descriptor's number in the launcher.
        descriptor: i32,
    },
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// An absolute path in the cell.
    pub path: String,
    /// What it points to.
    pub target: String,
}

/// An inherited listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// Its name in `LISTEN_FDNAMES`: without `:` and control characters.
    pub name: String,
    /// Its number in the launcher.
    pub descriptor: i32,
}

/// The application's standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// The launcher's own: a command in the foreground reads the terminal.
    Inherit,
}

/// Protections beside the namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protections {
    /// Empties every capability set, the bounding set included.
    pub drop_capabilities: bool,
    /// prctl(2) `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// A new session (setsid(2)): no controlling terminal, no foreign process group.
    pub new_session: bool,
    /// A fresh session keyring (keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`).
    pub new_keyring: bool,
    /// `RLIMIT_CORE` 1: no core file, and no memory for a core handler either (core(5)).
    pub no_core_dumps: bool,
    /// Whether descriptors that are not listed are closed.
    pub close_descriptors: bool,
}

/// Why a cell could not be made or the application not be executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The step's stable name, for example `mount-bind` or `execute`.
    pub step: String,
    /// What the step does, as `explain` prints it.
    pub description: String,
    /// The system's error number.
    pub errno: i32,
    /// The path that it concerns, where there is one.
    pub path: Option<String>,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

/// One line of `cloister-cell explain --json`: the plan's operations in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The step's stable name.
    pub step: String,
    /// What it does.
    pub description: String,
}
