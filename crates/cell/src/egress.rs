//! The application's ways out: sockets that listen inside and are served outside.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};

use cloister_proto::messages::cell::LoopbackAddress;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    bind, listen, sendmsg, socket_with,
};

use crate::failure::{AtPath, Problem};

/// `SCM_MAX_FD`.
const MOST: usize = 253;
/// As the configuration's default for listeners; the kernel cuts it to its own bound.
const BACKLOG: i32 = 4096;

/// Listens at the addresses, in this process's network namespace, and sends the sockets to
/// `receiver`. A socket stays in the namespace that it was made in, whoever accepts from it.
/// Does not block.
///
/// # Errors
///
/// The address that cannot be listened on; `EPIPE` where nobody is there to receive.
pub fn offer(receiver: &OwnedFd, addresses: &[LoopbackAddress]) -> Result<(), Problem> {
    let sockets: Vec<OwnedFd> = addresses.iter().map(listening).collect::<Result<_, _>>()?;
    let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(Errno::TOOMANYREFS.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(receiver, &[IoSlice::new(&[0])], &mut control, flags)?;
    Ok(())
}

fn listening(address: &LoopbackAddress) -> Result<OwnedFd, Problem> {
    let place = SocketAddrV4::new(address.host, address.port);
    let make = || -> rustix::io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        bind(&socket, &place)?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    make().at(&place.to_string())
}
