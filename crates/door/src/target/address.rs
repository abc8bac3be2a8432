//! One address beyond a network, and a socket on its way to it.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use cloister_proto::messages::door::Keepalive;
use cloister_sys::vsock::{self, VsockAddress};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, connect, getpeername, socket_with, sockopt,
};

/// One place to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A port of a virtual machine.
    Vsock(VsockAddress),
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Vsock(VsockAddress { cid, port }) => write!(formatter, "vsock:{cid}:{port}"),
        }
    }
}

/// The lowest port that Linux gives to clients unless it is told otherwise (ip(7)
/// `ip_local_port_range`).
const FIRST_CLIENT_PORT: u16 = 32768;

/// How far a new socket has come.
#[derive(Debug)]
pub enum Started {
    /// It is connected.
    Connected(OwnedFd),
    /// Its `EPOLLOUT` or `EPOLLERR` will tell; see [`progress`].
    Underway(OwnedFd),
}

/// Begins to connect a new non-blocking socket; for TCP without Nagle's algorithm, and with
/// `keepalive` where it is given.
///
/// # Errors
///
/// Those of socket(2) and connect(2).
pub fn start(address: Address, keepalive: Option<&Keepalive>) -> Result<Started, Errno> {
    let family = match address {
        Address::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
        Address::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
        Address::Vsock(_) => AddressFamily::VSOCK,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if matches!(address, Address::Tcp(_)) {
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let Some(keepalive) = keepalive {
            keep_alive(&socket, keepalive)?;
        }
    }
    match connect_once(&socket, address) {
        Ok(()) => connected_elsewhere(socket, address),
        // This machine's own TCP has answered before connect(2) returned, but only a second
        // call says so: two turns of the event loop less.
        Err(Errno::INPROGRESS) if is_loopback(address) => match connect_once(&socket, address) {
            Ok(()) | Err(Errno::ISCONN) => connected_elsewhere(socket, address),
            Err(Errno::ALREADY) => Ok(Started::Underway(socket)),
            Err(error) => Err(error),
        },
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(Started::Underway(socket)),
        Err(error) => Err(error),
    }
}

/// Refuses a socket that has connected to itself: where nobody listens on a port of this
/// machine from which the kernel also takes clients' ports, it may choose that very port, and
/// both ends of the handshake are one socket (RFC 9293 section 3.5, simultaneous open).
fn connected_elsewhere(socket: OwnedFd, address: Address) -> Result<Started, Errno> {
    if let Address::Tcp(address) = address
        && address.port() >= FIRST_CLIENT_PORT
        && address.ip().is_loopback()
        && let Ok(own) = rustix::net::getsockname(&socket)
        && SocketAddr::try_from(own) == Ok(address)
    {
        return Err(Errno::CONNREFUSED);
    }
    Ok(Started::Connected(socket))
}

const fn is_loopback(address: Address) -> bool {
    match address {
        Address::Tcp(address) => address.ip().is_loopback(),
        Address::Vsock(_) => false,
    }
}

fn connect_once(socket: &OwnedFd, address: Address) -> Result<(), Errno> {
    match address {
        Address::Tcp(address) => connect(socket, &address),
        Address::Vsock(address) => vsock::connect(socket, address)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// Whether a socket that was under way is connected by now; takes its error (`SO_ERROR`).
///
/// # Errors
///
/// What connecting met.
pub fn progress(socket: &OwnedFd) -> Result<bool, Errno> {
    sockopt::socket_error(socket)??;
    // connect(2): no error is pending before the answer either; only a peer's name tells.
    match getpeername(socket) {
        Ok(_) => Ok(true),
        Err(Errno::NOTCONN) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has the kernel probe a silent peer of a TCP socket.
///
/// # Errors
///
/// Those of setsockopt(2), `EINVAL` for values out of tcp(7)'s range.
pub fn keep_alive(socket: impl AsFd, keepalive: &Keepalive) -> Result<(), Errno> {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    sockopt::set_tcp_keepidle(&socket, seconds(keepalive.idle_s))?;
    sockopt::set_tcp_keepintvl(&socket, seconds(keepalive.interval_s))?;
    sockopt::set_tcp_keepcnt(&socket, keepalive.probes)?;
    sockopt::set_socket_keepalive(&socket, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    fn tcp(address: SocketAddr) -> Address {
        Address::Tcp(address)
    }

    #[test]
    fn a_listener_of_this_machine_is_connected_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        let keepalive = Keepalive {
            idle_s: 70,
            interval_s: 7,
            probes: 3,
        };
        let started = start(tcp(address), Some(&keepalive)).expect("listens");
        let Started::Connected(socket) = started else {
            panic!("under way");
        };
        assert!(sockopt::tcp_nodelay(&socket).expect("TCP"));
        assert!(sockopt::socket_keepalive(&socket).expect("TCP"));
        assert_eq!(sockopt::tcp_keepcnt(&socket), Ok(3));
        assert_eq!(progress(&socket), Ok(true));
    }

    #[test]
    fn a_closed_port_is_refused_and_a_silent_one_is_under_way() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let error = start(tcp(address), None).expect_err("nobody listens");
        assert_eq!(error, Errno::CONNREFUSED);
        // A queue that is full keeps the next connection under way.
        let flags = SocketFlags::NONBLOCK;
        let full = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
        let full = full.expect("a socket");
        rustix::net::bind(&full, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("bound");
        rustix::net::listen(&full, 0).expect("listens");
        let address = rustix::net::getsockname(&full).expect("bound");
        let address = tcp(SocketAddr::try_from(address).expect("inet"));
        let mut waiting = Vec::new();
        let underway = loop {
            assert!(waiting.len() < 8, "the queue has no end");
            match start(address, None).expect("listens") {
                Started::Connected(socket) => waiting.push(socket),
                Started::Underway(socket) => break socket,
            }
        };
        assert_eq!(progress(&underway), Ok(false));
    }
}
