//! The operations that a plan is made of: what each does, in words, and why.

use cloister_proto::messages::cell::{
    Content, Descriptor, File, Identity, Link, Namespaces, Stdin, Variable,
};
use cloister_sys::mount::Restrictions;

/// How much of a command is shown, in bytes.
const COMMAND_LIMIT: usize = 1000;

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
    },
    /// Opens a part of the host's file system as a mount of its own, not yet attached.
    OpenSource(Source),
    /// Gives up the launcher's supplementary groups.
    DropGroups,
    /// Makes the cell's first process.
    CreateNamespaces(Namespaces),
    /// Maps the cell's one user and one group to the host's.
    MapIdentity(Identity),
    /// Waits for the launcher, and from then on ends with it.
    AwaitLauncher {
        /// Whether orphans of the cell must be adopted, for want of a pid namespace.
        adopt: bool,
    },
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
    /// Leaves the caller's session keyring.
    JoinKeyring,
    /// Cuts the propagation of mounts from and to the host.
    IsolateMounts,
    /// Makes the empty root.
    MakeRoot {
        /// Its bound in bytes.
        size_bytes: u64,
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
    MountProc,
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
    /// Makes the application's process.
    StartApplication,
    /// Starts a new session.
    NewSession,
    /// Ends with init, for want of a pid namespace that ends with it.
    DieWithInit,
    /// Forbids core dumps.
    LimitCore,
    /// Empties all capability sets.
    DropCapabilities,
    /// Forbids gaining privileges by executing a program.
    ForbidNewPrivileges,
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
            | Self::DropGroups
            | Self::CreateNamespaces(_) => Stage::Prepare,
            Self::MapIdentity(_) => Stage::Identify,
            Self::AwaitLauncher { .. }
            | Self::BecomeUser { .. }
            | Self::SetHostname(_)
            | Self::RaiseLoopback
            | Self::JoinKeyring
            | Self::IsolateMounts
            | Self::MakeRoot { .. }
            | Self::AttachSource { .. }
            | Self::MountTemporary(_)
            | Self::MountDevices(_)
            | Self::MountTerminals
            | Self::MountProc
            | Self::WriteFile { .. }
            | Self::MakeLink(_)
            | Self::EnterRoot
            | Self::SealMount { .. }
            | Self::StartApplication => Stage::Build,
            Self::NewSession
            | Self::DieWithInit
            | Self::LimitCore
            | Self::DropCapabilities
            | Self::ForbidNewPrivileges
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
            Self::DropGroups => "drop-groups",
            Self::CreateNamespaces(_) => "create-namespaces",
            Self::MapIdentity(_) => "map-identity",
            Self::AwaitLauncher { .. } => "await-launcher",
            Self::BecomeUser { .. } => "become-user",
            Self::SetHostname(_) => "set-hostname",
            Self::RaiseLoopback => "raise-loopback",
            Self::JoinKeyring => "join-keyring",
            Self::IsolateMounts => "isolate-mounts",
            Self::MakeRoot { .. } => "make-root",
            Self::AttachSource { .. } => "mount-bind",
            Self::MountTemporary(_) => "mount-temporary",
            Self::MountDevices(_) => "mount-devices",
            Self::MountTerminals => "mount-terminals",
            Self::MountProc => "mount-proc",
            Self::WriteFile { .. } => "write-file",
            Self::MakeLink(_) => "make-link",
            Self::EnterRoot => "enter-root",
            Self::SealMount { .. } => "seal-mount",
            Self::StartApplication => "start-application",
            Self::NewSession => "new-session",
            Self::DieWithInit => "die-with-init",
            Self::LimitCore => "limit-core",
            Self::DropCapabilities => "drop-capabilities",
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

    /// What it does, in words. Never a secret: no content of a file, no value of a variable.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::TakeDescriptors {
                listening,
                credentials,
            } => describe_descriptors(listening, credentials),
            Self::OpenSource(source) => format!(
                "open {} of the host{}{}",
                source.path,
                listed(source.restrictions),
                if source.optional {
                    ", where it exists"
                } else {
                    ""
                }
            ),
            Self::DropGroups => "give up all supplementary groups".into(),
            Self::CreateNamespaces(namespaces) => describe_namespaces(namespaces),
            Self::MapIdentity(identity) => format!(
                "map user {} to {} and group {} to {} of the host, and no other id",
                identity.uid, identity.host_uid, identity.gid, identity.host_gid
            ),
            Self::AwaitLauncher { adopt } => format!(
                "wait until the launcher is done, then end whenever it ends{}",
                if *adopt { ", and adopt orphans" } else { "" }
            ),
            Self::BecomeUser { uid, gid } => format!("become user {uid} and group {gid}"),
            Self::SetHostname(name) => format!("call the host {name}"),
            Self::RaiseLoopback => "bring the loopback interface up".into(),
            Self::JoinKeyring => "join a fresh session keyring".into(),
            Self::IsolateMounts => "make every mount private".into(),
            Self::MakeRoot { size_bytes } => format!(
                "make an empty root in memory, at most {}",
                size(*size_bytes)
            ),
            Self::AttachSource {
                source,
                destination,
                restrictions,
                ..
            } => format!("show {source} at {destination}{}", listed(*restrictions)),
            Self::MountTemporary(memory) => format!(
                "mount private memory at {}, at most {}, mode {:04o}",
                memory.path,
                size(memory.size_bytes),
                memory.mode
            ),
            Self::MountDevices(memory) => {
                format!("mount a private folder for devices at {}", memory.path)
            }
            Self::MountTerminals => "mount pseudo-terminals of the cell's own at /dev/pts".into(),
            Self::MountProc => {
                "mount /proc with the application's own processes and nothing else".into()
            }
            Self::WriteFile { file, .. } => describe_file(file),
            Self::MakeLink(link) => format!("link {} to {}", link.path, link.target),
            Self::EnterRoot => "make the new root the only one and let go of the host's".into(),
            Self::SealMount { path } => format!("make {path} read-only"),
            Self::StartApplication => "make the application's process".into(),
            Self::NewSession => "start a session without a terminal".into(),
            Self::DieWithInit => "end whenever init ends".into(),
            Self::LimitCore => "forbid core dumps".into(),
            Self::DropCapabilities => "drop every capability, now and for ever".into(),
            Self::ForbidNewPrivileges => "let no executed program gain privileges".into(),
            Self::ConnectStdin(Stdin::Null) => "read standard input from /dev/null".into(),
            Self::ConnectStdin(Stdin::Inherit) => "keep the launcher's standard input".into(),
            Self::PlaceDescriptors { names } => format!(
                "hand over {} as descriptor 3 and following (LISTEN_FDS={})",
                names.join(", "),
                names.len()
            ),
            Self::CloseDescriptors { first } => {
                format!("close every descriptor from {first} upwards")
            }
            Self::ResetSignals => {
                "give every signal its default action, and new files the usual modes (umask 0022)"
                    .into()
            }
            Self::ChangeDirectory(path) => format!("enter {path}"),
            Self::Execute {
                command,
                environment,
                ..
            } => format!(
                "execute {} with {} variables in its environment",
                quoted(command),
                environment.len()
            ),
            Self::ConfineLauncher {
                host: (uid, gid),
                privileged,
                die_with_parent,
            } => format!(
                "launcher: {}holds no capability and no descriptor, forwards signals, ends as \
                 the application ended{}",
                if *privileged {
                    format!("becomes user {uid} and group {gid} of the host, ")
                } else {
                    String::new()
                },
                if *die_with_parent {
                    ", or with its parent"
                } else {
                    ""
                }
            ),
            Self::ConfineInit { capabilities } => format!(
                "init: {}no descriptor, cannot be traced, forwards signals, reaps, ends with the \
                 application",
                if *capabilities { "no capability, " } else { "" }
            ),
        }
    }

    /// Why it is done, in one line.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TakeDescriptors { .. } => {
                "only sockets are handed over: a folder would lead back to the host's files"
            }
            Self::OpenSource(_) => {
                "a mount that is open cannot be exchanged for another one by renaming"
            }
            Self::DropGroups => "a group of the caller would open files in the cell",
            Self::CreateNamespaces(_) => {
                "what is not in one of its namespaces does not exist in it"
            }
            Self::MapIdentity(_) => "to the host the application is one unprivileged user",
            Self::AwaitLauncher { .. } => "no cell outlives whoever answers for it",
            Self::BecomeUser { .. } => "files that are made from here on are the application's",
            Self::SetHostname(_) => "the host's name is nobody's business",
            Self::RaiseLoopback => "the only interface: nothing outside can be reached",
            Self::JoinKeyring => "namespaces do not keep keyrings apart",
            Self::IsolateMounts => "what is mounted here must not appear on the host",
            Self::MakeRoot { .. } => "what is not put there is not there",
            Self::AttachSource { .. } | Self::MountTemporary(_) => "the application needs it",
            Self::MountDevices(_) => "only harmless devices, no others can be made",
            Self::MountTerminals => "the host's terminals stay out of reach",
            Self::MountProc => "other processes and the kernel's settings stay out of sight",
            Self::WriteFile { .. } | Self::MakeLink(_) => "the application looks for it there",
            Self::EnterRoot => "there is no way back: the old root is unmounted",
            Self::SealMount { .. } => "nothing can be added to what was built",
            Self::StartApplication => "init stays apart from it to reap and to forward signals",
            Self::NewSession => "characters cannot be pushed into the caller's terminal",
            Self::DieWithInit => "there is no pid namespace that would end it",
            Self::LimitCore => "the host's core handler would get the application's memory",
            Self::DropCapabilities => "not even over its own namespaces",
            Self::ForbidNewPrivileges => "set-user-id programs stay ordinary programs",
            Self::ConnectStdin(_) => "a service has nobody to ask",
            Self::PlaceDescriptors { .. } => "sd_listen_fds(3): the socket is there before the app",
            Self::CloseDescriptors { .. } => "a forgotten descriptor is a hole in the wall",
            Self::ResetSignals => "ignored and blocked signals outlive the execution",
            Self::ChangeDirectory(_) => "with the application's own rights",
            Self::Execute { .. } => "nothing of the launcher's environment is passed on",
            Self::ConfineLauncher { .. } | Self::ConfineInit { .. } => {
                "what stays must be worth nothing to whoever takes it over"
            }
        }
    }
}

