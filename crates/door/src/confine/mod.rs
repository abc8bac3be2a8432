//! What the door gives up before it serves, in this order: its user, its capabilities, the
//! hope for new ones, and the system calls that serving does not need.
//!
//! To be called while the process has one thread: all of this is the thread's own, and
//! threads that start later inherit it.

mod policy;
pub mod reach;
pub mod user;

use std::io;

use cloister_proto::messages::door::Protection;
use cloister_sys::{capabilities, credentials, network};
use rustix::process::{getegid, geteuid};

use reach::Reach;
use user::User;

/// Gives up everything that serving does not need, and says what is in force. `reach` is
/// what connecting to the targets takes: without a network the process leaves its own, where
/// it may; its listening sockets stay where they are.
///
/// # Errors
///
/// The user could not be changed; for a person. The rest is reported in the list.
pub fn confine(
    user: Option<User>,
    die_with_parent: bool,
    reach: Reach,
) -> Result<Vec<Protection>, String> {
    // Before the change of user, which takes the capability for it.
    let network = reach.needs_no_network().then(leave_network);
    if let Some(User { uid, gid }) = user
        && (geteuid().as_raw(), getegid().as_raw()) != (uid, gid)
    {
        credentials::become_user(uid, gid).map_err(|error| {
            format!("cannot become user {uid}:{gid}: {error}; start as root or without --user")
        })?;
    }
    let mut protections = vec![user_protection()];
    protections.extend(network);
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
    let filter = policy::install(reach).map(|()| "an allow-list; hostile calls kill");
    protections.push(report("seccomp", filter));
    Ok(protections)
}

/// Whether the network namespace was empty when this process got it, as systemd's
/// `PrivateNetwork=` has it.
fn loopback_only() -> bool {
    // proc_pid_net(5): two lines of headings, then a line for each interface.
    let interfaces = std::fs::read_to_string("/proc/self/net/dev");
    interfaces.is_ok_and(|text| {
        let mut lines = text.lines().skip(2);
        lines.all(|line| line.trim_start().starts_with("lo:"))
    })
}

fn leave_network() -> Protection {
    let left = network::leave().map(|()| "a network namespace of its own, empty");
    let unprivileged =
        |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied && !geteuid().is_root();
    match left {
        Err(error) if unprivileged(&error) && loopback_only() => Protection {
            name: "network".to_owned(),
            active: true,
            detail: "a network namespace with a loopback interface only".to_owned(),
        },
        Err(error) if unprivileged(&error) => Protection {
            name: "network".to_owned(),
            active: false,
            detail: "only root may leave the network; PrivateNetwork=yes of systemd.exec(5) \
                     does the same"
                .to_owned(),
        },
        left => report("network", left),
    }
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
    // A service manager may have taken them all away, and capset(2) as well.
    if capabilities::holds_none()? {
        return Ok("every set but the bounding set is empty");
    }
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
