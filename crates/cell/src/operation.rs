//! The operations that a plan is made of. What each does, in words, is in `description`.

use cloister_proto::messages::cell::{
    Clocks, ControlGroups, Descriptor, Fence, File, Hosts, Identity, Label, Link, Namespaces,
    Owners, ResourceLimit, Stdin, SystemCalls, Variable, WayOut,
};
use cloister_sys::mount::Restrictions;

use crate::confine::landlock::Restriction;

/// Which process carries out an operation, and when. In this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The launcher, with its caller's privileges, before there is a cell.
    Prepare,
    /// The launcher, once the cell's first process exists and waits.
    Identify,
    /// The cell's init, before there is an application.
    Build,
    /// The application's process, until it executes the program.
    Enter,
    /// The launcher and init, each for itself, while the application runs.
    Stay,
}

impl Stage {
    /// The heading in `explain`.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Prepare => "The launcher, before the cell exists",
            Self::Identify => "The launcher, once the cell's init exists and waits",
            Self::Build => "Init, inside the new namespaces",
            Self::Enter => "The application's process, until it executes the program",
            Self::Stay => "The launcher and init, while the application runs",
        }
    }
}

/// A part of the host's file system that is opened before it is shown in the cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its place in the list of opened sources.
    pub slot: usize,
    /// The path on the host.
    pub path: String,
    /// Whether a missing path is passed over.
    pub optional: bool,
    /// What may not be done on it.
    pub restrictions: Restrictions,
    /// Whose files appear as whose.
    pub owners: Option<Owners>,
}

/// A file system in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The path in the cell.
    pub path: String,
    /// Its bound in bytes.
    pub size_bytes: u64,
    /// The permission bits of its top folder.
    pub mode: u32,
    /// Whether programs on it may be executed.
    pub executable: bool,
}

