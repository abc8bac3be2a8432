//! What each operation does, in words, and why.

use cloister_proto::messages::cell::{
    Clocks, Content, ControlGroups, Descriptor, File, Hosts, IdRange, Namespaces, Owners, Stdin,
    WayOut,
};
use cloister_sys::mount::Restrictions;

use crate::confine::{labels, limits, system_calls};
use crate::hosts;
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
                egress,
            } => describe_descriptors(listening, credentials, egress.is_some()),
            Self::OpenSource(source) => format!(
                "open {} of the host{}{}{}",
                source.path,
                listed(source.restrictions),
                source
                    .owners
                    .as_ref()
                    .map_or_else(String::new, describe_owners),
                if source.optional {
                    ", where it exists"
                } else {
                    ""
                }
            ),
            Self::TakeControlGroups(groups) => describe_control_groups(groups),
            Self::SetGroups(groups) if groups.is_empty() => {
                "give up all supplementary groups".into()
            }
            Self::SetGroups(groups) => format!("keep no supplementary groups but {groups:?}"),
            Self::CreateNamespaces(namespaces) => describe_namespaces(namespaces),
            Self::MapIdentity { identity, .. } => format!(
                "map {} and {} of the host, and no other id",
                describe_map("user", &identity.uid_map),
                describe_map("group", &identity.gid_map)
            ),
            Self::AwaitLauncher { adopt } => format!(
                "wait until the launcher is done, then end whenever it ends{}",
                if *adopt { ", and adopt orphans" } else { "" }
            ),
            Self::EnterControlGroups { count } => format!("enter {count} control groups"),
            Self::IsolateControlGroups => "see its own control groups as the roots of all".into(),
            Self::OwnClocks(clocks) => describe_clocks(*clocks),
            Self::BecomeUser { uid, gid } => format!("become user {uid} and group {gid}"),
            Self::SetHostname(name) => format!("call the host {name}"),
            Self::RaiseLoopback => "bring the loopback interface up".into(),
            Self::OfferEgress { ways, .. } => describe_egress(ways),
            Self::JoinKeyring => "join a fresh session keyring".into(),
            Self::IsolateMounts => "make every mount private".into(),
            Self::MakeRoot { size_bytes } => format!(
                "make an empty root in memory, at most {}",
                size(*size_bytes)
            ),
            Self::ShowRoot {
                source,
                restrictions,
                ..
            } => format!("make {source} the root{}", listed(*restrictions)),
            Self::AttachSource {
                source,
                destination,
                restrictions,
                ..
            } => format!("show {source} at {destination}{}", listed(*restrictions)),
            Self::MountTemporary(memory) => format!(
                "mount private memory at {}, at most {}, mode {:04o}{}",
                memory.path,
                size(memory.size_bytes),
                memory.mode,
                if memory.executable {
                    ""
                } else {
                    ", nothing executable"
                }
            ),
            Self::MountDevices(memory) => {
                format!("mount a private folder for devices at {}", memory.path)
            }
            Self::MountTerminals => "mount pseudo-terminals of the cell's own at /dev/pts".into(),
            Self::MountProc { whole: false } => {
                "mount /proc with the application's own processes and nothing else".into()
            }
            Self::MountProc { whole: true } => {
                "mount /proc with the application's own processes".into()
            }
            Self::CoverProc { shown } => format!(
                "cover everything in /proc that is no process{}",
                if shown.is_empty() {
                    String::new()
                } else {
                    format!(" but {}", shown.join(", "))
                }
            ),
            Self::SetLabels(labels) => {
                let labels: Vec<_> = labels.iter().map(labels::describe).collect();
                format!("run the program under {}", labels.join(", "))
            }
            Self::LimitResources(limits) => format!("allow at most {}", limits::describe(limits)),
            Self::Restrict(restriction) => restriction.describe(),
            Self::FilterCalls(calls) => {
                format!("filter system calls, {}", system_calls::describe(calls))
            }
            Self::ReportFences(fences) => format!("report which of {} fences stand", fences.len()),
            Self::NameHosts(hosts) => describe_hosts(hosts),
            Self::WriteFile { file, .. } => describe_file(file),
            Self::MakeLink(link) => format!("link {} to {}", link.path, link.target),
            Self::EnterRoot => "make the new root the only one and let go of the host's".into(),
            Self::SealMount { path } => format!("make {path} read-only"),
            Self::SealCopies => {
                "make read-only what was made in memory for the root's missing places".into()
            }
            Self::StartApplication => "make the application's process".into(),
            Self::LeadSession => "start a session on the terminal that is the cell's own".into(),
            Self::TakeForeground => "put the application into the terminal's foreground".into(),
            Self::NewSession => "start a session without a terminal".into(),
            Self::DieWithInit => "end whenever init ends".into(),
            Self::LimitCore => "forbid core dumps".into(),
            Self::DropCapabilities { bounding: true } => {
                "drop every capability, now and for ever".into()
            }
            Self::DropCapabilities { bounding: false } => {
                "drop every capability; the bounding set stays, for want of CAP_SETPCAP".into()
            }
            Self::ForbidNewPrivileges => "let no executed program gain privileges".into(),
            Self::ConnectStdin(Stdin::Null) => "read standard input from /dev/null".into(),
            Self::ConnectStdin(Stdin::Terminal) => "keep the terminal as standard input".into(),
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
            Self::TakeControlGroups(_) => "what it may use of the machine is bounded there",
            Self::SetGroups(_) => "any other group of the caller would open files in the cell",
            Self::CreateNamespaces(_) => {
                "what is not in one of its namespaces does not exist in it"
            }
            Self::MapIdentity { .. } => "to the host the application is who it is mapped to",
            Self::OwnClocks(_) => "the host's clocks count from the host's start",
            Self::AwaitLauncher { .. } => "no cell outlives whoever answers for it",
            Self::EnterControlGroups { .. } => {
                "all that runs in the cell descends from init, and stays in its groups"
            }
            Self::IsolateControlGroups => "the groups of others have no names in the cell",
            Self::BecomeUser { .. } => "files that are made from here on are the application's",
            Self::SetHostname(_) => "the host's name is nobody's business",
            Self::RaiseLoopback => "the only interface: nothing outside can be reached",
            Self::OfferEgress { .. } => "a door outside relays them, each to its one destination",
            Self::JoinKeyring => "namespaces do not keep keyrings apart",
            Self::IsolateMounts => "what is mounted here must not appear on the host",
            Self::MakeRoot { .. } => "what is not put there is not there",
            Self::ShowRoot { .. } => "of the host's files the application sees this folder",
            Self::AttachSource { .. } | Self::MountTemporary(_) => "the application needs it",
            Self::MountDevices(_) => "only harmless devices, no others can be made",
            Self::MountTerminals => "the host's terminals stay out of reach",
            Self::MountProc { .. } | Self::CoverProc { .. } => {
                "other processes and the kernel's settings stay out of sight"
            }
            Self::NameHosts(_) => {
                "its ways out are found by their names; what is there stays as it is"
            }
            Self::WriteFile { .. } | Self::MakeLink(_) => "the application looks for it there",
            Self::EnterRoot => "there is no way back: the old root is unmounted",
            Self::SealMount { .. } | Self::SealCopies => "nothing can be added to what was built",
            Self::StartApplication => "init stays apart from it to reap and to forward signals",
            Self::LeadSession => "keys are signals for the cell; the caller's terminal is another",
            Self::TakeForeground => "apart from init it can be stopped and continued by keys",
            Self::NewSession => "characters cannot be pushed into the caller's terminal",
            Self::DieWithInit => "there is no pid namespace that would end it",
            Self::LimitCore => "the host's core handler would get the application's memory",
            Self::DropCapabilities { .. } => "not even over its own namespaces",
            Self::ForbidNewPrivileges => "set-user-id programs stay ordinary programs",
            Self::SetLabels(_) => "its own agent watches where everything else is broken",
            Self::LimitResources(_) => "what one application uses up the others lack",
            Self::Restrict(_) => "another way to a file than the cell's mounts leads nowhere",
            Self::FilterCalls(_) => "a fault in a call that cannot be made cannot be used",
            Self::ReportFences(_) => "a fence that is lower than asked for must be seen",
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

