//! What of /proc is covered where all of it is mounted: everything that is not a process and
//! not asked for. A list of what is shown, not of what is hidden: kernels differ in what there
//! is.

use std::os::fd::{AsFd, OwnedFd};

use cloister_sys::mount::{Restrictions, restrict};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, openat, statat};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::failure::{AtPath, Problem};
use crate::mounts;
use crate::root::Root;

/// What every process uses to name itself, and the view of its own mounts and network.
const LINKS: [&str; 4] = ["self", "thread-self", "mounts", "net"];
/// The folder of the kernel's settings, which is never writable.
const SETTINGS: &str = "sys";

/// Covers files by an empty file that nobody can open, and folders by an empty folder.
///
/// # Errors
///
/// Those of the mount calls.
pub fn cover(root: &Root, shown: &[String]) -> Result<(), Problem> {
    let proc = root.open("/proc", OFlags::DIRECTORY).at("/proc")?;
    let listed = openat(
        &proc,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at("/proc")?;
    let empty = mounts::memory(64 * 1024, 0o555, false)?;
    mkdirat(&empty, "folder", Mode::from_raw_mode(0o555))?;
    openat(
        &empty,
        "file",
        OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    restrict(
        &empty,
        Restrictions {
            read_only: true,
            no_set_user_id: true,
            no_devices: true,
            no_execution: true,
        },
        false,
    )?;
    for entry in Dir::read_from(&listed).at("/proc")? {
        let entry = entry.at("/proc")?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        let process = name.bytes().all(|byte| byte.is_ascii_digit());
        if process || LINKS.contains(&name) || matches!(name, "." | "..") {
            continue;
        }
        let path = format!("/proc/{name}");
        if shown.iter().any(|one| one == name) {
            if name == SETTINGS {
                settings_read_only(&proc).at(&path)?;
            }
            continue;
        }
        let kind = statat(&proc, name, AtFlags::SYMLINK_NOFOLLOW).at(&path)?;
        let covering = match FileType::from_raw_mode(kind.st_mode) {
            FileType::Directory => clone(&empty, "folder"),
            FileType::Symlink => continue,
            _ => clone(&empty, "file"),
        };
        let place = openat(
            &proc,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .at(&path)?;
        attach(covering.at(&path)?, place).at(&path)?;
    }
    Ok(())
}

fn settings_read_only(proc: &OwnedFd) -> Result<(), Problem> {
    let own = clone(proc, SETTINGS)?;
    restrict(
        &own,
        Restrictions {
            read_only: true,
            ..Restrictions::default()
        },
        true,
    )?;
    let place = openat(
        proc,
        SETTINGS,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    attach(own, place)
}

fn clone(folder: &OwnedFd, path: &str) -> Result<OwnedFd, Problem> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(folder, path, flags)?)
}

fn attach(mount: OwnedFd, place: OwnedFd) -> Result<(), Problem> {
    Ok(move_mount(
        mount.as_fd(),
        "",
        place.as_fd(),
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )?)
}
