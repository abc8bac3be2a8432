//! The new root while it is built: every path is resolved inside it by openat2(2), so no
//! symbolic link in anything that is shown there leads out, and no renaming on the host
//! changes where something is put.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, mkdirat, openat, openat2, statx, symlinkat,
};
use rustix::io::Errno;

use crate::failure::{AtPath, Problem};

/// The top of the new root, and which file systems in it are the cell's own.
#[derive(Debug)]
pub struct Root {
    top: OwnedFd,
    own: BTreeSet<u64>,
}

impl Root {
    /// Takes the mounted, still empty root.
    ///
    /// # Errors
    ///
    /// Those of statx(2).
    pub fn new(top: OwnedFd) -> Result<Self, Problem> {
        let mut root = Self {
            top,
            own: BTreeSet::new(),
        };
        root.own.insert(mount_id(root.top.as_fd())?);
        Ok(root)
    }

    /// The top folder.
    #[must_use]
    pub fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// Says that the mount which was just attached at `path` is the cell's own: folders and
    /// files may be made in it.
    ///
    /// # Errors
    ///
    /// Those of openat2(2) and statx(2).
    pub fn adopt(&mut self, path: &str) -> Result<(), Problem> {
        let folder = self.open(path, OFlags::DIRECTORY).at(path)?;
        self.own.insert(mount_id(folder.as_fd())?);
        Ok(())
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

    /// The place where something is to be mounted: made where it is missing, as a folder or
    /// as an empty file.
    ///
    /// # Errors
    ///
    /// Those of openat2(2) and mkdirat(2); `EROFS` where it would have to be made in a part
    /// of the host's file system.
    pub fn place(&self, path: &str, folder: bool) -> Result<OwnedFd, Problem> {
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
    pub fn create(&self, path: &str, mode: Mode) -> Result<OwnedFd, Problem> {
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
    pub fn link(&self, path: &str, target: &str) -> Result<(), Problem> {
        let (parent, name) = self.parent(path)?;
        symlinkat(target, &parent, name).at(path)
    }

    /// The folder above `path`, in which something may be made, and the last part of `path`.
    fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str), Problem> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.folder(above)?;
        self.refuse_foreign(parent.as_fd(), path)?;
        Ok((parent, name))
    }

    /// The folder at `path`; it and the folders above it are made where they are missing.
    fn folder(&self, path: &str) -> Result<OwnedFd, Problem> {
        let mut folder = self.open("/", OFlags::DIRECTORY).at("/")?;
        let ends = path
            .char_indices()
            .skip(1)
            .filter_map(|(index, c)| (c == '/').then_some(index))
            .chain((!path.is_empty()).then_some(path.len()));
        for end in ends {
            let prefix = &path[..end];
            folder = match self.open(prefix, OFlags::DIRECTORY) {
                Err(Errno::NOENT) => {
                    self.refuse_foreign(folder.as_fd(), prefix)?;
                    let name = prefix.rsplit_once('/').map_or(prefix, |(_, name)| name);
                    mkdirat(&folder, name, Mode::from_raw_mode(0o755)).at(prefix)?;
                    self.open(prefix, OFlags::DIRECTORY).at(prefix)?
                }
                other => other.at(prefix)?,
            };
        }
        Ok(folder)
    }

    /// Nothing is made on the host's file systems, writable or not: it would stay there.
    fn refuse_foreign(&self, folder: BorrowedFd<'_>, path: &str) -> Result<(), Problem> {
        if self.own.contains(&mount_id(folder)?) {
            return Ok(());
        }
        Err(Problem::from(Errno::ROFS).at(path).hint(format!(
            "{path} lies in a part of the host's file system that the cell sees: make it on the \
             host, or choose another place"
        )))
    }
}

/// Which mount a descriptor is on (statx(2) `STATX_MNT_ID`, Linux 5.8).
fn mount_id(descriptor: BorrowedFd<'_>) -> Result<u64, Problem> {
    let found = statx(descriptor, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(found.stx_mnt_id)
}
