//! The supervisor's socket: packets with descriptors in, packets out.

use std::fs::File;
use std::io::{IoSliceMut, Read, Seek};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cloister_proto::messages::door::{Reply, Request, Snapshot};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, SocketType,
    recvmsg, send, sockopt,
};

/// The longest request in bytes. Snapshots come by descriptor.
const PACKET: usize = 64 * 1024;

/// The most descriptors of one packet (`SCM_MAX_FD`, Linux).
const DESCRIPTORS: usize = 253;

/// The longest snapshot in bytes.
const SNAPSHOT: u64 = 64 << 20;

/// Descriptors that may wait for an `Apply`: more than any configuration has listeners.
const PENDING: usize = 8192;

/// What arrived.
#[derive(Debug)]
pub enum Packet {
    /// Nothing yet.
    Nothing,
    /// The supervisor is gone.
    End,
    /// A request; its descriptors are in the pending list.
    Request(Request),
    /// Something that is no request: what is wrong. Its descriptors are closed.
    Broken(String),
}

/// The door's end. Owns the socket and the pending descriptors.
#[derive(Debug)]
pub struct Control {
    socket: OwnedFd,
    pending: Vec<OwnedFd>,
}

impl Control {
    /// Takes the socket.
    ///
    /// # Errors
    ///
    /// What it is instead of a `SOCK_SEQPACKET` socket, for a person.
    pub fn new(socket: OwnedFd) -> Result<Self, String> {
        match sockopt::socket_type(&socket) {
            Ok(SocketType::SEQPACKET) => Ok(Self {
                socket,
                pending: Vec::new(),
            }),
            Ok(_) => Err("it is no SOCK_SEQPACKET socket".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The socket, for polling.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes one packet without blocking.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2) that mean a broken socket.
    pub fn receive(&mut self) -> Result<Packet, Errno> {
        let mut bytes = vec![0; PACKET];
        let mut space =
            vec![MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let mut pieces = [IoSliceMut::new(&mut bytes)];
        let message = match recvmsg(&self.socket, &mut pieces, &mut control, flags) {
            Ok(message) => message,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Packet::Nothing),
            Err(Errno::CONNRESET) => return Ok(Packet::End),
            Err(error) => return Err(error),
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if message.bytes == 0 {
            return Ok(Packet::End);
        }
        if message
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            // CTRUNC also says that this process had no room for another descriptor.
            self.pending.clear();
            return Ok(Packet::Broken(format!(
                "the packet was truncated: more than {PACKET} bytes or {DESCRIPTORS} \
                 descriptors, or too many open files"
            )));
        }
        match serde_json::from_slice(&bytes[..message.bytes]) {
            Ok(request) => {
                self.pending.append(&mut descriptors);
                if self.pending.len() > PENDING {
                    self.pending.clear();
                    return Ok(Packet::Broken(format!(
                        "more than {PENDING} descriptors wait for an apply"
                    )));
                }
                Ok(Packet::Request(request))
            }
            Err(error) => Ok(Packet::Broken(format!("no request: {error}"))),
        }
    }

    /// Takes the pending descriptors and reads the snapshot from one of them. They are
    /// consumed, whatever comes of it.
    ///
    /// # Errors
    ///
    /// What is wrong, for a person.
    pub fn snapshot(&mut self, index: usize) -> Result<(Snapshot, Vec<OwnedFd>), String> {
        let descriptors = std::mem::take(&mut self.pending);
        let passed = descriptors.len();
        let place = descriptors
            .get(index)
            .ok_or_else(|| format!("snapshot: descriptor {index} was not passed of {passed}"))?;
        let fail = |error: std::io::Error| format!("snapshot: {error}");
        let mut file = File::from(place.try_clone().map_err(fail)?);
        file.rewind().map_err(fail)?;
        let mut text = Vec::new();
        file.take(SNAPSHOT + 1)
            .read_to_end(&mut text)
            .map_err(fail)?;
        if text.len() as u64 > SNAPSHOT {
            return Err(format!("snapshot: longer than {SNAPSHOT} bytes"));
        }
        let snapshot =
            serde_json::from_slice(&text).map_err(|error| format!("snapshot: {error}"))?;
        Ok((snapshot, descriptors))
    }

    /// Sends a reply; blocks while the supervisor's queue is full, which holds up no worker.
    ///
    /// # Errors
    ///
    /// Those of send(2).
    pub fn send(&self, reply: &Reply) -> Result<(), Errno> {
        let bytes = serde_json::to_vec(reply).map_err(|_| Errno::INVAL)?;
        loop {
            match send(&self.socket, &bytes, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait_for_room(),
                other => return other.map(|_| ()),
            }
        }
    }

    fn wait_for_room(&self) {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut waiting = [PollFd::new(&self.socket, PollFlags::OUT)];
        let _ = poll(&mut waiting, None);
    }
}
