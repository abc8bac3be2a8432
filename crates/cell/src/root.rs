//! The new root while it is built: every path is resolved inside it by openat2(2), so no
//! symbolic link in anything that is shown there leads out, and no renaming on the host
//! changes where something is put.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cloister_sys::mount::{Restrictions, restrict};
use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, mkdirat, openat, openat2, statx, symlinkat,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::failure::{AtPath, Problem};
use crate::mirror;

const READ_ONLY: Restrictions = Restrictions {
    read_only: true,
    no_set_user_id: false,
    no_devices: false,
    no_execution: false,
};

/// The top of the new root, and which file systems in it are the cell's own.
#[derive(Debug)]
pub struct Root {
    top: OwnedFd,
    /// By the ids of their mounts: what may be added to.
    own: BTreeSet<u64>,
    /// By the ids of their mounts: what can be covered by a copy that may be added to.
    copied: BTreeSet<u64>,
    /// File systems in memory by their paths, and the copies.
    mounted: Vec<(String, OwnedFd)>,
    copies: Vec<OwnedFd>,
}

impl Root {
    /// Takes an empty root, mounted already.
    ///
    /// # Errors
    ///
    /// Those of statx(2).
    pub fn empty(top: OwnedFd) -> Result<Self, Problem> {
        let id = mount_id(top.as_fd())?;
        let mut root = Self::at(top);
        root.own.insert(id);
        Ok(root)
    }

    /// Takes a folder of the host, mounted already.
    ///
    /// # Errors
    ///
    /// Those of statx(2).
    pub fn of_folder(top: OwnedFd) -> Result<Self, Problem> {
        let id = mount_id(top.as_fd())?;
        let mut root = Self::at(top);
        root.copied.insert(id);
        Ok(root)
    }

