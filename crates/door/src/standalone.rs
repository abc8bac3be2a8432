//! What the commands without a supervisor have in common.

use std::thread::available_parallelism;

use cloister_proto::messages::door::Protection;

use crate::confine::user::User;
use crate::inherited::{self, Passed};
use crate::runtime::ListeningSocket;
use std::sync::Arc;

/// Whom to become. Root does not stay root unless told to: what it can reach is the whole
/// host. `needs` says what the user must be able to do.
///
/// # Errors
///
/// What is wrong with the name, for a person.
pub fn user(name: Option<&str>, needs: &str) -> Result<Option<User>, String> {
    match name {
        Some(name) => User::parse(name).map(Some),
        None if rustix::process::geteuid().is_root() => {
            let User { uid, gid } = User::NOBODY;
            eprintln!(
                "cloister-door: started as root without --user: becoming nobody ({uid}:{gid}), \
                 who must be able to {needs}"
            );
            Ok(Some(User::NOBODY))
        }
        None => Ok(None),
    }
}

/// Worker threads where no number is given.
#[must_use]
pub fn cpus() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Says which protections could not be had.
pub fn report(protections: Vec<Protection>) {
    for protection in protections {
        if !protection.active {
            let (name, detail) = (protection.name, protection.detail);
            eprintln!("cloister-door: without protection {name:?}: {detail}");
        }
    }
}

/// A passed socket that listens, with its name and address.
///
/// # Errors
///
/// What it is instead, and what to do, for a person.
pub fn listening(id: u32, passed: Passed) -> Result<(Arc<ListeningSocket>, String), String> {
    let name = passed.name;
    let socket = inherited::listening_socket(id, passed.descriptor).map_err(|error| {
        format!(
            "{name}: {error}; pass listening sockets by LISTEN_FDS (systemd-socket-activate) \
             or one as standard input"
        )
    })?;
    Ok((socket, name))
}