/// One step in making a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Takes the inherited descriptors that the cell gets.
    TakeDescriptors {
        /// Listening sockets.
        listening: Vec<Descriptor>,
        /// Where credentials are read from, each with its path in the cell.
        credentials: Vec<(i32, String)>,
        /// Where the listening sockets of its ways out go.
        egress: Option<i32>,
    },
    /// Opens a part of the host's file system as a mount of its own, not yet attached.
    OpenSource(Source),
    /// Asks mandatory access control for the application's labels.
    SetLabels(Vec<Label>),
    /// Takes the descriptors of the control groups.
    TakeControlGroups(ControlGroups),
    /// Replaces the launcher's supplementary groups by these.
    SetGroups(Vec<u32>),
    /// Makes the cell's first process.
    CreateNamespaces(Namespaces),
    /// Gives the cell's user namespace its ids.
    MapIdentity {
        /// The ids.
        identity: Identity,
        /// Whether the launcher may map any: an ordinary user may map its own.
        privileged: bool,
    },
    /// Waits for the launcher, and from then on ends with it.
    AwaitLauncher {
        /// Whether orphans of the cell must be adopted, for want of a pid namespace.
        adopt: bool,
    },
    /// Moves into the control groups of version 1.
    EnterControlGroups {
        /// How many.
        count: usize,
    },
    /// Makes the control groups that it is in the roots of all that it can name.
    IsolateControlGroups,
    /// Has the application live in a time namespace of its own.
    OwnClocks(Clocks),
    /// Becomes the application's user and group, keeping the privileges over the namespaces.
    BecomeUser {
        /// The user id, as this process names it.
        uid: u32,
        /// The group id, as this process names it.
        gid: u32,
    },
    /// Sets the cell's host name.
    SetHostname(String),
    /// Brings the loopback interface up.
    RaiseLoopback,
    /// Listens for whoever serves the application's ways out, and gives the sockets away.
    OfferEgress {
        /// Where.
        ways: Vec<WayOut>,
        /// User and group to give paths to, where the maker is another.
        owner: Option<(u32, u32)>,
    },
    /// Leaves the caller's session keyring.
    JoinKeyring,
    /// Cuts the propagation of mounts from and to the host.
    IsolateMounts,
    /// Makes the empty root.
    MakeRoot {
        /// Its bound in bytes.
        size_bytes: u64,
    },
    /// Makes an opened source the root.
    ShowRoot {
        /// Its place in the list of opened sources.
        slot: usize,
        /// The path on the host, for the description.
        source: String,
        /// What may not be done there.
        restrictions: Restrictions,
    },
    /// Attaches an opened source.
    AttachSource {
        /// Its place in the list of opened sources.
        slot: usize,
        /// The path on the host, for the description.
        source: String,
        /// The path in the cell.
        destination: String,
        /// What may not be done there.
        restrictions: Restrictions,
    },
    /// Mounts a private file system in memory.
    MountTemporary(Memory),
    /// Mounts the folder for devices.
    MountDevices(Memory),
    /// Mounts pseudo-terminals of the cell's own.
    MountTerminals,
    /// Mounts a view of the cell's own processes.
    MountProc {
        /// Whether with all else that the kernel has there, which is covered afterwards.
        whole: bool,
    },
    /// Covers what of /proc is no process.
    CoverProc {
        /// What stays to be seen.
        shown: Vec<String>,
    },
    /// Covers /etc/hosts by a file with more names.
    NameHosts(Hosts),
    /// Makes a file.
    WriteFile {
        /// The file.
        file: File,
        /// User and group to give it to, where the maker is another.
        owner: Option<(u32, u32)>,
    },
    /// Makes a symbolic link.
    MakeLink(Link),
    /// Makes the new root the only one.
    EnterRoot,
    /// Makes a file system that was built read-only.
    SealMount {
        /// The path in the cell.
        path: String,
    },
    /// Makes the copies of folders read-only.
    SealCopies,
    /// Makes the application's process.
    StartApplication,
    /// Starts a session that has standard input as its controlling terminal.
    LeadSession,
    /// Puts the application into the foreground of that terminal.
    TakeForeground,
    /// Starts a new session.
    NewSession,
    /// Ends with init, for want of a pid namespace that ends with it.
    DieWithInit,
    /// Forbids core dumps.
    LimitCore,
    /// Empties all capability sets.
    DropCapabilities {
        /// The bounding set too, which takes CAP_SETPCAP.
        bounding: bool,
    },
    /// Forbids gaining privileges by executing a program.
    ForbidNewPrivileges,
    /// Sets resource limits.
    LimitResources(Vec<ResourceLimit>),
    /// Restricts files, ports, signals and sockets by Landlock.
    Restrict(Restriction),
    /// Filters system calls.
    FilterCalls(SystemCalls),
    /// Says what is in force.
    ReportFences(Vec<Fence>),
    /// Connects standard input.
    ConnectStdin(Stdin),
    /// Puts the listening sockets where the application looks for them.
    PlaceDescriptors {
        /// Their names.
        names: Vec<String>,
    },
    /// Closes everything that was not handed over.
    CloseDescriptors {
        /// The first number that is closed.
        first: i32,
    },
    /// Gives signals their default actions.
    ResetSignals,
    /// Enters the working directory.
    ChangeDirectory(String),
    /// Executes the program.
    Execute {
        /// Program and arguments.
        command: Vec<String>,
        /// The environment without the `LISTEN_` variables.
        environment: Vec<Variable>,
        /// The names for `LISTEN_FDNAMES`.
        listening: Vec<String>,
    },
    /// What the launcher keeps while it stays.
    ConfineLauncher {
        /// The host's user and group that it becomes.
        host: (u32, u32),
        /// Whether it may become another user at all.
        privileged: bool,
        /// Whether it ends with the process that started it.
        die_with_parent: bool,
    },
    /// What init keeps while it stays.
    ConfineInit {
        /// Whether capabilities are dropped in this cell.
        capabilities: bool,
    },
}

