//! Gives the user namespace of a cell its ids.

use std::process::{Command, Stdio};

use cloister_proto::messages::cell::{IdRange, Identity};
use cloister_sys::idmap::{Range, map_groups, map_users};
use rustix::io::Errno;
use rustix::process::{Pid, getegid, geteuid};

use crate::failure::Problem;

/// Where newuidmap(1) and newgidmap(1) are looked for, never in the caller's `PATH`.
const HELPERS: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/run/wrappers/bin"];

/// Maps the ids into the user namespace of `init`.
///
/// An ordinary user may map its own ids itself; more of them only by newuidmap(1) and
/// newgidmap(1), which give what /etc/subuid and /etc/subgid allow that user.
///
/// # Errors
///
/// Those of writing the maps; `EPERM` where a program refuses or is missing.
pub fn map(init: Pid, identity: &Identity, privileged: bool) -> Result<(), Problem> {
    let own = (geteuid().as_raw(), getegid().as_raw());
    if privileged || is_only(&identity.gid_map, own.1) {
        map_groups(init, &ranges(&identity.gid_map)).map_err(at_path)?;
    } else {
        ask("newgidmap", init, &identity.gid_map)?;
    }
    if privileged || is_only(&identity.uid_map, own.0) {
        map_users(init, &ranges(&identity.uid_map)).map_err(at_path)
    } else {
        ask("newuidmap", init, &identity.uid_map)
    }
}

/// As the system calls take them.
pub fn ranges(map: &[IdRange]) -> Vec<Range> {
    map.iter()
        .map(|range| Range {
            inside: range.inside,
            outside: range.outside,
            size: range.size,
        })
        .collect()
}

fn is_only(map: &[IdRange], own: u32) -> bool {
    matches!(map, [IdRange { outside, size: 1, .. }] if *outside == own)
}

fn at_path((path, error): (String, std::io::Error)) -> Problem {
    Problem::from(error).at(&path)
}

/// Has a set-user-id program write the map.
fn ask(program: &str, init: Pid, map: &[IdRange]) -> Result<(), Problem> {
    let path = HELPERS
        .iter()
        .map(|folder| format!("{folder}/{program}"))
        .find(|path| std::fs::metadata(path).is_ok())
        .ok_or_else(|| {
            Problem::from(Errno::PERM).hint(format!(
                "an ordinary user can only map their own ids, which are {} and {}, as long as \
                 there is no {program}: use these, install the package uidmap, or run it as root",
                geteuid().as_raw(),
                getegid().as_raw()
            ))
        })?;
    let numbers = map
        .iter()
        .flat_map(|range| [range.inside, range.outside, range.size]);
    let done = Command::new(&path)
        .arg(init.as_raw_pid().to_string())
        .args(numbers.map(|number| number.to_string()))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| Problem::from(error).at(&path))?;
    if done.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&done.stderr);
    Err(Problem::from(Errno::PERM).at(&path).hint(format!(
        "it says: {}; /etc/subuid and /etc/subgid say which ids it gives to whom",
        reason.trim()
    )))
}
