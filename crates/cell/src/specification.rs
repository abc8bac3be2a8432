//! Reads a specification and refuses what must not be made a cell of.
//!
//! Whoever writes specifications decides what a cell is; what is refused here would be no
//! cell at all: host root inside, a path that leaves the new root, a descriptor that is
//! handed over twice. Everything that is refused is said at once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use cloister_proto::messages::cell::{Content, Egress, Failure, IdRange, Owners, Spec, WayOut};
use rustix::io::Errno;

use crate::confine::check;

/// The largest specification, in bytes.
pub const LIMIT: u64 = 4 * 1024 * 1024;
/// The kernel's bound for a host name: sethostname(2).
const HOSTNAME_LIMIT: usize = 64;
/// `SCM_MAX_FD`: more cannot have come from anywhere.
const DESCRIPTOR_LIMIT: usize = 253;
/// The text of a map is read by one write(2) of less than a page (map_write() in
/// kernel/user_namespace.c), and pages have at least 4 KiB.
const MAP_TEXT_LIMIT: usize = 4095;
/// `UID_GID_MAP_MAX_EXTENTS` (Linux 4.15).
const MAP_LIMIT: usize = 340;
const HOST_ROOT: &str = "host root inside a cell would not be kept in, and host_root does not \
                         ask for it";
/// (uid_t) -1, which setresuid(2) reads as "leave it".
const NO_ID: u32 = u32::MAX;

/// Reads a specification to the end of the file and checks it. Blocks until then.
///
/// # Errors
///
/// A failure of the step `read-spec` where there is no specification, of `check-spec` where
/// it must be refused.
pub fn read(descriptor: OwnedFd) -> Result<Spec, Failure> {
    let mut text = Vec::new();
    File::from(descriptor)
        .take(LIMIT + 1)
        .read_to_end(&mut text)
        .map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            refusal("read-spec", "read the specification", errno, None)
        })?;
    if text.len() as u64 > LIMIT {
        let what = format!("read the specification, which is larger than {LIMIT} bytes");
        return Err(refusal("read-spec", &what, Errno::FBIG, None));
    }
    let spec: Spec = serde_json::from_slice(&text).map_err(|error| {
        refusal(
            "read-spec",
            &format!("read the specification: {error}"),
            Errno::INVAL,
            Some("check that cloister and cloister-cell are of the same version"),
        )
    })?;
    let problems = problems(&spec);
    if problems.is_empty() {
        return Ok(spec);
    }
    Err(refusal(
        "check-spec",
        &format!("check the specification: {}", problems.join("; ")),
        Errno::INVAL,
        None,
    ))
}

/// A failure before there is any plan.
#[must_use]
pub fn refusal(step: &str, description: &str, errno: Errno, hint: Option<&str>) -> Failure {
    Failure {
        step: step.to_owned(),
        description: description.to_owned(),
        errno: errno.raw_os_error(),
        path: None,
        hint: hint.map(str::to_owned),
    }
}

/// Everything that is wrong with a specification, each with its field.
#[must_use]
pub fn problems(spec: &Spec) -> Vec<String> {
    let mut found = Vec::new();
    check_program(spec, &mut found);
    check_identity(spec, &mut found);
    check_files(spec, &mut found);
    check_descriptors(spec, &mut found);
    check_egress(spec, &mut found);
    check_hosts(spec, &mut found);
    check::problems(&spec.fences, &mut found);
    found
}

fn check_program(spec: &Spec, found: &mut Vec<String>) {
    if spec.name.is_empty() || spec.name.contains(|c: char| c == '/' || c.is_control()) {
        found.push(format!("name is {:?}, which is no name", spec.name));
    }
    match spec.command.first() {
        None => found.push("command is empty".into()),
        Some(program) if program.is_empty() => found.push("command[0] is empty".into()),
        Some(_) => {}
    }
    if spec.command.iter().any(|word| word.contains('\0')) {
        found.push("command has a word with a NUL byte".into());
    }
    for variable in &spec.environment {
        if variable.name.is_empty()
            || variable.name.contains(['=', '\0'])
            || variable.value.contains('\0')
        {
            // Not the value: it may be a secret.
            found.push(format!(
                "environment: {:?} is no variable, or its value has a NUL byte",
                variable.name
            ));
        }
    }
    let hostname = &spec.hostname;
    if hostname.is_empty()
        || hostname.len() > HOSTNAME_LIMIT
        || hostname.contains(|c: char| !c.is_ascii_graphic())
    {
        found.push(format!(
            "hostname is {hostname:?}: it must have 1 to {HOSTNAME_LIMIT} printable ASCII \
             characters"
        ));
    }
    if !spec.working_directory.starts_with('/') || spec.working_directory.contains('\0') {
        found.push(format!(
            "working_directory is {:?}, which is no absolute path",
            spec.working_directory
        ));
    }
}