    fn at(top: OwnedFd) -> Self {
        Self {
            top,
            own: BTreeSet::new(),
            copied: BTreeSet::new(),
            mounted: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// The top folder.
    #[must_use]
    pub fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// Says that `mount`, which was just attached at `path`, is the cell's own: folders and
    /// files may be made in it. Told by its descriptor: what is at the path may be another
    /// thing by now.
    ///
    /// # Errors
    ///
    /// Those of statx(2).
    pub fn adopt(&mut self, path: &str, mount: OwnedFd) -> Result<(), Problem> {
        self.own.insert(mount_id(mount.as_fd())?);
        self.mounted.push((path.to_owned(), mount));
        Ok(())
    }

    /// Makes the file system in memory that was mounted at `path` read-only, or the empty root.
    ///
    /// # Errors
    ///
    /// Those of mount_setattr(2).
    pub fn seal(&self, path: &str) -> Result<(), Problem> {
        let mounted = self.mounted.iter().rev().find(|(at, _)| at == path);
        let mount = mounted.map_or(&self.top, |(_, mount)| mount);
        restrict(mount, READ_ONLY, false).at(path)
    }

    /// Makes the copies of folders read-only.
    ///
    /// # Errors
    ///
    /// Those of mount_setattr(2).
    pub fn seal_copies(&self) -> Result<(), Problem> {
        self.copies
            .iter()
            .try_for_each(|copy| Ok(restrict(copy, READ_ONLY, false)?))
    }

    /// What is at `path`, as an `O_PATH` descriptor; links are followed inside the root.
    ///
    /// # Errors
    ///
    /// Those of openat2(2).
    pub fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat2(
            &self.top,
            path,
            OFlags::PATH | OFlags::CLOEXEC | flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// Opens what is at `path` for reading, without waiting for whatever it is; links are
    /// followed inside the root.
    ///
    /// # Errors
    ///
    /// Those of openat2(2).
    pub fn read(&self, path: &str) -> Result<OwnedFd, Errno> {
        openat2(
            &self.top,
            path,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// The place where something is to be mounted: made where it is missing, as a folder or
    /// as an empty file.
    ///
    /// # Errors
    ///
    /// Those of openat2(2) and mkdirat(2); `EROFS` where it would have to be made in a part
    /// of the host's file system.
    pub fn place(&mut self, path: &str, folder: bool) -> Result<OwnedFd, Problem> {
        if folder {
            return self.folder(path);
        }
        match self.open(path, OFlags::empty()) {
            Err(Errno::NOENT) => self.create(path, Mode::from_raw_mode(0o644)),
            other => other.at(path),
        }
    }

    /// Makes an empty file and the folders above it; open for writing.
    ///
    /// # Errors
    ///
    /// `EEXIST` where anything is there; else as [`Root::place`].
    pub fn create(&mut self, path: &str, mode: Mode) -> Result<OwnedFd, Problem> {
        let (parent, name) = self.parent(path)?;
        openat(
            &parent,
            name,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            mode,
        )
        .at(path)
    }

    /// Makes a symbolic link and the folders above it.
    ///
    /// # Errors
    ///
    /// As [`Root::create`].
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), Problem> {
        let (parent, name) = self.parent(path)?;
        symlinkat(target, &parent, name).at(path)
    }

    /// The folder above `path`, in which something may be made, and the last part of `path`.
    ///
    /// # Errors
    ///
    /// As [`Root::place`].
    pub fn parent<'a>(&mut self, path: &'a str) -> Result<(OwnedFd, &'a str), Problem> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.folder(above)?;
        Ok((self.own_folder(parent, above, path)?, name))
    }

    /// The folder at `path`; it and the folders above it are made where they are missing.
    fn folder(&mut self, path: &str) -> Result<OwnedFd, Problem> {
        let mut folder = self.open("/", OFlags::DIRECTORY).at("/")?;
        let mut above = "";
        let ends = path
            .char_indices()
            .skip(1)
            .filter_map(|(index, c)| (c == '/').then_some(index))
            .chain((!path.is_empty()).then_some(path.len()));
        for end in ends {
            let prefix = &path[..end];
            folder = match self.open(prefix, OFlags::DIRECTORY) {
                Err(Errno::NOENT) => {
                    folder = self.own_folder(folder, above, prefix)?;
                    let name = prefix.rsplit_once('/').map_or(prefix, |(_, name)| name);
                    mkdirat(&folder, name, Mode::from_raw_mode(0o755)).at(prefix)?;
                    self.open(prefix, OFlags::DIRECTORY).at(prefix)?
                }
                other => other.at(prefix)?,
            };
            above = prefix;
        }
        Ok(folder)
    }

    /// The folder, seen at `above`, in which `path` may be made: itself, or the copy that
    /// covers it from now on. Nothing is made on the host's file systems, writable or not: it
    /// would stay there.
    fn own_folder(&mut self, folder: OwnedFd, above: &str, path: &str) -> Result<OwnedFd, Problem> {
        let id = mount_id(folder.as_fd())?;
        if self.own.contains(&id) {
            return Ok(folder);
        }
        if !self.copied.contains(&id) {
            return Err(Problem::from(Errno::ROFS).at(path).hint(format!(
                "{path} lies in a part of the host's file system that the cell sees: make it on \
                 the host, or choose another place"
            )));
        }
        let (copy, shown) = mirror::cover(folder.as_fd(), above)?;
        self.own.insert(mount_id(copy.as_fd())?);
        // What the copy shows are mounts of their own, and can be covered in their turn.
        self.copied.extend(shown);
        let opened = fcntl_dupfd_cloexec(&copy, 0)?;
        if above.is_empty() {
            self.top = fcntl_dupfd_cloexec(&copy, 0)?;
        }
        self.copies.push(copy);
        Ok(opened)
    }
}

/// Which mount a descriptor is on (statx(2) `STATX_MNT_ID`, Linux 5.8).
///
/// # Errors
///
/// Those of statx(2).
pub fn mount_id(descriptor: BorrowedFd<'_>) -> Result<u64, Problem> {
    let found = statx(descriptor, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(found.stx_mnt_id)
}
