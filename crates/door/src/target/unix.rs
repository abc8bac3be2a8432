//! Unix sockets: they connect at once or not at all.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::ConnectError;
use crate::working_directory::go;

/// A new non-blocking socket, connected.
pub(crate) fn connect_unix(
    address: &SocketAddrUnix,
    kind: SocketType,
) -> Result<OwnedFd, ConnectError> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket =
        socket_with(AddressFamily::UNIX, kind, flags, None).map_err(ConnectError::Local)?;
    loop {
        match connect(&socket, address) {
            Ok(()) => return Ok(socket),
            Err(Errno::INTR) => {}
            Err(error) => return Err(ConnectError::at_target(error)),
        }
    }
}

/// The same for a socket's name in a folder that no address has room for. Leaves the calling
/// thread's working directory there.
pub(super) fn connect_in(
    folder: &str,
    name: &SocketAddrUnix,
    kind: SocketType,
) -> Result<OwnedFd, ConnectError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat2(
        CWD,
        folder,
        flags,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    )
    .map_err(ConnectError::at_target)?;
    go(&folder).map_err(ConnectError::at_target)?;
    connect_unix(name, kind)
}
