//! Network interfaces: netdevice(7).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::UnshareFlags;

use crate::returned::checked;

/// Brings up the loopback interface of the calling process's network namespace. Its
/// addresses, 127.0.0.1/8 and ::1, come with that.
///
/// # Errors
///
/// `EPERM` without CAP_NET_ADMIN over the namespace.
pub fn raise_loopback() -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all bytes zero are a valid ifreq: numbers, characters and pointers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, whose name ends with a zero byte.
    let result = unsafe {
        libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )
    };
    checked(result)
}

/// Moves the calling thread, and those that it starts later, into a new network namespace with
/// nothing in it: not even its loopback interface is up. Sockets that are open stay in theirs.
///
/// # Errors
///
/// `EPERM` without CAP_SYS_ADMIN.
pub fn leave() -> io::Result<()> {
    // SAFETY: CLONE_NEWNET affects sockets that are made later; no descriptor, memory or
    // identifier is affected.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}
