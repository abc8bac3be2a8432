//! A copy of a folder in memory, which shows what is in the folder and can be added to.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    Dir, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, readlinkat,
    symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::failure::{AtPath, Problem};
use crate::mounts;
use crate::root::mount_id;

/// The bound of a copy: it holds links and empty files only.
const SIZE: u64 = 64 * 1024 * 1024;

/// Covers `folder`, which is seen at `path`, by a copy in memory. What was in it stays to be
/// seen in it: links as links, the rest as mounts of what it was, with all that is mounted
/// below. Returns the copy, which is writable, and the ids of these mounts.
///
/// Whoever may rename in `folder` meanwhile changes what is seen in the copy, and nothing else:
/// each entry is opened once and told by what was opened.
///
/// # Errors
///
/// `EACCES` where the folder cannot be listed, `ENOSPC` where it has too much in it.
pub fn cover(folder: BorrowedFd<'_>, path: &str) -> Result<(OwnedFd, Vec<u64>), Problem> {
    // The covered folder can only be reached by its descriptor from here on.
    let copy = mounts::memory(SIZE, 0o755, true)?;
    mounts::attach(&copy, folder).at(path)?;
    let mut shown = Vec::new();
    for name in entries(folder).at(path)? {
        let id = show(folder, &copy, &name).at(&format!("{path}/{}", name.to_string_lossy()))?;
        shown.extend(id);
    }
    Ok((copy, shown))
}

fn entries(folder: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let readable = openat(
        folder,
        c".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut names = Vec::new();
    for entry in Dir::read_from(readable)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn show(folder: BorrowedFd<'_>, copy: &OwnedFd, name: &CStr) -> Result<Option<u64>, Problem> {
    let opened = openat2(
        folder,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    );
    let found = match opened {
        // It has gone since the folder was listed.
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let kind = FileType::from_raw_mode(fstat(&found)?.st_mode);
    if kind == FileType::Symlink {
        let target = readlinkat(&found, c"", Vec::new())?;
        symlinkat(&target, copy, name)?;
        return Ok(None);
    }
    let place = if kind == FileType::Directory {
        mkdirat(copy, name, Mode::from_raw_mode(0o755))?;
        openat(copy, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?
    } else {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(copy, name, flags, Mode::from_raw_mode(0o444))?
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(found.as_fd(), c"", flags)?;
    mounts::attach(&tree, place)?;
    mount_id(tree.as_fd()).map(Some)
}