fn describe_descriptors(
    listening: &[Descriptor],
    credentials: &[(i32, String)],
    egress: bool,
) -> String {
    let sockets = listening
        .iter()
        .map(|one| format!("listening socket {} ({})", one.descriptor, one.name));
    let credentials = credentials
        .iter()
        .map(|(number, path)| format!("descriptor {number} for {path}"));
    let receiver = egress.then(|| "the socket for its ways out".to_owned());
    let all: Vec<_> = sockets.chain(credentials).chain(receiver).collect();
    format!("take {}", all.join(", "))
}

fn describe_egress(ways: &[WayOut]) -> String {
    let listed: Vec<_> = ways
        .iter()
        .map(|way| match way {
            WayOut::Loopback { host, port } => format!("{host}:{port}"),
            WayOut::Socket { path } => path.clone(),
        })
        .collect();
    format!(
        "listen at {}, and give these sockets away",
        listed.join(", ")
    )
}

fn describe_hosts(hosts: &Hosts) -> String {
    let listed: Vec<_> = hosts
        .names
        .iter()
        .map(|one| format!("{} ({})", one.name, one.address))
        .collect();
    format!(
        "cover {} by a file that has {} too, read-only",
        hosts::PATH,
        listed.join(", ")
    )
}

fn describe_control_groups(groups: &ControlGroups) -> String {
    let members = groups.members.len();
    let unified = usize::from(groups.unified.is_some());
    format!(
        "take the descriptors of {} control groups",
        members + unified
    )
}

