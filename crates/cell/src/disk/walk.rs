//! Has a whole tree belong to a project, while others may be at work in it.
//!
//! A folder is marked before it is read. From then on all that is made in it belongs to the
//! project, and nothing that does not can be moved or linked into it (EXDEV): what is not
//! marked yet is always where the walk has still to come.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use cloister_proto::messages::disk::Projects;
use cloister_sys::quota::{Membership, join, join_unopened, membership};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statat};
use rustix::io::Errno;

use super::{Failed, readable};
use crate::failure::{AtPath, Problem};

/// How deep folders may lie in each other: each takes a descriptor.
const DEPTH: usize = 4096;

/// To which project files shall belong.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Those of these projects, and of these alone.
    from: Projects,
    to: u32,
}

impl Change {
    /// Everything belongs to `project`.
    pub const fn join(project: u32, replaceable: Projects) -> Self {
        Self {
            from: replaceable,
            to: project,
        }
    }

    /// What belongs to `project` belongs to nobody.
    pub const fn leave(project: u32) -> Self {
        Self {
            from: Projects {
                first: project,
                last: project,
            },
            to: 0,
        }
    }

    /// What a file becomes a member of; `None` where it stays what it is. Raises the project
    /// that it belongs to where that is a foreign one.
    fn of(self, own: Membership, folder: bool) -> Result<Option<u32>, u32> {
        let inherited = folder && self.to != 0;
        if own.project == self.to && own.inherited == inherited {
            return Ok(None);
        }
        let replaceable = own.project == self.to
            || (self.from.first..=self.from.last).contains(&own.project)
            || (own.project == 0 && self.to != 0);
        if replaceable {
            return Ok(Some(self.to));
        }
        if self.to == 0 {
            return Ok(None);
        }
        Err(own.project)
    }
}

/// One walk.
#[derive(Debug)]
pub struct Walk {
    change: Change,
    /// The names on the way to where it is.
    way: Vec<String>,
    /// Files and folders that were looked at.
    pub entries: u64,
    /// Those that were changed.
    pub changed: u64,
}

/// A folder with the names of those in it that are still to be gone into.
struct Level {
    folder: OwnedFd,
    inner: Vec<CString>,
}

impl Walk {
    /// Nothing is done yet.
    pub fn new(change: Change, path: &str) -> Self {
        Self {
            change,
            way: vec![path.trim_end_matches('/').to_owned()],
            entries: 0,
            changed: 0,
        }
    }

    /// An opened folder and all below it, on its mount.
    pub fn folder(&mut self, folder: OwnedFd) -> Result<(), Failed> {
        let mut levels = vec![self.level(folder)?];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.inner.pop() else {
                levels.pop();
                if !levels.is_empty() {
                    self.way.pop();
                }
                continue;
            };
            self.way.push(name.to_string_lossy().into_owned());
            let Some(found) = self.open(level.folder.as_fd(), &name)? else {
                self.way.pop();
                continue;
            };
            // It may be another thing by now than what was listed.
            if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::Directory {
                self.way.pop();
                continue;
            }
            if levels.len() == DEPTH {
                return Err(self.failed(Errno::MFILE));
            }
            let folder = readable(&found).map_err(|error| self.failed(error))?;
            levels.push(self.level(folder)?);
        }
        Ok(())
    }

    /// An opened regular file.
    pub fn file(&mut self, file: &OwnedFd) -> Result<(), Failed> {
        self.member(file, false)
    }

    /// Marks a folder, and all in it but folders.
    fn level(&mut self, folder: OwnedFd) -> Result<Level, Failed> {
        self.member(&folder, true)?;
        let mut inner = Vec::new();
        for entry in Dir::read_from(&folder).map_err(|error| self.failed(error))? {
            let entry = entry.map_err(|error| self.failed(error))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(found) => FileType::from_raw_mode(found.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(self.failed(error)),
                },
                known => known,
            };
            match kind {
                FileType::Directory => inner.push(name.to_owned()),
                FileType::RegularFile => {
                    self.way.push(name.to_string_lossy().into_owned());
                    if let Some(found) = self.open(folder.as_fd(), name)?
                        && FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::RegularFile
                    {
                        let file = readable(&found).map_err(|error| self.failed(error))?;
                        self.file(&file)?;
                    }
                    self.way.pop();
                }
                _ => {
                    self.entries += 1;
                    // It takes no room. Where it cannot be marked it only cannot be renamed
                    // within the tree; whoever made it can make another one.
                    let _ = join_unopened(&folder, name, |project| {
                        let own = Membership {
                            project,
                            inherited: false,
                            immutable: false,
                        };
                        self.change.of(own, false).ok().flatten()
                    });
                }
            }
        }
        Ok(Level { folder, inner })
    }

    /// What has a name in a folder, not opened; `None` where it is gone, a link, or where
    /// something is mounted.
    fn open(&self, folder: impl AsFd, name: &CStr) -> Result<Option<OwnedFd>, Failed> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_XDEV
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS;
        loop {
            return match openat2(&folder, name, flags, Mode::empty(), resolve) {
                Ok(found) => Ok(Some(found)),
                Err(Errno::NOENT | Errno::LOOP | Errno::XDEV) => Ok(None),
                // Something was renamed meanwhile (openat2(2)).
                Err(Errno::AGAIN) => continue,
                Err(error) => Err(self.failed(error)),
            };
        }
    }

    fn member(&mut self, file: &OwnedFd, folder: bool) -> Result<(), Failed> {
        self.entries += 1;
        let own = membership(file).at(&self.path())?;
        let Some(project) = self.change.of(own, folder).map_err(|foreign| Failed {
            problem: Problem::from(Errno::BUSY).at(&self.path()),
            foreign: Some(foreign),
        })?
        else {
            return Ok(());
        };
        match join(file, project, folder && project != 0) {
            // It cannot grow, nor can anything be made in it.
            Err(_) if own.immutable => {}
            other => {
                other.at(&self.path())?;
                self.changed += 1;
            }
        }
        Ok(())
    }

    fn path(&self) -> String {
        self.way.join("/")
    }

    fn failed(&self, errno: Errno) -> Failed {
        Problem::from(errno).at(&self.path()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn member(project: u32, inherited: bool) -> Membership {
        Membership {
            project,
            inherited,
            immutable: false,
        }
    }

    const OWN: Projects = Projects {
        first: 500,
        last: 600,
    };

    #[test]
    fn what_is_nobodys_or_was_an_applications_joins() {
        let change = Change::join(510, OWN);
        for before in [0, 500, 600] {
            assert_eq!(change.of(member(before, true), true), Ok(Some(510)));
            assert_eq!(change.of(member(before, false), false), Ok(Some(510)));
        }
    }

    #[test]
    fn what_belongs_there_already_is_left_alone() {
        let change = Change::join(510, OWN);
        assert_eq!(change.of(member(510, true), true), Ok(None));
        assert_eq!(change.of(member(510, false), false), Ok(None));
        assert_eq!(change.of(member(510, false), true), Ok(Some(510)));
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        let change = Change::join(510, OWN);
        assert_eq!(change.of(member(42, true), true), Err(42));
        assert_eq!(change.of(member(601, false), false), Err(601));
    }

    #[test]
    fn only_the_projects_own_leaves_it() {
        let change = Change::leave(510);
        assert_eq!(change.of(member(510, true), true), Ok(Some(0)));
        assert_eq!(change.of(member(510, false), false), Ok(Some(0)));
        assert_eq!(change.of(member(42, true), true), Ok(None));
        assert_eq!(change.of(member(0, false), true), Ok(None));
    }
}
