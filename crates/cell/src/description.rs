//! What each operation does, in words, and why.

use cloister_proto::messages::cell::{Content, Descriptor, File, Namespaces, Stdin};
use cloister_sys::mount::Restrictions;

use crate::operation::Operation;

/// How much of a command is shown, in bytes.
const COMMAND_LIMIT: usize = 1000;

impl Operation {
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
