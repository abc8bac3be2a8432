//! The careful way to a file: one component after the other, with every symbolic link looked
//! at before it is followed.
//!
//! Each component is opened without being followed (`O_PATH | O_NOFOLLOW`), so what is asked
//! about its owner is asked of the very file that is used, whatever its name stands for by
//! then. A symbolic link's text and owner never change. Links are resolved as in a chroot of
//! the hosts directory, as openat2(2) does it with `RESOLVE_IN_ROOT`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;

use super::retry;
use super::state::State;
use crate::target::ConnectError;

/// Links on one way: the kernel's own bound (path_resolution(7)).
const LINKS: usize = 40;

/// Components on one way, those of all links together.
const COMPONENTS: usize = 256;

/// A folder below the hosts directory and the folders on the way to it.
#[derive(Clone, Debug, Default)]
pub struct Place(Vec<Rc<OwnedFd>>);

impl Place {
    /// A folder right below `root`.
    pub fn below(folder: OwnedFd) -> Self {
        Self(vec![Rc::new(folder)])
    }

    /// The folder; `root` where this is the hosts directory itself.
    pub fn folder<'a>(&'a self, root: &'a OwnedFd) -> BorrowedFd<'a> {
        self.0.last().map_or(root, Rc::as_ref).as_fd()
    }
}

/// Where a walk ended.
#[derive(Debug)]
pub struct Reached {
    /// The folder that holds it; for a folder, the folder itself.
    pub place: Place,
    /// Its name there.
    pub name: Vec<u8>,
    /// The file itself; `None` for a folder.
    pub file: Option<OwnedFd>,
    /// What it is.
    pub state: State,
    /// Who owns the link that stood at the beginning, if one did.
    pub link: Option<u32>,
}

impl Reached {
    /// The folder; an error for anything else.
    pub fn into_folder(self) -> Result<Place, ConnectError> {
        match self.file {
            None => Ok(self.place),
            Some(_) => Err(ConnectError::NoTarget(Errno::NOTDIR)),
        }
    }
}

/// Follows one entry of the folder `place`; `None` where there is no such entry. A link that
/// leads nowhere is an error.
///
/// # Errors
///
/// [`ConnectError::NoTarget`] with the reason, [`ConnectError::Link`] where a link's owner
/// neither is root nor owns what the link leads to in the end.
pub fn walk(root: &OwnedFd, place: Place, entry: &str) -> Result<Option<Reached>, ConnectError> {
    let mut walk = Walk {
        root,
        place,
        pending: vec![entry.as_bytes().to_vec()],
        owners: Vec::new(),
        steps: 0,
    };
    match walk.run() {
        Ok(found) => walk.judge(found).map(Some),
        Err(Errno::NOENT) if walk.steps == 1 => Ok(None),
        Err(error) => Err(ConnectError::at_target(error)),
    }
}

struct Walk<'a> {
    root: &'a OwnedFd,
    place: Place,
    /// Components still to go, the next one last.
    pending: Vec<Vec<u8>>,
    /// Who owns the links that were followed.
    owners: Vec<u32>,
    steps: usize,
}

/// The end of the way: a file, or the folder at which `Walk::place` stands.
type End = Option<(Vec<u8>, OwnedFd, State)>;

impl Walk<'_> {
    fn run(&mut self) -> Result<End, Errno> {
        while let Some(name) = self.pending.pop() {
            self.steps += 1;
            if self.steps > COMPONENTS {
                return Err(Errno::LOOP);
            }
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    self.place.0.pop();
                    continue;
                }
                _ => {}
            }
            let file = open(self.place.folder(self.root), &name)?;
            let state = State::of(&file)?;
            match state.kind() {
                FileType::Directory => self.place.0.push(Rc::new(file)),
                FileType::Symlink => self.follow(&file, &state)?,
                _ if self.pending.is_empty() => return Ok(Some((name, file, state))),
                _ => return Err(Errno::NOTDIR),
            }
        }
        Ok(None)
    }

    fn follow(&mut self, link: &OwnedFd, state: &State) -> Result<(), Errno> {
        self.owners.push(state.owner);
        if self.owners.len() > LINKS {
            return Err(Errno::LOOP);
        }
        let text = readlinkat(link, "", Vec::new())?;
        let text = text.as_bytes();
        if text.is_empty() {
            return Err(Errno::NOENT);
        }
        if text.starts_with(b"/") {
            self.place.0.clear();
        }
        let components = text.split(|&byte| byte == b'/').rev();
        self.pending.extend(components.map(<[u8]>::to_vec));
        Ok(())
    }

    /// Asks the owners of all links whether what was found is theirs.
    fn judge(self, end: End) -> Result<Reached, ConnectError> {
        let (name, file, state) = match end {
            Some((name, file, state)) => (name, Some(file), state),
            None => {
                let state = State::of(self.place.folder(self.root));
                (Vec::new(), None, state.map_err(ConnectError::at_target)?)
            }
        };
        let foreign = |owner: &&u32| **owner != 0 && **owner != state.owner;
        if let Some(&owner) = self.owners.iter().find(foreign) {
            return Err(ConnectError::Link {
                owner,
                target: state.owner,
            });
        }
        Ok(Reached {
            place: self.place,
            name,
            file,
            state,
            link: self.owners.first().copied(),
        })
    }
}

/// Opens one entry of a folder, which may be a link, a socket or anything else: nothing is
/// opened by `O_PATH` but the name.
pub fn open(folder: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    retry(|| openat2(folder, name, flags, Mode::empty(), resolve))
}