fn check_identity(spec: &Spec, found: &mut Vec<String>) {
    let identity = &spec.identity;
    let before = found.len();
    for (field, id) in [
        ("host_uid", identity.host_uid),
        ("host_gid", identity.host_gid),
    ] {
        if id == 0 && !identity.host_root {
            found.push(format!("identity.{field} is 0: {HOST_ROOT}"));
        }
    }
    for &group in &spec.host_groups {
        if group == 0 || group == NO_ID {
            found.push(format!("host_groups has {group}: root's group, or none"));
        }
    }
    for (field, id) in [
        ("uid", identity.uid),
        ("gid", identity.gid),
        ("host_uid", identity.host_uid),
        ("host_gid", identity.host_gid),
    ] {
        if id == NO_ID {
            found.push(format!("identity.{field} is {id}, which is no id"));
        }
    }
    // A bad id is in no map: that need not be said as well.
    if spec.namespaces.user && found.len() == before {
        for (field, inside, outside, map) in [
            ("uid", identity.uid, identity.host_uid, &identity.uid_map),
            ("gid", identity.gid, identity.host_gid, &identity.gid_map),
        ] {
            let field = format!("identity.{field}_map");
            let before = found.len();
            check_ranges(&field, map, found);
            let mapped = map.iter().any(|range| {
                let place = inside.checked_sub(range.inside);
                place.is_some_and(|place| {
                    place < range.size && range.outside.checked_add(place) == Some(outside)
                })
            });
            if !mapped && found.len() == before {
                found.push(format!("{field} does not map {inside} to {outside}"));
            }
            if !identity.host_root && map.iter().any(|range| range.outside == 0) {
                found.push(format!("{field} has host id 0: {HOST_ROOT}"));
            }
        }
    }
}

/// What the kernel refuses in a map: user_namespaces(7).
fn check_ranges(field: &str, ranges: &[IdRange], found: &mut Vec<String>) {
    if ranges.is_empty() || ranges.len() > MAP_LIMIT {
        found.push(format!(
            "{field} has {} ranges: 1 to {MAP_LIMIT} can be set",
            ranges.len()
        ));
    }
    let text: usize = ranges
        .iter()
        .take(MAP_LIMIT)
        .map(|one| format!("{} {} {}\n", one.inside, one.outside, one.size).len())
        .sum();
    if text > MAP_TEXT_LIMIT {
        found.push(format!(
            "{field} is too long: its text has {text} bytes, and the kernel reads {MAP_TEXT_LIMIT}"
        ));
    }
    let end = |first: u32, size: u32| first.checked_add(size).filter(|&end| size > 0 && end > 0);
    for (place, range) in ranges.iter().enumerate() {
        if end(range.inside, range.size).is_none() || end(range.outside, range.size).is_none() {
            found.push(format!("{field}[{place}] is no range of ids"));
        }
    }
    let meet = |one: u32, its: u32, other: u32, others: u32| {
        u64::from(one) < u64::from(other) + u64::from(others)
            && u64::from(other) < u64::from(one) + u64::from(its)
    };
    let pairs = ranges.iter().enumerate().take(MAP_LIMIT);
    let overlapping = pairs.flat_map(|(place, one)| {
        let others = ranges.iter().enumerate().take(place);
        others
            .filter(move |(_, other)| {
                meet(one.inside, one.size, other.inside, other.size)
                    || meet(one.outside, one.size, other.outside, other.size)
            })
            .map(move |(other, _)| (other, place))
    });
    if let Some((one, other)) = overlapping.into_iter().next() {
        found.push(format!("{field}[{one}] and [{other}] overlap"));
    }
}

fn check_owners(field: &str, owners: Option<&Owners>, found: &mut Vec<String>) {
    if let Some(owners) = owners {
        check_ranges(&format!("{field}: users"), &owners.users, found);
        check_ranges(&format!("{field}: groups"), &owners.groups, found);
    }
}