/// Which namespaces keep something in, and whether each is the cell's own.
#[must_use]
pub fn which(namespaces: &Namespaces) -> [(bool, &'static str); 7] {
    [
        (namespaces.user, "user"),
        (namespaces.mount, "mount"),
        (namespaces.pid, "pid"),
        (namespaces.ipc, "ipc"),
        (namespaces.uts, "uts"),
        (namespaces.cgroup, "cgroup"),
        (namespaces.network, "network"),
    ]
}

fn describe_namespaces(namespaces: &Namespaces) -> String {
    let names: Vec<_> = which(namespaces)
        .into_iter()
        .filter_map(|(own, name)| own.then_some(name))
        .collect();
    if names.is_empty() {
        return "make init's process in the host's namespaces".into();
    }
    format!("make init's process with its own {}", names.join(", "))
}

fn describe_map(kind: &str, map: &[IdRange]) -> String {
    let runs: Vec<_> = map
        .iter()
        .map(|range| match range.size {
            1 => format!("{} to {}", range.inside, range.outside),
            size => format!(
                "{}-{} to {}-{}",
                range.inside,
                range.inside + (size - 1),
                range.outside,
                range.outside + (size - 1)
            ),
        })
        .collect();
    shortened(&format!("{kind} {}", runs.join(", ")), COMMAND_LIMIT)
}

fn describe_owners(owners: &Owners) -> String {
    format!(
        ", the files of {} and {} of the host",
        describe_map("user", &owners.users),
        describe_map("group", &owners.groups)
    )
}

fn describe_clocks(clocks: Clocks) -> String {
    if (clocks.monotonic_ns, clocks.boottime_ns) == (0, 0) {
        return "have the application's clocks in a namespace of its own".into();
    }
    // For people: a thousandth of a second is precise enough.
    let seconds = |ns: i64| format!("{:+.3} s", ns as f64 / 1e9);
    format!(
        "have the application's clocks in a namespace of its own, monotonic {}, since boot {}",
        seconds(clocks.monotonic_ns),
        seconds(clocks.boottime_ns)
    )
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
