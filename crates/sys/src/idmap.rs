//! The ids of a user namespace: user_namespaces(7), "User and group ID mappings".

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::clone::{NewNamespaces, Process, clone_process};
use crate::process::exit_now;

/// A run of ids that the namespace and its parent call differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many follow each other.
    pub size: u32,
}

/// Maps user ids into the user namespace of `process`.
///
/// # Errors
///
/// The path of the file that could not be written, and why: `EPERM` where the caller may
/// not give that id or the map is set already, `EACCES` where the process is not dumpable
/// and not the caller's, `EINVAL` where ranges overlap or are too many, `ENOENT` where the
/// process is gone.
pub fn map_users(process: Pid, users: &[Range]) -> Result<(), (String, io::Error)> {
    write_map(process, "uid_map", users)
}

/// Maps group ids into the user namespace of `process`.
///
/// Where it is one group, setgroups(2) is switched off in the namespace first: an ordinary
/// user may map no group otherwise, and there is none that could be added.
///
/// # Errors
///
/// As for [`map_users`].
pub fn map_groups(process: Pid, groups: &[Range]) -> Result<(), (String, io::Error)> {
    if let [Range { size: 1, .. }] = groups {
        let path = format!("/proc/{}/setgroups", process.as_raw_pid());
        write_once(path, "deny")?;
    }
    write_map(process, "gid_map", groups)
}

/// A user namespace with these ids and nobody in it, for mounts whose owners it maps
/// ([`crate::mount::map_owners`]). Only root can make one of ids that are not the caller's.
///
/// It takes a process of its own, which has ended on return. Call it in a program without
/// further threads.
///
/// # Errors
///
/// Those of clone(2) and of writing the maps, with the file's path.
pub fn namespace(users: &[Range], groups: &[Range]) -> Result<OwnedFd, (String, io::Error)> {
    let unnamed = |error: io::Error| (String::new(), error);
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| unnamed(errno.into()))?;
    let own = NewNamespaces {
        user: true,
        ..NewNamespaces::default()
    };
    match clone_process(own).map_err(unnamed)? {
        Process::Child => {
            drop(write);
            // Until the parent is done, or has gone.
            let _ = rustix::io::read(&read, &mut [0]);
            exit_now(0)
        }
        Process::Parent(child) => {
            let made = map_groups(child, groups)
                .and_then(|()| map_users(child, users))
                .and_then(|()| {
                    let path = format!("/proc/{}/ns/user", child.as_raw_pid());
                    File::open(&path).map_err(|error| (path, error))
                });
            drop(write);
            let _ = waitpid(Some(child), WaitOptions::empty());
            made.map(OwnedFd::from)
        }
    }
}

fn write_map(process: Pid, name: &str, ranges: &[Range]) -> Result<(), (String, io::Error)> {
    let lines: String = ranges
        .iter()
        .map(|range| format!("{} {} {}\n", range.inside, range.outside, range.size))
        .collect();
    write_once(format!("/proc/{}/{name}", process.as_raw_pid()), &lines)
}

/// The kernel takes a map by a single write(2), and only the first one.
fn write_once(path: String, text: &str) -> Result<(), (String, io::Error)> {
    let result = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| match file.write(text.as_bytes()) {
            Ok(written) if written < text.len() => Err(io::ErrorKind::WriteZero.into()),
            other => other.map(drop),
        });
    result.map_err(|error| (path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_named() {
        // pid_max is at most 2^22, so this process cannot exist.
        let nobody = Pid::from_raw(1 << 30).expect("not zero");
        let one = Range {
            inside: 1,
            outside: 1,
            size: 1,
        };
        let (path, error) = map_groups(nobody, &[one]).expect_err("no such process");
        assert_eq!(path, format!("/proc/{}/setgroups", 1 << 30));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let (path, _) = map_users(nobody, &[one, one]).expect_err("no such process");
        assert_eq!(path, format!("/proc/{}/uid_map", 1 << 30));
    }
}
