//! Labels of mandatory access control: SELinux contexts, AppArmor profiles.
//!
//! Written by the launcher, before there is a cell: the files belong to it (those of a process
//! that cannot be traced are root's), a child inherits what stands there, and it counts for
//! the next execution only, which is the application's.

use std::path::Path;

use cloister_proto::messages::cell::Label;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::failure::{AtPath, Problem};

const CURRENT: &str = "/proc/thread-self/attr/exec";
/// Where AppArmor is stacked with another security module.
const APPARMOR: &str = "/proc/thread-self/attr/apparmor/exec";

/// Asks for the label.
///
/// # Errors
///
/// Those of open(2) and write(2): `ENOENT` and `EINVAL` where the module is not active or
/// does not know the label.
pub fn set(label: &Label) -> Result<(), Problem> {
    let (path, content, hint) = match label {
        Label::Selinux { context } => (
            CURRENT,
            context.clone(),
            "SELinux is not active here, or its policy does not know this context",
        ),
        Label::Apparmor { profile } => (
            if Path::new(APPARMOR).exists() {
                APPARMOR
            } else {
                CURRENT
            },
            format!("exec {profile}"),
            "AppArmor is not active here, or no profile of this name is loaded",
        ),
    };
    let written = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        // Whole or not at all: proc_pid_attr_write() in fs/proc/base.c.
        .and_then(|file| rustix::io::write(file, content.as_bytes()));
    written
        .map(drop)
        .at(path)
        .map_err(|problem| problem.hint(hint))
}

/// The label that the next execution of this thread is to get, where one was asked for and /proc
/// is there to tell.
#[must_use]
pub fn pending() -> Option<String> {
    [APPARMOR, CURRENT]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|text| text.trim_end_matches(['\0', '\n']).to_owned())
        .find(|text| !text.is_empty())
}

/// The label in words.
#[must_use]
pub fn describe(label: &Label) -> String {
    match label {
        Label::Selinux { context } => format!("SELinux context {context}"),
        Label::Apparmor { profile } => format!("AppArmor profile {profile}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_pending_where_nothing_was_asked_for() {
        assert_eq!(pending(), None);
    }
}
