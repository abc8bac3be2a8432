//! The ids of a user namespace: user_namespaces(7), "User and group ID mappings".

use std::fs::OpenOptions;
use std::io::{self, Write};

use rustix::process::Pid;

/// Maps exactly one user id and one group id into the user namespace of `process`.
///
/// Each pair is (id inside, id outside). setgroups(2) is switched off in the namespace
/// first: an ordinary user may map no group otherwise, and nobody inside needs it.
///
/// # Errors
///
/// The path of the file that could not be written, and why: `EPERM` where the caller may
/// not give that id or the map is set already, `EACCES` where the process is not dumpable
/// and not the caller's, `ENOENT` where it is gone.
pub fn map_one(
    process: Pid,
    user: (u32, u32),
    group: (u32, u32),
) -> Result<(), (String, io::Error)> {
    let folder = format!("/proc/{}", process.as_raw_pid());
    write_once(format!("{folder}/setgroups"), "deny")?;
    write_once(
        format!("{folder}/gid_map"),
        &format!("{} {} 1", group.0, group.1),
    )?;
    write_once(
        format!("{folder}/uid_map"),
        &format!("{} {} 1", user.0, user.1),
    )
}

/// The kernel takes a map by a single write(2), and only the first one.
fn write_once(path: String, text: &str) -> Result<(), (String, io::Error)> {
    let result = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    result.map_err(|error| (path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_named() {
        // pid_max is at most 2^22, so this process cannot exist.
        let nobody = Pid::from_raw(1 << 30).expect("not zero");
        let (path, error) = map_one(nobody, (1, 1), (1, 1)).expect_err("no such process");
        assert_eq!(path, format!("/proc/{}/setgroups", 1 << 30));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
