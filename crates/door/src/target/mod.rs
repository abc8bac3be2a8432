//! Places that take connections, and how to reach them.
//!
//! A Unix socket connects at once or not at all. What lies beyond a network is [`Remote`]: it
//! has one or several addresses, and connecting to them takes time.

pub mod address;
pub mod remote;
pub mod text;
mod unix;

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use cloister_proto::messages::door::{self, Balance};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketType};

pub use remote::Remote;
pub(crate) use unix::connect_unix;

/// Why a target did not take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Its queue is full now: unix(7) says so with `EAGAIN` where TCP would wait. Try again.
    Busy,
    /// There is no such host.
    NoHost(Errno),
    /// The host has no socket, nobody listens on it, or the door may not use it.
    NoTarget(Errno),
    /// A symbolic link leads to what its owner does not own.
    Link {
        /// The link's owner.
        owner: u32,
        /// The owner of what it leads to.
        target: u32,
    },
    /// Somebody else listens than the socket's owner, and it cannot be told whether that is
    /// meant.
    Listener {
        /// The socket's owner.
        owner: u32,
        /// The user who listens.
        listener: u32,
    },
    /// The target takes handed-off connections only, and this one's first bytes are gone
    /// from its socket.
    NoRelay,
    /// The door itself lacks something.
    Local(Errno),
}

impl ConnectError {
    /// Whether another try a little later may succeed: what the door lacks comes back.
    pub(crate) const fn passes(self) -> bool {
        matches!(self, Self::Busy | Self::Local(_))
    }

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
#[derive(Clone, Debug)]
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
    /// One beyond a network, or beyond a virtual machine's border.
    Remote(Arc<Remote>),
}

impl Target {
    /// Checks a target of a snapshot.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for a person.
    pub fn new(target: &door::Target, balance: Balance) -> Result<Self, String> {
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
            remote => Remote::new(remote, balance).map(Arc::new).map(Self::Remote),
        }
    }

    /// Connects to a Unix socket without blocking; for others see [`Target::remote`]. The
    /// calling thread must have a working directory of its own
    /// ([`cloister_sys::threads::unshare_filesystem_attributes`]).
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; a path that leads nowhere is `NoTarget`, as is a remote target.
    pub fn connect(&self, kind: SocketType) -> Result<OwnedFd, ConnectError> {
        match self {
            Self::Unix(address, _) => connect_unix(address, kind),
            Self::Long { folder, name } => unix::connect_in(folder, name, kind),
            Self::Remote(_) => Err(ConnectError::NoTarget(Errno::AFNOSUPPORT)),
        }
    }

    /// The target, where connecting to it takes time.
    #[must_use]
    pub const fn remote(&self) -> Option<&Arc<Remote>> {
        match self {
            Self::Remote(remote) => Some(remote),
            Self::Unix(..) | Self::Long { .. } => None,
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
            Self::Remote(remote) => remote.fmt(formatter),
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
            let target = Target::new(&path(&text), Balance::RoundRobin).expect("a target");
            assert_eq!(target.to_string(), format!("unix:{text}"));
            target.connect(SocketType::STREAM).expect("connected");
            listener.accept().expect("accepted");
        })
        .join()
        .expect("the thread ends");
    }

    #[test]
    fn relative_paths_and_overlong_names_are_refused() {
        assert!(Target::new(&path("relative"), Balance::RoundRobin).is_err());
        let name = format!("/tmp/{}", "n".repeat(120));
        assert!(Target::new(&path(&name), Balance::RoundRobin).is_err());
        let name = "n".repeat(108);
        assert!(Target::new(&door::Target::UnixAbstract { name }, Balance::RoundRobin).is_err());
    }

    #[test]
    fn nothing_there_is_no_target() {
        let target =
            Target::new(&path("/nonexistent/socket"), Balance::RoundRobin).expect("a target");
        let error = target
            .connect(SocketType::STREAM)
            .expect_err("nothing there");
        assert_eq!(error, ConnectError::NoTarget(Errno::NOENT));
    }
}
