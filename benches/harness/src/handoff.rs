//! Connections that the door hands off: messages with the clients' sockets beside them.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketType, bind, listen as listen_on, recvmsg, socket,
};

use crate::backend::unix_nonblocking;

/// No message brings more connections.
const MOST: usize = 16;

/// The message follows the connection at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket that takes handed-off connections.
///
/// # Errors
/// The path cannot be bound.
pub fn listen(path: &Path) -> Result<OwnedFd> {
    let listener = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    bind(&listener, &SocketAddrUnix::new(path)?)
        .with_context(|| format!("cannot bind {}", path.display()))?;
    // The door drops its privileges.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    listen_on(&listener, 4096)?;
    unix_nonblocking(&listener)?;
    Ok(listener)
}

/// The clients' connections; none where the sender only looked whether somebody accepts.
///
/// # Errors
/// The sender stays silent, or sends something else.
pub fn receive(control: &OwnedFd) -> Result<Vec<OwnedFd>> {
    loop {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        match recvmsg(
            control,
            &mut slices,
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(message) => {
                let mut rights = Vec::new();
                for part in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(descriptors) = part {
                        rights.extend(descriptors);
                    }
                }
                ensure!(
                    !rights.is_empty() || message.bytes == 0,
                    "a message without a connection"
                );
                return Ok(rights);
            }
            Err(Errno::AGAIN) => {
                let timeout = Timespec::try_from(PATIENCE)?;
                let ready = poll(&mut [PollFd::new(control, PollFlags::IN)], Some(&timeout))?;
                ensure!(ready > 0, "a sender that says nothing");
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("receive a connection"),
        }
    }
}
