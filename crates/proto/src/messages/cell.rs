//! Supervisor → `cloister-cell`: one JSON specification, and the report that comes back.
//!
//! The specification is complete: `cloister-cell` has no policy and adds no default. It is
//! read from the descriptor that `--spec-fd` names. The report goes to the descriptor that
//! `--status-fd` names, each message on a line of its own: an [`Effect`] when everything is
//! done but the execution; a [`Failure`] where something failed, before or after it; then end
//! of file. Without a failure that means that the application has been executed (every copy of
//! that descriptor is close-on-exec).

use std::net::Ipv4Addr;

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
    /// Supplementary groups on the host, which the application keeps; never 0. Only a
    /// launcher with root's rights can give any.
    pub host_groups: Vec<u32>,
    /// The control groups that it is in from its first moment.
    pub control_groups: ControlGroups,
    /// Whether process 1 of the cell is an init that reaps and forwards signals. Without one
    /// the application itself is process 1, where the pid namespace is its own: it then only
    /// gets signals for which it has a handler (pid_namespaces(7)).
    pub init: bool,
    /// Which namespaces are its own.
    pub namespaces: Namespaces,
    /// How far its clocks are ahead of the host's, where the time namespace is its own.
    pub clocks: Clocks,
    /// What it sees of the file system; ignored where the mount namespace is not its own.
    pub filesystem: Filesystem,
    /// Listening sockets handed over as `LISTEN_FDS` (sd_listen_fds(3)), from descriptor 3
    /// upwards in this order.
    pub descriptors: Vec<Descriptor>,
    /// Its ways out, where it has any; only with a network namespace of its own.
    pub egress: Option<Egress>,
    /// What standard input is; output and errors are always inherited.
    pub stdin: Stdin,
    /// Further protections; each can be taken away so that its effect can be tested.
    pub protections: Protections,
    /// What the application may ask of the kernel.
    pub fences: Fences,
}

/// Listening sockets in the cell, which its launcher's caller serves: what the application
/// reaches there is what that one lets it reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// An inherited `SOCK_SEQPACKET` socket. All listening sockets go there in one packet of one
    /// byte (`SCM_RIGHTS`), in the order of `ways`, before the application runs.
    pub descriptor: i32,
    /// Where they listen, 1 to 253 places.
    pub ways: Vec<WayOut>,
}

/// Where one of them listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum WayOut {
    /// A TCP port of the cell's loopback interface.
    Loopback {
        /// In 127.0.0.0/8.
        host: Ipv4Addr,
        /// Not 0.
        port: u16,
    },
    /// A Unix socket that only the application's user may connect to; only with a mount
    /// namespace of its own.
    Socket {
        /// An absolute path in the cell where nothing is; missing folders above it are made.
        path: String,
    },
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
/// With a user namespace exactly the ids of the two maps exist inside, among them `uid` as
/// `host_uid` and `gid` as `host_gid`. Without one the application runs as `host_uid` and
/// `host_gid`, and the maps are ignored. Host id 0 is refused, mapped or not, unless
/// `host_root` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// User id on the host.
    pub host_uid: u32,
    /// Group id on the host.
    pub host_gid: u32,
    /// The user ids of the user namespace.
    pub uid_map: Vec<IdRange>,
    /// The group ids of the user namespace.
    pub gid_map: Vec<IdRange>,
    /// Whether the host's root may be in this cell.
    pub host_root: bool,
}

/// A run of ids: user_namespaces(7), "User and group ID mappings".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// The first id inside: in the namespace, or on the disk of an id-mapped mount.
    pub inside: u32,
    /// The first id of the host.
    pub outside: u32,
    /// How many follow each other; not 0.
    pub size: u32,
}

/// Control groups (cgroups(7)), by inherited descriptors. Init enters them before it does
/// anything else; the launcher stays outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlGroups {
    /// The directory of a group of version 2: init is made in it (clone3(2)
    /// `CLONE_INTO_CGROUP`).
    pub unified: Option<i32>,
    /// `cgroup.procs` of groups of version 1, open for writing.
    pub members: Vec<i32>,
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
    /// time_namespaces(7): of the application, not of the cell's init.
    pub time: bool,
}

/// What the clocks of a time namespace show more than the host's, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clocks {
    /// Of `CLOCK_MONOTONIC`.
    pub monotonic_ns: i64,
    /// Of `CLOCK_BOOTTIME`.
    pub boottime_ns: i64,
}

/// The cell's file system: an empty root or a folder of the host, then binds and temporary
/// file systems, each parent before what lies in it whatever its kind (a bind on `/tmp/app`
/// lies in a temporary `/tmp` and stays visible; the caller has sorted the binds themselves),
/// then names of hosts, files and links. An empty root ends read-only.
///
/// Where something is to be put at a path that a folder of the root does not have, the cell
/// sees a copy of that folder in memory, which shows what is in the folder and has the path:
/// nothing is ever made on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filesystem {
    /// A folder of the host that is the root; an empty one in memory where there is none.
    pub root: Option<RootFolder>,
    /// Parts of the host's file system.
    pub binds: Vec<Bind>,
    /// Private writable file systems in memory.
    pub temporary: Vec<Temporary>,
    /// Names that are added to what /etc/hosts says.
    pub hosts: Option<Hosts>,
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

