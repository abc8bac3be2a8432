//! Places that take connections, and how to reach them.

use std::fmt;
use std::os::fd::OwnedFd;

use cloister_proto::messages::door;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::fchdir;

/// Why a target did not take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Its queue is full now: unix(7) says so with `EAGAIN` where TCP would wait. Try again.
    Busy,
    /// There is no such host.
    NoHost(Errno),
    /// The host has no socket, nobody listens on it, or the door may not use it.
    NoTarget(Errno),
    /// The door itself lacks something.
    Local(Errno),
}

impl ConnectError {
    /// What a failed system call on the way to the target's socket means.
    pub(crate) const fn at_target(error: Errno) -> Self {
        match error {
            Errno::AGAIN => Self::Busy,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::INTR => {
                Self::Local(error)
            }
            error => Self::NoTarget(error),
        }
    }
}

/// A target in the form in which it is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Unix socket whose path or abstract name fits an address (unix(7): 108 bytes).
    Unix(SocketAddrUnix, String),
    /// A Unix socket whose path does not: reached through its folder.
    Long {
        /// The folder.
        folder: String,
        /// The socket's name in it.
        name: SocketAddrUnix,
    },
}

impl Target {
    /// Checks a target of a snapshot.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for a person.
    pub fn new(target: &door::Target) -> Result<Self, String> {
        match target {
            door::Target::UnixAbstract { name } => {
                let address = SocketAddrUnix::new_abstract_name(name.as_bytes());
                let address = address
                    .map_err(|_| format!("the abstract name {name:?} is longer than 107 bytes"))?;
                Ok(Self::Unix(address, format!("unix:@{name}")))
            }
            door::Target::UnixPath { path } => {
                if !path.starts_with('/') || path.contains('\0') {
                    return Err(format!("{path:?} is no absolute path"));
                }
                if let Ok(address) = SocketAddrUnix::new(path.as_str()) {
                    return Ok(Self::Unix(address, format!("unix:{path}")));
                }
                let (folder, name) = path.rsplit_once('/').unwrap_or(("/", path));
                let name = SocketAddrUnix::new(name).map_err(|_| {
                    format!("the last part of {path:?} is longer than the 107 bytes of an address")
                })?;
                Ok(Self::Long {
                    folder: folder.to_owned(),
                    name,
                })
            }
        }
    }

    /// Connects without blocking. The calling thread must have a working directory of its
    /// own ([`cloister_sys::threads::unshare_filesystem_attributes`]).
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; a path that leads nowhere is `NoTarget`.
    pub fn connect(&self) -> Result<OwnedFd, ConnectError> {
        match self {
            Self::Unix(address, _) => connect_unix(address),
            Self::Long { folder, name } => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let folder = openat2(
                    CWD,
                    folder.as_str(),
                    flags,
                    Mode::empty(),
                    ResolveFlags::NO_MAGICLINKS,
                )
                .map_err(ConnectError::at_target)?;
                fchdir(&folder).map_err(ConnectError::at_target)?;
                connect_unix(name)
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(_, text) => formatter.write_str(text),
            Self::Long { folder, name } => {
                let name = name.path_bytes().unwrap_or_default();
                write!(formatter, "unix:{folder}/{}", String::from_utf8_lossy(name))
            }
        }
    }
}

/// A new non-blocking socket, connected: a Unix socket connects at once or not at all.
pub(crate) fn connect_unix(address: &SocketAddrUnix) -> Result<OwnedFd, ConnectError> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(ConnectError::Local)?;
    loop {
        match connect(&socket, address) {
            Ok(()) => return Ok(socket),
            Err(Errno::INTR) => {}
            Err(error) => return Err(ConnectError::at_target(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn path(path: &str) -> door::Target {
        door::Target::UnixPath {
            path: path.to_owned(),
        }
    }

    #[test]
    fn a_path_longer_than_an_address_is_reached() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("x".repeat(120));
        std::fs::create_dir(&folder).expect("a folder");
        std::thread::spawn(move || {
            cloister_sys::threads::unshare_filesystem_attributes().expect("no privilege");
            std::env::set_current_dir(&folder).expect("the folder");
            let listener = UnixListener::bind("socket").expect("bound");
            std::env::set_current_dir("/").expect("the root");
            let text = folder.join("socket").display().to_string();
            let target = Target::new(&path(&text)).expect("a target");
            assert_eq!(target.to_string(), format!("unix:{text}"));
            target.connect().expect("connected");
            listener.accept().expect("accepted");
        })
        .join()
        .expect("the thread ends");
    }

    #[test]
    fn relative_paths_and_overlong_names_are_refused() {
        assert!(Target::new(&path("relative")).is_err());
        let name = format!("/tmp/{}", "n".repeat(120));
        assert!(Target::new(&path(&name)).is_err());
        let name = "n".repeat(108);
        assert!(Target::new(&door::Target::UnixAbstract { name }).is_err());
    }

    #[test]
    fn nothing_there_is_no_target() {
        let target = Target::new(&path("/nonexistent/socket")).expect("a target");
        let error = target.connect().expect_err("nothing there");
        assert_eq!(error, ConnectError::NoTarget(Errno::NOENT));
    }
}
