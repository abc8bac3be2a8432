//! What the door gives up before it serves, in this order: its user, its capabilities, the
//! hope for new ones, and the system calls that serving does not need.
//!
//! To be called while the process has one thread: all of this is the thread's own, and
//! threads that start later inherit it.

mod policy;
pub mod user;

use std::io;

use cloister_proto::messages::door::Protection;
use cloister_sys::{capabilities, credentials};
use rustix::process::{getegid, geteuid};

use user::User;

/// Gives up everything that serving does not need, and says what is in force.
///
/// # Errors
///
/// The user could not be changed; for a person. The rest is reported in the list.
pub fn confine(user: Option<User>, die_with_parent: bool) -> Result<Vec<Protection>, String> {
    if let Some(User { uid, gid }) = user
        && (geteuid().as_raw(), getegid().as_raw()) != (uid, gid)
    {
        credentials::become_user(uid, gid).map_err(|error| {
            format!("cannot become user {uid}:{gid}: {error}; start as root or without --user")
        })?;
    }
    let mut protections = vec![user_protection()];
    protections.push(report("capabilities", drop_capabilities()));
    let privileges =
        credentials::set_no_new_privileges().and_then(|()| credentials::forbid_dumps());
    protections.push(report(
        "no-new-privileges",
        privileges.map(|()| "and not dumpable"),
    ));
    if die_with_parent {
        // After the change of user, which clears it.
        credentials::die_with_parent()
            .map_err(|error| format!("--die-with-parent: prctl: {error}"))?;
    }
    let filter = policy::install().map(|()| "an allow-list; hostile calls kill");
    protections.push(report("seccomp", filter));
    Ok(protections)
}

fn user_protection() -> Protection {
    let (uid, gid) = (geteuid(), getegid());
    let mut detail = format!("uid {}, gid {}", uid.as_raw(), gid.as_raw());
    if uid.is_root() {
        detail.push_str("; root owns the host's files: name another user by --user");
    }
    Protection {
        name: "user".to_owned(),
        active: !uid.is_root(),
        detail,
    }
}

/// Empties every set that the process may change, and says which.
fn drop_capabilities() -> io::Result<&'static str> {
    // The change of user left the permitted ones, and dropping the bounding set takes one.
    capabilities::make_permitted_effective()?;
    match capabilities::drop_all() {
        Ok(()) => Ok("every set is empty"),
        // An ordinary user may not change the bounding set; no_new_privs makes it moot.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            capabilities::drop_held()?;
            Ok("every set but the bounding set is empty")
        }
        Err(error) => Err(error),
    }
}

fn report(name: &str, result: io::Result<&str>) -> Protection {
    Protection {
        name: name.to_owned(),
        active: result.is_ok(),
        detail: result.map_or_else(|error| error.to_string(), str::to_owned),
    }
}