fn describe_descriptors(listening: &[Descriptor], credentials: &[(i32, String)]) -> String {
    let sockets = listening
        .iter()
        .map(|one| format!("listening socket {} ({})", one.descriptor, one.name));
    let credentials = credentials
        .iter()
        .map(|(number, path)| format!("descriptor {number} for {path}"));
    let all: Vec<_> = sockets.chain(credentials).collect();
    format!("take {}", all.join(", "))
}

fn describe_namespaces(namespaces: &Namespaces) -> String {
    let names: Vec<_> = [
        (namespaces.user, "user"),
        (namespaces.mount, "mount"),
        (namespaces.pid, "pid"),
        (namespaces.ipc, "ipc"),
        (namespaces.uts, "uts"),
        (namespaces.cgroup, "cgroup"),
        (namespaces.network, "network"),
    ]
    .into_iter()
    .filter_map(|(own, name)| own.then_some(name))
    .collect();
    if names.is_empty() {
        return "make init's process in the host's namespaces".into();
    }
    format!("make init's process with its own {}", names.join(", "))
}

fn describe_file(file: &File) -> String {
    let content = match &file.content {
        Content::Text { text } => format!("{} bytes", text.len()),
        Content::Descriptor { descriptor } => format!("from descriptor {descriptor}"),
    };
    format!("write {}, mode {:04o}, {content}", file.path, file.mode)
}

fn listed(restrictions: Restrictions) -> &'static str {
    match (restrictions.read_only, restrictions.no_execution) {
        (true, true) => ", read-only, nothing executable",
        (true, false) => ", read-only",
        (false, true) => ", writable, nothing executable",
        (false, false) => ", writable",
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut amount = bytes;
    let mut unit = 0;
    while unit + 1 < UNITS.len() && amount >= 1024 && amount.is_multiple_of(1024) {
        amount /= 1024;
        unit += 1;
    }
    format!("{amount} {}", UNITS[unit])
}

/// The command as one would type it; words that need it in quotation marks.
fn quoted(command: &[String]) -> String {
    let plain = |word: &String| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/-_.=:,@%+".contains(c))
    };
    let words: Vec<_> = command
        .iter()
        .map(|word| {
            if plain(word) {
                word.clone()
            } else {
                format!("{word:?}")
            }
        })
        .collect();
    shortened(&words.join(" "), COMMAND_LIMIT)
}

/// At most `limit` bytes of a text, and a sign where there were more.
#[must_use]
pub fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let whole = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=limit).rev().find(whole).unwrap_or(0);
    format!("{}…", &text[..end])
}
