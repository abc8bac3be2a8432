//! Sockets between virtual machines and their host: vsock(7).

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd};

use crate::returned::checked;

/// A port of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VsockAddress {
    /// The machine's context id.
    pub cid: u32,
    /// The port.
    pub port: u32,
}

const LENGTH: libc::socklen_t = size_of::<libc::sockaddr_vm>() as libc::socklen_t;

/// connect(2) for a socket of `AF_VSOCK`; does not block where the socket does not.
///
/// # Errors
///
/// Those of connect(2): `EINPROGRESS` from a non-blocking socket.
pub fn connect(socket: impl AsFd, address: VsockAddress) -> io::Result<()> {
    // SAFETY: all bytes zero are a valid sockaddr_vm: it consists of numbers.
    let mut raw: libc::sockaddr_vm = unsafe { zeroed() };
    raw.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    raw.svm_cid = address.cid;
    raw.svm_port = address.port;
    // SAFETY: the pointer and the length describe the one local address, which is read.
    let result =
        unsafe { libc::connect(socket.as_fd().as_raw_fd(), (&raw const raw).cast(), LENGTH) };
    checked(result)
}

/// The other end's address, where the socket is of `AF_VSOCK` and connected.
#[must_use]
pub fn peer(socket: impl AsFd) -> Option<VsockAddress> {
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: see `read`.
    read(|address, length| unsafe { libc::getpeername(number, address, length) })
}

/// The socket's own address, where it is of `AF_VSOCK`.
#[must_use]
pub fn own(socket: impl AsFd) -> Option<VsockAddress> {
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: see `read`.
    read(|address, length| unsafe { libc::getsockname(number, address, length) })
}

/// `call` writes at most the given number of bytes to the address, which is this many long.
fn read(
    call: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int,
) -> Option<VsockAddress> {
    // SAFETY: all bytes zero are a valid sockaddr_vm: it consists of numbers.
    let mut raw: libc::sockaddr_vm = unsafe { zeroed() };
    let mut length = LENGTH;
    if call((&raw mut raw).cast(), &raw mut length) != 0 {
        return None;
    }
    (i32::from(raw.svm_family) == libc::AF_VSOCK).then_some(VsockAddress {
        cid: raw.svm_cid,
        port: raw.svm_port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    use std::net::TcpListener;

    #[test]
    fn a_socket_of_another_family_has_no_such_address() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        assert_eq!(own(&listener), None);
        assert_eq!(peer(&listener), None);
    }

    #[test]
    fn a_port_without_a_listener_is_not_reached() {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // A kernel without vsock has nothing to show.
        let Ok(socket) = socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None) else {
            return;
        };
        let address = VsockAddress { cid: 1, port: 9 };
        let error = connect(&socket, address).expect_err("nobody listens");
        assert!(error.raw_os_error().is_some());
        assert_eq!(peer(&socket), None);
    }
}
