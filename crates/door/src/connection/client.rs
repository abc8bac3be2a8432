//! Who connected.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use cloister_proto::proxy_header::{Addresses, Origin};
use cloister_sys::vsock::{self, VsockAddress};
use rustix::net::{SocketAddrAny, getpeername, getsockname, sockopt::socket_peercred};

/// A client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// A TCP client; an IPv4 client of a dual-stack listener as IPv4.
    Inet(SocketAddr),
    /// A process of this machine.
    Unix {
        /// Its effective user id at connect(2).
        uid: u32,
        /// Its process id.
        pid: i32,
    },
    /// A virtual machine, or the host of one.
    Vsock(VsockAddress),
    /// Nothing is known: the client was gone before it was asked for.
    Unknown,
}

impl Client {
    /// From what accept4(2) said, or from the socket.
    #[must_use]
    pub fn of(socket: BorrowedFd<'_>, accepted: Option<SocketAddrAny>) -> Self {
        if let Some(address) = accepted.and_then(|any| SocketAddr::try_from(any).ok()) {
            return Self::Inet(canonical(address));
        }
        match socket_peercred(socket) {
            // Sockets that are not of AF_UNIX answer too, and name nobody.
            Ok(credentials) if credentials.uid.as_raw() != u32::MAX => Self::Unix {
                uid: credentials.uid.as_raw(),
                pid: credentials.pid.as_raw_pid(),
            },
            _ => vsock::peer(socket).map_or(Self::Unknown, Self::Vsock),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(formatter),
            Self::Unix { uid, pid } => write!(formatter, "unix:uid={uid},pid={pid}"),
            Self::Vsock(VsockAddress { cid, port }) => write!(formatter, "vsock:{cid}:{port}"),
            Self::Unknown => formatter.write_str("unknown"),
        }
    }
}

/// Whom a PROXY header speaks for. Two system calls, made only where a header is asked for.
#[must_use]
pub fn origin(socket: impl AsFd) -> Origin {
    let client = getpeername(&socket).ok().flatten();
    let client = client.and_then(|any| SocketAddr::try_from(any).ok());
    let server = getsockname(&socket).ok();
    let server = server.and_then(|any| SocketAddr::try_from(any).ok());
    match (client, server) {
        (Some(client), Some(server)) => Origin::Proxied(Addresses { client, server }),
        _ => Origin::Unknown,
    }
}

/// An address in its own family: IPv4 also where a dual-stack socket has it mapped.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_unix_client_is_its_process() {
        let (socket, _peer) = UnixStream::pair().expect("a pair");
        let text = Client::of(socket.as_fd(), None).to_string();
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(text, format!("unix:uid={uid},pid={}", std::process::id()));
        assert_eq!(origin(&socket), Origin::Unknown);
    }

    /// SO_PEERCRED answers for every socket; who it does not name must be no user.
    #[test]
    fn whoever_has_no_user_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        let client = TcpStream::connect(address).expect("connected");
        assert_eq!(Client::of(client.as_fd(), None), Client::Unknown);
        let machine = Client::Vsock(VsockAddress { cid: 3, port: 1024 });
        assert_eq!(machine.to_string(), "vsock:3:1024");
    }

    #[test]
    fn a_dual_stack_client_is_named_by_its_own_family() {
        let listener = TcpListener::bind("[::]:0").expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let client = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        let (socket, address) = listener.accept().expect("accepted");
        let named = Client::of(socket.as_fd(), Some(address.into()));
        assert_eq!(named, Client::Inet(client.local_addr().expect("bound")));
        assert!(matches!(origin(&socket), Origin::Proxied(_)));
    }
}
