//! Socket options and requests that have no safe wrapper elsewhere.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use crate::returned::checked;

/// Has the kernel keep a TCP listener's new connections for up to about `seconds` until
/// their first byte arrives (tcp(7) `TCP_DEFER_ACCEPT`).
///
/// # Errors
///
/// Those of setsockopt(2), `EINVAL` for more seconds than an `int` holds.
pub fn defer_accept(listener: impl AsFd, seconds: u32) -> io::Result<()> {
    let seconds =
        libc::c_int::try_from(seconds).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the pointer and the length describe the one local integer, which is read.
    let result = unsafe {
        libc::setsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    checked(result)
}

/// How many bytes of a socket's output the peer has not acknowledged (tcp(7) `SIOCOUTQ`).
///
/// # Errors
///
/// Those of ioctl(2).
pub fn unacknowledged(socket: impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the request writes one int, to the local integer.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    checked(result)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The effective user id that the other end of a Unix socket had at its connect(2) or, where
/// it was connected to, at its listen(2) (unix(7) `SO_PEERCRED`); -1 as unsigned where none is
/// known. Unlike rustix's wrapper it makes no use of the process id, which is 0 for a process
/// of a pid namespace that this one cannot see.
///
/// # Errors
///
/// Those of getsockopt(2).
pub fn peer_user(socket: impl AsFd) -> io::Result<u32> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointers and the length describe the two local values, which are written.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    checked(result)?;
    Ok(credentials.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_deferred_listener_keeps_silent_clients() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        defer_accept(&listener, 5).expect("TCP");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(address).expect("connected");
        let error = listener.accept().expect_err("silent");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"x").expect("sent");
        listener.set_nonblocking(false).expect("a socket");
        listener.accept().expect("spoke");
    }

    #[test]
    fn what_nobody_reads_stays_unacknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let mut client =
            TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (_peer, _) = listener.accept().expect("accepted");
        client.set_nonblocking(true).expect("a socket");
        let block = vec![0; 1 << 16];
        while client.write(&block).is_ok() {}
        assert!(unacknowledged(&client).expect("TCP") > 0);
    }

    #[test]
    fn the_listener_s_user_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
        let client = std::os::unix::net::UnixStream::connect(&path).expect("connected");
        let user = peer_user(&client).expect("a Unix socket");
        assert_eq!(user, rustix::process::geteuid().as_raw());
    }
}
