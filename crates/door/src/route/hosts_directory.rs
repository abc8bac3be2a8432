//! The hosts directory: one folder per hostname, looked up for each connection.
//!
//! The folder is opened below the directory with openat2(2): `RESOLVE_IN_ROOT` keeps every
//! symbolic link inside the directory, `RESOLVE_NO_MAGICLINKS` keeps /proc out. The socket is
//! then connected to by its name relative to the working directory, which is the folder: no
//! path is ever built, so the 108 bytes of an address (unix(7)) never matter, and what was
//! opened is what is used. That takes a thread with a working directory of its own.

use std::os::fd::OwnedFd;

use cloister_proto::hostname::Hostname;
use cloister_proto::messages::door::SendProxy;
use rustix::fs::{Access, AtFlags, Mode, OFlags, ResolveFlags, accessat, openat2};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use rustix::process::fchdir;

use crate::target::{ConnectError, connect_unix};

/// The socket's name in a host's folder.
pub const SOCKET: &str = "tls-socket";

/// Asks for PROXY protocol version 1 by being there.
const SEND_PROXY_V1: &str = "send-proxy-v1";

/// Asks for version 2, which says more: it wins where both are there.
const SEND_PROXY_V2: &str = "send-proxy-v2";

/// An open hosts directory. Owns its descriptor.
#[derive(Debug)]
pub struct HostsDirectory {
    /// Its path, for messages only.
    pub path: String,
    descriptor: OwnedFd,
    socket: SocketAddrUnix,
}

impl HostsDirectory {
    /// Takes a directory that was opened, `O_PATH` suffices.
    ///
    /// # Errors
    ///
    /// None that depend on the directory: the socket's name fits an address.
    pub fn new(path: &str, descriptor: OwnedFd) -> Result<Self, Errno> {
        Ok(Self {
            path: path.trim_end_matches('/').to_owned(),
            descriptor,
            socket: SocketAddrUnix::new(SOCKET)?,
        })
    }

    /// Connects to a host's socket. The calling thread must have a working directory of its
    /// own; it is left in the host's folder.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NoHost`] where there is no folder that the door may enter,
    /// [`ConnectError::NoTarget`] where its socket takes no connection.
    pub fn connect(&self, name: &Hostname) -> Result<(OwnedFd, SendProxy), ConnectError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let folder = retry(|| {
            openat2(
                &self.descriptor,
                name.as_str(),
                flags,
                Mode::empty(),
                resolve,
            )
        })
        .map_err(at_folder)?;
        fchdir(&folder).map_err(at_folder)?;
        let socket = connect_unix(&self.socket)?;
        Ok((socket, send_proxy(&folder)?))
    }
}

/// Looks for the files that ask for a header. Asked after the connection stands, so that a
/// flood of names without a backend costs less.
fn send_proxy(folder: &OwnedFd) -> Result<SendProxy, ConnectError> {
    for (file, version) in [
        (SEND_PROXY_V2, SendProxy::V2),
        (SEND_PROXY_V1, SendProxy::V1),
    ] {
        match accessat(folder, file, Access::EXISTS, AtFlags::empty()) {
            Ok(()) => return Ok(version),
            Err(Errno::NOENT) => {}
            // Without a clear answer no byte is sent: a backend that wants the header would
            // take the client's bytes for it.
            Err(error) => return Err(ConnectError::at_target(error)),
        }
    }
    Ok(SendProxy::None)
}

fn at_folder(error: Errno) -> ConnectError {
    match ConnectError::at_target(error) {
        ConnectError::NoTarget(error) => ConnectError::NoHost(error),
        // openat2(2) says EAGAIN when a rename raced with `..` or a link; once more, later.
        other => other,
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    fn open(path: &Path) -> HostsDirectory {
        let descriptor = std::fs::File::open(path).expect("the folder").into();
        HostsDirectory::new("hosts", descriptor).expect("a directory")
    }

    /// Runs in a thread of its own, since the working directory moves.
    fn look_up(root: &Path, name: &str) -> Result<SendProxy, ConnectError> {
        let directory = open(root);
        let name = Hostname::parse(name.as_bytes()).expect("a name");
        std::thread::spawn(move || {
            cloister_sys::threads::unshare_filesystem_attributes().expect("no privilege");
            directory.connect(&name).map(|(_, header)| header)
        })
        .join()
        .expect("the thread ends")
    }

    #[test]
    fn the_folder_decides() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("a.example");
        std::fs::create_dir(&folder).expect("a folder");
        assert_eq!(
            look_up(root.path(), "a.example"),
            Err(ConnectError::NoTarget(Errno::NOENT))
        );
        assert_eq!(
            look_up(root.path(), "b.example"),
            Err(ConnectError::NoHost(Errno::NOENT))
        );
        let listener = UnixListener::bind(folder.join(SOCKET)).expect("bound");
        assert_eq!(look_up(root.path(), "a.example"), Ok(SendProxy::None));
        for (file, header) in [
            (SEND_PROXY_V1, SendProxy::V1),
            (SEND_PROXY_V2, SendProxy::V2),
        ] {
            std::fs::write(folder.join(file), "").expect("written");
            assert_eq!(look_up(root.path(), "a.example"), Ok(header));
        }
        symlink("a.example", root.path().join("c.example")).expect("a link");
        assert_eq!(look_up(root.path(), "c.example"), Ok(SendProxy::V2));
        drop(listener);
        assert_eq!(
            look_up(root.path(), "a.example"),
            Err(ConnectError::NoTarget(Errno::CONNREFUSED))
        );
    }

    #[test]
    fn a_link_does_not_lead_out_of_the_directory() {
        let outside = tempfile::tempdir().expect("a folder");
        let _listener = UnixListener::bind(outside.path().join(SOCKET)).expect("bound");
        let root = tempfile::tempdir().expect("a folder");
        symlink(outside.path(), root.path().join("a.example")).expect("a link");
        symlink("/proc/self/cwd", root.path().join("b.example")).expect("a link");
        for name in ["a.example", "b.example"] {
            assert_eq!(
                look_up(root.path(), name),
                Err(ConnectError::NoHost(Errno::NOENT))
            );
        }
    }

    #[test]
    fn a_name_longer_than_an_address_is_reached() {
        let root = tempfile::tempdir().expect("a folder");
        let label = "x".repeat(60);
        let name = format!("{label}.{label}.{label}.{label}.example");
        let folder = root.path().join(&name);
        std::fs::create_dir(&folder).expect("a folder");
        let short = root.path().join("short");
        symlink(&name, &short).expect("a link");
        let _listener = UnixListener::bind(short.join(SOCKET)).expect("bound");
        assert_eq!(look_up(root.path(), &name), Ok(SendProxy::None));
    }
}
