//! Listening sockets that the program was started with.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use cloister_sys::descriptors::take_inherited;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType, getsockname, sockopt};

use crate::runtime::ListeningSocket;

/// The first descriptor that sd_listen_fds(3) passes.
const FIRST: i32 = 3;

/// A socket and its name.
#[derive(Debug)]
pub struct Passed {
    /// From `LISTEN_FDNAMES`, or `stdin`.
    pub name: String,
    /// The socket.
    pub descriptor: OwnedFd,
}

/// Takes the sockets of `LISTEN_FDS` where they are meant for this process, else standard
/// input, which then becomes /dev/null.
///
/// # Errors
///
/// What is wrong, for a person. Whether they are listening sockets is not looked at.
pub fn take() -> Result<Vec<Passed>, String> {
    let variable = |name: &str| std::env::var(name).ok();
    let number = match (variable("LISTEN_PID"), variable("LISTEN_FDS")) {
        // Without LISTEN_PID nobody says whether this process is meant: sd_listen_fds(3)
        // ignores such a LISTEN_FDS too.
        (Some(pid), Some(number)) if pid.parse() == Ok(std::process::id()) => number
            .parse::<i32>()
            .ok()
            .filter(|number| (0..=1024).contains(number))
            .ok_or_else(|| format!("LISTEN_FDS is {number:?}, not a number of sockets"))?,
        _ => 0,
    };
    if number == 0 {
        return Ok(vec![take_standard_input()?]);
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    (FIRST..FIRST + number)
        .map(|place| {
            let descriptor = take_inherited(place)
                .map_err(|error| format!("descriptor {place} of LISTEN_FDS: {error}"))?;
            let name = names
                .next()
                .map_or_else(|| place.to_string(), str::to_owned);
            Ok(Passed { name, descriptor })
        })
        .collect()
}

fn take_standard_input() -> Result<Passed, String> {
    let fail = |error: Errno| format!("standard input: {error}");
    let descriptor = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(fail)?;
    // So that this process holds the socket once, and closing it closes it.
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let replaced = match null {
        Ok(null) => rustix::stdio::dup2_stdin(null),
        // No /dev in a bare chroot: an empty pipe's end serves as well.
        Err(_) => rustix::pipe::pipe().and_then(|(end, _)| rustix::stdio::dup2_stdin(end)),
    };
    replaced.map_err(fail)?;
    Ok(Passed {
        name: "stdin".to_owned(),
        descriptor,
    })
}

/// Checks a descriptor and makes it ready: non-blocking and, for TCP, without Nagle's
/// algorithm in every connection that it accepts.
///
/// # Errors
///
/// What it is instead of a listening stream socket, for a person.
pub fn listening_socket(id: u32, descriptor: OwnedFd) -> Result<Arc<ListeningSocket>, String> {
    let wrong = |what: &str| Err(format!("it is {what}, not a listening stream socket"));
    let status = rustix::fs::fstat(&descriptor).map_err(|error| error.to_string())?;
    if FileType::from_raw_mode(status.st_mode) != FileType::Socket {
        return wrong("no socket");
    }
    let fail = |error: Errno| error.to_string();
    if sockopt::socket_type(&descriptor).map_err(fail)? != SocketType::STREAM {
        return wrong("a socket of another type");
    }
    if !sockopt::socket_acceptconn(&descriptor).map_err(fail)? {
        return wrong("a socket that does not listen");
    }
    let family = sockopt::socket_domain(&descriptor).map_err(fail)?;
    let tcp = match family {
        AddressFamily::INET | AddressFamily::INET6 => true,
        AddressFamily::UNIX => false,
        _ => return wrong("a socket of an unknown family"),
    };
    rustix::io::ioctl_fionbio(&descriptor, true).map_err(fail)?;
    if tcp {
        sockopt::set_tcp_nodelay(&descriptor, true).map_err(fail)?;
    }
    Ok(Arc::new(ListeningSocket {
        id,
        descriptor,
        inode: status.st_ino,
        tcp,
    }))
}

/// A listening socket's address for people.
#[must_use]
pub fn address(socket: impl AsFd) -> String {
    let Ok(address) = getsockname(socket) else {
        return "unknown".to_owned();
    };
    if let Ok(address) = std::net::SocketAddr::try_from(address.clone()) {
        return address.to_string();
    }
    unix_address(address).unwrap_or_else(|| "unknown".to_owned())
}

fn unix_address(address: SocketAddrAny) -> Option<String> {
    let address = SocketAddrUnix::try_from(address).ok()?;
    if let Some(name) = address.abstract_name() {
        return Some(format!("unix:@{}", String::from_utf8_lossy(name)));
    }
    let path = address.path_bytes()?;
    Some(format!("unix:{}", String::from_utf8_lossy(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn only_listening_stream_sockets_pass() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let text = listener.local_addr().expect("bound").to_string();
        assert_eq!(address(&listener), text);
        let stream = TcpStream::connect(text).expect("connected");
        let socket = listening_socket(1, listener.into()).expect("listens");
        assert!(socket.tcp);
        assert!(sockopt::tcp_nodelay(&socket.descriptor).expect("TCP"));
        assert!(listening_socket(2, stream.into()).is_err());
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("bound");
        assert!(listening_socket(3, datagrams.into()).is_err());
        let file = tempfile::tempfile().expect("a file");
        assert!(listening_socket(4, file.into()).is_err());
    }
}
