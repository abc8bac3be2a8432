//! Carries out the operations on mounts: open, make, attach, enter.

use std::os::fd::{AsFd, OwnedFd};

use cloister_sys::idmap::namespace;
use cloister_sys::mount::{Restrictions, map_owners, restrict};
use rustix::fs::{CWD, FileType, Mode, OFlags, fchmod, fstat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{fchdir, pivot_root};

use crate::failure::{AtPath, Problem};
use crate::idmap::ranges;
use crate::operation::{Memory, Source};
use crate::root::{Root, mount_id};

/// The bound of a file system for one file.
const FILE_SIZE: u64 = 4 * 1024 * 1024;
/// How many mounts lie above the new root at most.
const UNCOVERED: usize = 2;

/// Opens a part of the host's file system, with everything mounted below it, as a mount that
/// is attached nowhere; `None` for an optional one that is missing.
///
/// # Errors
///
/// Those of open_tree(2) and mount_setattr(2).
pub fn open_source(source: &Source) -> Result<Option<OwnedFd>, Problem> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = match open_tree(CWD, source.path.as_str(), flags) {
        Err(Errno::NOENT | Errno::NOTDIR) if source.optional => return Ok(None),
        other => other.at(&source.path)?,
    };
    restrict(&tree, source.restrictions, true).at(&source.path)?;
    if let Some(owners) = &source.owners {
        let (users, groups) = (ranges(&owners.users), ranges(&owners.groups));
        let namespace = namespace(&users, &groups).map_err(|(path, error)| {
            let place = if path.is_empty() { &source.path } else { &path };
            Problem::from(error).at(place)
        })?;
        map_owners(&tree, &namespace, true).at(&source.path)?;
    }
    Ok(Some(tree))
}

/// Attaches an opened source; its place is made after its kind, a folder or a file.
///
/// # Errors
///
/// Those of [`Root::place`] and move_mount(2).
pub fn attach_source(root: &mut Root, tree: &OwnedFd, destination: &str) -> Result<(), Problem> {
    let kind = FileType::from_raw_mode(fstat(tree)?.st_mode);
    let place = root.place(destination, kind == FileType::Directory)?;
    attach(tree, &place).at(destination)
}

