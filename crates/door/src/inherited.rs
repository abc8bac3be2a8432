//! Listening sockets that the program was started with.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use cloister_sys::descriptors::take_inherited;
use cloister_sys::vsock::{self, VsockAddress};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType, getsockname, sockopt};

use crate::runtime::ListeningSocket;

/// The first descriptor that sd_listen_fds(3) passes.
pub const FIRST: i32 = 3;

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
    let mut passed = Vec::new();
    for place in FIRST..FIRST + number {
        let descriptor = take_inherited(place)
            .map_err(|error| format!("descriptor {place} of LISTEN_FDS: {error}"))?;
        let name = names
            .next()
            .map_or_else(|| place.to_string(), str::to_owned);
        passed.push(Passed { name, descriptor });
    }
    forget_doubles(&mut passed);
    Ok(passed)
}

/// A socket that a socket unit passes comes once more where the service had it stored
/// (sd_notify(3) `FDSTORE=1`): the first one serves, the other one is closed.
fn forget_doubles(passed: &mut Vec<Passed>) {
    let mut seen = std::collections::BTreeSet::new();
    passed.retain(|one| {
        rustix::fs::fstat(&one.descriptor)
            .map_or(true, |status| seen.insert((status.st_dev, status.st_ino)))
    });
}

fn take_standard_input() -> Result<Passed, String> {
    let fail = |error: Errno| format!("standard input: {error}");
    let descriptor = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(fail)?;
    // So that this process holds the socket once, and closing it closes it.
    let null = nowhere().map_err(fail)?;
    rustix::stdio::dup2_stdin(&null).map_err(fail)?;
    // inetd(8) passes it as standard output and error as well: what is written there fails.
    if is_same(&descriptor, std::io::stdout()) {
        rustix::stdio::dup2_stdout(&null).map_err(fail)?;
    }
    if is_same(&descriptor, std::io::stderr()) {
        rustix::stdio::dup2_stderr(&null).map_err(fail)?;
    }
    Ok(Passed {
        name: "stdin".to_owned(),
        descriptor,
    })
}

/// A descriptor that reads nothing and keeps nothing.
fn nowhere() -> Result<OwnedFd, Errno> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    // No /dev in a bare chroot: an empty pipe's end serves as well, with an error for whoever
    // writes.
    null.or_else(|_| rustix::pipe::pipe().map(|(end, _)| end))
}

fn is_same(one: impl AsFd, other: impl AsFd) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
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
        AddressFamily::UNIX | AddressFamily::VSOCK => false,
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
    let Ok(address) = getsockname(&socket) else {
        return "unknown".to_owned();
    };
    if let Ok(address) = std::net::SocketAddr::try_from(address.clone()) {
        return address.to_string();
    }
    let vsock = || vsock::own(&socket).map(vsock_address);
    unix_address(address)
        .or_else(vsock)
        .unwrap_or_else(|| "unknown".to_owned())
}

/// `vsock:CID:PORT`, or `vsock:any:PORT` where every context id of this machine is meant.
fn vsock_address(VsockAddress { cid, port }: VsockAddress) -> String {
    match cid {
        libc::VMADDR_CID_ANY => format!("vsock:any:{port}"),
        cid => format!("vsock:{cid}:{port}"),
    }
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
    fn one_socket_under_two_numbers_is_one_listener() {
        let one = TcpListener::bind("127.0.0.1:0").expect("bound");
        let other = TcpListener::bind("127.0.0.1:0").expect("bound");
        let again = one.try_clone().expect("a copy");
        let mut passed: Vec<Passed> = [("a", one), ("b", other), ("c", again)]
            .into_iter()
            .map(|(name, socket)| Passed {
                name: name.to_owned(),
                descriptor: socket.into(),
            })
            .collect();
        forget_doubles(&mut passed);
        let names: Vec<_> = passed.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_vsock_address_is_written_as_systemd_writes_it() {
        let text = |cid| vsock_address(VsockAddress { cid, port: 80 });
        assert_eq!(text(3), "vsock:3:80");
        assert_eq!(text(u32::MAX), "vsock:any:80");
    }

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