impl Operation {
    /// Which process carries it out.
    #[must_use]
    pub fn stage(&self, privileged: bool) -> Stage {
        match self {
            Self::OpenSource(_) if !privileged => Stage::Build,
            Self::TakeDescriptors { .. }
            | Self::OpenSource(_)
            | Self::SetLabels(_)
            | Self::TakeControlGroups(_)
            | Self::SetGroups(_)
            | Self::CreateNamespaces(_) => Stage::Prepare,
            Self::MapIdentity { .. } => Stage::Identify,
            Self::AwaitLauncher { .. }
            | Self::EnterControlGroups { .. }
            | Self::IsolateControlGroups
            | Self::OwnClocks(_)
            | Self::BecomeUser { .. }
            | Self::SetHostname(_)
            | Self::RaiseLoopback
            | Self::OfferEgress { .. }
            | Self::JoinKeyring
            | Self::IsolateMounts
            | Self::MakeRoot { .. }
            | Self::ShowRoot { .. }
            | Self::AttachSource { .. }
            | Self::MountTemporary(_)
            | Self::MountDevices(_)
            | Self::MountTerminals
            | Self::MountProc { .. }
            | Self::CoverProc { .. }
            | Self::NameHosts(_)
            | Self::WriteFile { .. }
            | Self::MakeLink(_)
            | Self::EnterRoot
            | Self::SealMount { .. }
            | Self::SealCopies
            | Self::LeadSession
            | Self::StartApplication => Stage::Build,
            Self::TakeForeground
            | Self::NewSession
            | Self::DieWithInit
            | Self::LimitCore
            | Self::DropCapabilities { .. }
            | Self::ForbidNewPrivileges
            | Self::LimitResources(_)
            | Self::Restrict(_)
            | Self::FilterCalls(_)
            | Self::ReportFences(_)
            | Self::ConnectStdin(_)
            | Self::PlaceDescriptors { .. }
            | Self::CloseDescriptors { .. }
            | Self::ResetSignals
            | Self::ChangeDirectory(_)
            | Self::Execute { .. } => Stage::Enter,
            Self::ConfineLauncher { .. } | Self::ConfineInit { .. } => Stage::Stay,
        }
    }

    /// The step's stable name, for programs.
    #[must_use]
    pub fn step(&self) -> &'static str {
        match self {
            Self::TakeDescriptors { .. } => "take-descriptors",
            Self::OpenSource(_) => "open-source",
            Self::TakeControlGroups(_) => "take-control-groups",
            Self::SetGroups(_) => "set-groups",
            Self::CreateNamespaces(_) => "create-namespaces",
            Self::MapIdentity { .. } => "map-identity",
            Self::AwaitLauncher { .. } => "await-launcher",
            Self::EnterControlGroups { .. } => "enter-control-groups",
            Self::IsolateControlGroups => "isolate-control-groups",
            Self::OwnClocks(_) => "own-clocks",
            Self::BecomeUser { .. } => "become-user",
            Self::SetHostname(_) => "set-hostname",
            Self::RaiseLoopback => "raise-loopback",
            Self::OfferEgress { .. } => "offer-egress",
            Self::JoinKeyring => "join-keyring",
            Self::IsolateMounts => "isolate-mounts",
            Self::MakeRoot { .. } => "make-root",
            Self::ShowRoot { .. } => "show-root",
            Self::AttachSource { .. } => "mount-bind",
            Self::MountTemporary(_) => "mount-temporary",
            Self::MountDevices(_) => "mount-devices",
            Self::MountTerminals => "mount-terminals",
            Self::MountProc { .. } => "mount-proc",
            Self::CoverProc { .. } => "cover-proc",
            Self::SetLabels(_) => "set-labels",
            Self::LimitResources(_) => "limit-resources",
            Self::Restrict(_) => "restrict-access",
            Self::FilterCalls(_) => "filter-system-calls",
            Self::ReportFences(_) => "report-fences",
            Self::NameHosts(_) => "name-hosts",
            Self::WriteFile { .. } => "write-file",
            Self::MakeLink(_) => "make-link",
            Self::EnterRoot => "enter-root",
            Self::SealMount { .. } => "seal-mount",
            Self::SealCopies => "seal-copies",
            Self::StartApplication => "start-application",
            Self::LeadSession => "lead-session",
            Self::TakeForeground => "take-foreground",
            Self::NewSession => "new-session",
            Self::DieWithInit => "die-with-init",
            Self::LimitCore => "limit-core",
            Self::DropCapabilities { .. } => "drop-capabilities",
            Self::ForbidNewPrivileges => "forbid-new-privileges",
            Self::ConnectStdin(_) => "connect-stdin",
            Self::PlaceDescriptors { .. } => "place-descriptors",
            Self::CloseDescriptors { .. } => "close-descriptors",
            Self::ResetSignals => "reset-signals",
            Self::ChangeDirectory(_) => "change-directory",
            Self::Execute { .. } => "execute",
            Self::ConfineLauncher { .. } => "confine-launcher",
            Self::ConfineInit { .. } => "confine-init",
        }
    }
}