fn check_files(spec: &Spec, found: &mut Vec<String>) {
    let filesystem = &spec.filesystem;
    if let Some(root) = &filesystem.root {
        if !root.source.starts_with('/') || root.source.contains('\0') {
            found.push(format!(
                "root: the source {:?} is no absolute path",
                root.source
            ));
        }
        check_owners("root", root.owners.as_ref(), found);
    }
    for bind in &filesystem.binds {
        check_owners(
            &format!("binds: {}", bind.destination),
            bind.owners.as_ref(),
            found,
        );
        if !bind.source.starts_with('/') || bind.source.contains('\0') {
            found.push(format!(
                "binds: the source {:?} is no absolute path",
                bind.source
            ));
        }
    }
    let inside = (filesystem
        .binds
        .iter()
        .map(|bind| ("binds", &bind.destination)))
    .chain(
        filesystem
            .temporary
            .iter()
            .map(|one| ("temporary", &one.path)),
    )
    .chain(filesystem.files.iter().map(|file| ("files", &file.path)))
    .chain(filesystem.links.iter().map(|link| ("links", &link.path)))
    .chain(spec.egress.iter().flat_map(socket_paths));
    for (list, path) in inside {
        if !is_inner_path(path) {
            found.push(format!(
                "{list}: {path:?} must be an absolute path below / without empty parts, \
                 \".\" and \"..\""
            ));
        }
    }
    for temporary in &filesystem.temporary {
        if temporary.size_bytes == 0 {
            found.push(format!("temporary: {} has no size", temporary.path));
        }
        if temporary.mode > 0o1777 {
            found.push(format!("temporary: the mode of {} is none", temporary.path));
        }
    }
    for file in &filesystem.files {
        if file.mode > 0o777 {
            found.push(format!("files: the mode of {} is none", file.path));
        }
    }
    for link in &filesystem.links {
        if link.target.is_empty() || link.target.contains('\0') {
            found.push(format!("links: {} points nowhere", link.path));
        }
    }
}

fn socket_paths(egress: &Egress) -> impl Iterator<Item = (&'static str, &String)> {
    egress.ways.iter().filter_map(|way| match way {
        WayOut::Loopback { .. } => None,
        WayOut::Socket { path } => Some(("egress", path)),
    })
}

/// Whether a path inside the cell names one place below the root and nothing else.
fn is_inner_path(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| {
        !path.contains('\0') && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
    })
}

fn check_descriptors(spec: &Spec, found: &mut Vec<String>) {
    if spec.descriptors.len() > DESCRIPTOR_LIMIT {
        found.push(format!("descriptors: more than {DESCRIPTOR_LIMIT}"));
    }
    for descriptor in &spec.descriptors {
        if descriptor
            .name
            .contains(|c: char| c == ':' || c.is_control())
        {
            found.push(format!(
                "descriptors: {:?} is no name for LISTEN_FDNAMES",
                descriptor.name
            ));
        }
    }
    let credentials = spec
        .filesystem
        .files
        .iter()
        .filter_map(|file| match file.content {
            Content::Descriptor { descriptor } => Some(descriptor),
            Content::Text { .. } => None,
        });
    let mut seen = BTreeSet::new();
    for number in spec
        .descriptors
        .iter()
        .map(|descriptor| descriptor.descriptor)
        .chain(credentials)
        .chain(spec.egress.iter().map(|egress| egress.descriptor))
        .chain(spec.control_groups.unified)
        .chain(spec.control_groups.members.iter().copied())
    {
        if number < 3 {
            found.push(format!(
                "descriptor {number} is a standard stream or none at all"
            ));
        } else if !seen.insert(number) {
            found.push(format!("descriptor {number} stands twice"));
        }
    }
}

fn check_egress(spec: &Spec, found: &mut Vec<String>) {
    let Some(egress) = &spec.egress else { return };
    let sockets = socket_paths(egress).count();
    if !spec.namespaces.network && sockets < egress.ways.len() {
        found.push("egress: without a network namespace its ports would be the host's".into());
    }
    if !spec.namespaces.mount && sockets > 0 {
        found.push("egress: without a mount namespace its sockets would be the host's".into());
    }
    if egress.ways.is_empty() || egress.ways.len() > DESCRIPTOR_LIMIT {
        found.push(format!(
            "egress has {} ways: 1 to {DESCRIPTOR_LIMIT} can be given away",
            egress.ways.len()
        ));
    }
    for (place, way) in egress.ways.iter().enumerate() {
        let shown = match way {
            WayOut::Loopback { host, port } => format!("{host}:{port}"),
            WayOut::Socket { path } => path.clone(),
        };
        if let WayOut::Loopback { host, port } = way
            && (!host.is_loopback() || *port == 0)
        {
            found.push(format!(
                "egress: {shown} is no port of the loopback interface"
            ));
        }
        if egress.ways.iter().take(place).any(|one| one == way) {
            found.push(format!("egress: {shown} stands twice"));
        }
    }
}

fn check_hosts(spec: &Spec, found: &mut Vec<String>) {
    for one in spec.filesystem.hosts.iter().flat_map(|hosts| &hosts.names) {
        if one.name.is_empty() || one.name.contains(|c: char| c.is_whitespace() || c == '#') {
            found.push(format!("hosts: {:?} is no name", one.name));
        }
    }
}
