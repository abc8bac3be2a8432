//! To the socket that was looked at, and to no other.
//!
//! connect(2) takes a name, follows links, and has no form that takes a descriptor. A tenant
//! who renames fast enough could have the door look at one socket and connect to another. So
//! the name that is given is the descriptor's own, in /proc/self/fd, where nobody renames.
//!
//! In a root without /proc the name in the folder has to do. Then what counts is who listens
//! on what was connected to (unix(7) `SO_PEERCRED`): its user must own the socket that was
//! looked at, unless nobody but root can rename in the folder.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use cloister_sys::sockets::peer_user;
use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketType};

use super::state::{State, is_proc};
use super::walk::Reached;
use crate::target::{ConnectError, connect_unix};
use crate::working_directory::go;

/// How sockets are reached by their descriptors: /proc/self/fd, where it is what it seems.
#[derive(Debug)]
pub struct Reach(Option<OwnedFd>);

impl Reach {
    /// Looks for /proc/self/fd. The root may be a folder in which anybody makes entries, so
    /// the name alone is no proof of what it is.
    pub fn new() -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(CWD, "/proc/self/fd", flags, Mode::empty());
        Self(opened.ok().filter(|folder| is_proc(folder)))
    }

    /// Without /proc, as in a chroot.
    #[cfg(test)]
    pub const fn by_name() -> Self {
        Self(None)
    }

    /// Connects to what a walk found. Leaves the calling thread's working directory anywhere.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; `Listener` where it cannot be told whose socket was reached.
    pub fn connect(
        &self,
        root: &OwnedFd,
        found: &Reached,
        kind: SocketType,
    ) -> Result<OwnedFd, ConnectError> {
        let socket = match (&found.file, found.state.kind()) {
            (Some(socket), FileType::Socket) => socket,
            _ => return Err(ConnectError::NoTarget(Errno::NOTSOCK)),
        };
        match &self.0 {
            Some(descriptors) => {
                go(descriptors).map_err(ConnectError::Local)?;
                let number = socket.as_raw_fd().to_string();
                let address = SocketAddrUnix::new(number).map_err(ConnectError::Local)?;
                connect_unix(&address, kind)
            }
            None => by_name(found.place.folder(root), found, kind),
        }
    }
}

/// Connects to a name of a folder and asks afterwards who took the connection.
fn by_name(
    folder: BorrowedFd<'_>,
    found: &Reached,
    kind: SocketType,
) -> Result<OwnedFd, ConnectError> {
    let before = State::of(folder).map_err(ConnectError::at_target)?;
    go(folder).map_err(ConnectError::at_target)?;
    let address = SocketAddrUnix::new(found.name.as_slice()).map_err(ConnectError::at_target)?;
    let socket = connect_unix(&address, kind)?;
    if !before.is_roots_alone() {
        expect_listener(&socket, found.state.owner)?;
    }
    Ok(socket)
}

/// Refuses a connection that somebody else than `owner` listens for.
pub fn expect_listener(socket: &OwnedFd, owner: u32) -> Result<(), ConnectError> {
    match peer_user(socket.as_fd()) {
        Ok(listener) if listener == owner => Ok(()),
        Ok(listener) => Err(ConnectError::Listener { owner, listener }),
        Err(error) => {
            let number = error.raw_os_error().map(Errno::from_raw_os_error);
            Err(ConnectError::Local(number.unwrap_or(Errno::IO)))
        }
    }
}