/// Attaches a mount at a place, both by their descriptors.
///
/// # Errors
///
/// Those of move_mount(2).
pub fn attach(mount: impl AsFd, place: impl AsFd) -> Result<(), Errno> {
    move_mount(
        mount,
        "",
        place,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// Stops what is mounted from here on from appearing on the host, and the other way round.
///
/// # Errors
///
/// Those of mount(2).
pub fn isolate() -> Result<(), Problem> {
    mount_change(
        "/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )
    .at("/")
}

/// Makes the empty root and mounts it over the old one, where nothing sees it yet.
///
/// # Errors
///
/// Those of the mount calls.
pub fn make_root(size_bytes: u64) -> Result<Root, Problem> {
    let top = memory(size_bytes, 0o755, false)?;
    cover_root(&top)?;
    Root::empty(top)
}

/// Makes an opened folder the root, over the old one, where nothing sees it yet.
///
/// # Errors
///
/// `ENOTDIR` where it is no folder, and those of the mount calls.
pub fn show_root(folder: OwnedFd) -> Result<Root, Problem> {
    if FileType::from_raw_mode(fstat(&folder)?.st_mode) != FileType::Directory {
        return Err(Errno::NOTDIR.into());
    }
    cover_root(&folder)?;
    Root::of_folder(folder)
}

fn cover_root(top: &OwnedFd) -> Result<(), Problem> {
    let old = rustix::fs::open(
        "/",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    attach(top, &old).at("/")
}

/// Mounts a private file system in memory.
///
/// # Errors
///
/// Those of [`Root::place`] and of the mount calls.
pub fn mount_memory(root: &mut Root, wanted: &Memory) -> Result<(), Problem> {
    let place = root.place(&wanted.path, true)?;
    let mount = memory(wanted.size_bytes, wanted.mode, wanted.executable)?;
    attach(&mount, &place).at(&wanted.path)?;
    root.adopt(&wanted.path, mount)
}

/// A detached tmpfs(5).
///
/// # Errors
///
/// Those of the mount calls.
pub fn memory(size_bytes: u64, mode: u32, executable: bool) -> Result<OwnedFd, Problem> {
    // An empty file costs the kernel about a page that `size` does not count.
    let inodes = (size_bytes / 4096).clamp(1024, 1 << 20);
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    fsconfig_set_string(context, "size", size_bytes.to_string())?;
    fsconfig_set_string(context, "nr_inodes", inodes.to_string())?;
    fsconfig_set_string(context, "mode", format!("{mode:o}"))?;
    fsconfig_create(context)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    if !executable {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    Ok(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Covers what is at `path` by a file of this content, which nobody can write to. Its place is
/// made where it is missing.
///
/// # Errors
///
/// Those of [`Root::place`] and of the mount calls.
pub fn cover_file(root: &mut Root, path: &str, content: &[u8]) -> Result<(), Problem> {
    const NAME: &str = "file";
    let holder = memory(FILE_SIZE, 0o755, false)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(&holder, NAME, flags, Mode::empty())?;
    write_all(&file, content).at(path)?;
    fchmod(&file, Mode::from_raw_mode(0o444))?;
    // What is attached nowhere cannot be copied (open_tree(2) before Linux 6.15): for that
    // moment it lies over the root.
    attach(&holder, root.top())?;
    fchdir(&holder)?;
    let copied = open_tree(
        &holder,
        NAME,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    );
    unmount(".", UnmountFlags::DETACH)?;
    let copy = copied?;
    let read_only = Restrictions {
        read_only: true,
        no_set_user_id: true,
        no_devices: true,
        no_execution: true,
    };
    restrict(&copy, read_only, false)?;
    let place = root.place(path, false)?;
    attach(&copy, &place).at(path)
}

/// Writes all of it.
///
/// # Errors
///
/// Those of write(2).
pub fn write_all(file: impl AsFd, mut content: &[u8]) -> Result<(), Errno> {
    while !content.is_empty() {
        let written = rustix::io::write(&file, content)?;
        content = &content[written..];
    }
    Ok(())
}

/// Mounts /proc of the pid namespace that the caller is in; `whole` with all else that the
/// kernel has there.
///
/// `subset=pid` (Linux 5.8) leaves only processes, without /proc/sys and all else that is
/// the host's; `hidepid=invisible` leaves those that the reader may trace, which init is not.
///
/// # Errors
///
/// Those of [`Root::place`] and of the mount calls; `EPERM` where the host's own /proc is
/// covered in part, which a user namespace must not uncover (mount_too_revealing() in
/// fs/namespace.c).
pub fn mount_proc(root: &mut Root, whole: bool) -> Result<(), Problem> {
    let place = root.place("/proc", true)?;
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).at("/proc")?;
    let context = context.as_fd();
    fsconfig_set_string(context, "hidepid", "invisible").at("/proc")?;
    if !whole {
        fsconfig_set_string(context, "subset", "pid").at("/proc")?;
    }
    fsconfig_create(context).at("/proc")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at("/proc")?;
    attach(mount, &place).at("/proc")
}

/// Mounts devpts: each mount has terminals of its own, so those of the host are not in it.
///
/// # Errors
///
/// Those of [`Root::place`] and of the mount calls.
pub fn mount_terminals(root: &mut Root) -> Result<(), Problem> {
    const PATH: &str = "/dev/pts";
    let place = root.place(PATH, true)?;
    let context = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC).at(PATH)?;
    let context = context.as_fd();
    fsconfig_set_string(context, "ptmxmode", "666").at(PATH)?;
    fsconfig_set_string(context, "mode", "600").at(PATH)?;
    fsconfig_create(context).at(PATH)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at(PATH)?;
    attach(mount, &place).at(PATH)
}

/// Makes the new root the root of the mount namespace and unmounts the old one.
///
/// pivot_root(2), "pivot_root(".", ".")": the old root is put over the new one and unmounted
/// from there, which needs no folder for it. The mount is let go of lazily, since this very
/// program runs from it; nothing in the cell has a path to it.
///
/// # Errors
///
/// Those of the calls; `EINVAL` where the caller's root is no mount point (chroot(2)).
pub fn enter(root: &Root) -> Result<(), Problem> {
    fchdir(root.top())?;
    pivot_root(".", ".").map_err(|errno| {
        Problem::from(errno).hint(
            "the launcher must not run in a chroot, nor from the initial ram disk: its root \
             must be a mount of its own",
        )
    })?;
    // Above the new root lies the old one, and on that what had been attached there: the folder
    // whose copy is the root now. Whoever goes up from the root comes to the uppermost.
    for _ in 0..UNCOVERED {
        unmount(".", UnmountFlags::DETACH)?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let above = rustix::fs::open("/..", flags, rustix::fs::Mode::empty())?;
        if mount_id(above.as_fd())? == mount_id(root.top())? {
            return Ok(rustix::process::chdir("/")?);
        }
    }
    Err(Errno::BUSY.into())
}