/// A folder of the host that is a cell's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootFolder {
    /// An absolute path on the host; resolved with the launcher's privileges.
    pub source: String,
    /// Whether the cell may write to it.
    pub writable: bool,
    /// Whose files appear as whose; as they are on the disk where there is none.
    pub owners: Option<Owners>,
}

/// The ids of an id-mapped mount (mount_setattr(2) `MOUNT_ATTR_IDMAP`): inside is the disk.
/// Files of other ids appear as nobody's, and nobody else can make any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owners {
    /// User ids.
    pub users: Vec<IdRange>,
    /// Group ids.
    pub groups: Vec<IdRange>,
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
    /// Whose files appear as whose; as they are on the disk where there is none.
    pub owners: Option<Owners>,
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
    /// Whether programs on it may be executed.
    pub executable: bool,
}

/// Names that /etc/hosts has beside those of the file that is there. A private file, which can
/// be read only, covers that one; nothing is written to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    /// The names. What the file that is there says of the same names is left out.
    pub names: Vec<HostName>,
    /// What follows them where no file is there.
    pub otherwise: String,
}

/// A name and what it stands for: hosts(5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostName {
    /// What it stands for.
    pub address: Ipv4Addr,
    /// The name, in lower case.
    pub name: String,
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
    /// The launcher's own, which is a terminal that nobody else uses: the cell's session has
    /// it as its controlling terminal, and the application is in its foreground.
    Terminal,
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

/// What the application may ask of the kernel. Everything that is asked for is required,
/// but for what [`Landlock::required`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fences {
    /// The system calls that it may make (seccomp(2)); without this, all.
    pub system_calls: Option<SystemCalls>,
    /// What landlock(7) restricts.
    pub landlock: Option<Landlock>,
    /// Resource limits (setrlimit(2)), soft and hard.
    pub limits: Vec<ResourceLimit>,
    /// Entries of `/proc` that are seen beside the cell's own processes; `sys` is read-only.
    pub proc: Vec<String>,
    /// Labels that mandatory access control gives the program when it is executed.
    pub labels: Vec<Label>,
}

/// An allow-list of system calls, by the names of syscalls(2). What one processor
/// architecture lacks is passed over there; a name that none has is refused. Whatever is not
/// listed fails with `EPERM`, what is newer than the program's table with `ENOSYS`; calls of
/// another architecture kill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemCalls {
    /// How the list is called, for people.
    pub profile: String,
    /// Calls with any arguments.
    pub allowed: Vec<String>,
    /// Calls with some arguments only; a name may stand here more than once.
    pub conditional: Vec<ConditionalCall>,
    /// Calls that fail with `ENOSYS`, whatever else is said of them.
    pub absent: Vec<String>,
}

/// A call that is allowed where all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionalCall {
    /// Its name.
    pub name: String,
    /// The conditions, at least one.
    pub conditions: Vec<Condition>,
}

/// What the low 32 bits of an argument must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    /// The bits of `mask` must be those of `value`.
    Equal {
        /// Which argument, from 0 to 5.
        argument: u8,
        /// The bits that are looked at.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// Anything but `value`.
    Differs {
        /// Which argument, from 0 to 5.
        argument: u8,
        /// What it must not be.
        value: u32,
    },
}

/// What landlock(7) restricts, as far as the kernel can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Landlock {
    /// Whether it is an error that the kernel can less than what is asked for.
    pub required: bool,
    /// Files, to what the mounts of the cell say; ignored where the mount namespace is not
    /// its own.
    pub files: bool,
    /// Signals, to the application's own processes.
    pub signals: bool,
    /// Abstract Unix sockets, to the application's own.
    pub abstract_sockets: bool,
    /// The only TCP ports that may be bound; without this, all.
    pub tcp_bind: Option<Vec<u16>>,
    /// The only TCP ports that may be connected to; without this, all.
    pub tcp_connect: Option<Vec<u16>>,
}

/// A resource limit: setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceLimit {
    /// What is limited.
    pub resource: LimitedResource,
    /// The limit, soft and hard.
    pub value: u64,
}

/// What a resource limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitedResource {
    /// `RLIMIT_NOFILE`.
    OpenFiles,
    /// `RLIMIT_NPROC`.
    Processes,
    /// `RLIMIT_MEMLOCK`, in bytes.
    LockedMemory,
    /// `RLIMIT_FSIZE`, in bytes.
    FileSize,
}

/// A label of mandatory access control, written to `/proc/thread-self/attr`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Label {
    /// The SELinux context of the executed program.
    Selinux {
        /// The context.
        context: String,
    },
    /// The AppArmor profile of the executed program.
    Apparmor {
        /// The profile's name.
        profile: String,
    },
}

/// What is in force, said right before the application is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Each fence, also those that are not in force.
    pub fences: Vec<Fence>,
}

/// One fence around the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fence {
    /// Its stable name, for example `system-calls`.
    pub name: String,
    /// Whether it is in force, completely.
    pub active: bool,
    /// What of it is, or why it is not.
    pub detail: String,
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
