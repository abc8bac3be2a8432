//! Giving the client's connection away.
//!
//! The accepted socket goes to the target by `SCM_RIGHTS` (unix(7)) beside one message of
//! [`cloister_proto::handoff`], on a connection that was made for it and carries nothing
//! else. What one batch of events brings for one target goes together, in one message: the
//! connections wait in [`Shared::handing_off`] for the end of the batch, and the target is
//! looked up once, then, for all of them. Where that leads to no message each goes its own
//! way, as if it were alone.
//!
//! The hello was only looked at (`MSG_PEEK`), so every byte of the client's is still in
//! the socket that the target gets.
//!
//! There is no acknowledgement. Until sendmsg(2) has succeeded the connection is the door's,
//! which relays or refuses it; from then on the kernel holds it for whoever accepts and reads
//! the message, and closes it where nobody does.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cloister_proto::handoff::{MAXIMUM_CONNECTIONS, MAXIMUM_LENGTH, Message};
use cloister_proto::messages::door::{Outcome, SendProxy};
use cloister_proto::proxy_header::Origin;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::net::{recv, sendmsg};

use super::{Connection, End, Facts, Next, Opening, Shared, Stage};
use crate::clock::Moment;
use crate::route::{Choice, Reached};
use crate::slab::Key;
use crate::target::ConnectError;

/// Looks at the first bytes that are not taken out of the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Peeking {
    /// Not asked yet.
    #[default]
    Undecided,
    /// No route of this connection hands off: bytes are taken as they come.
    Never,
    /// The hello stays in the socket.
    Looks,
    /// The hello had to be taken out: the connection can only be relayed.
    GivenUp,
}

/// A hello that is longer, record headers included, is taken out and relayed. Below it is
/// what every socket's queue holds with its default size; the largest hellos known are below
/// 4 KiB.
pub(super) const PEEK_LIMIT: usize = 32 * 1024;

impl Connection {
    /// Connects to the target and, where that is how it takes connections, hands this one
    /// off: `None`. Otherwise the connected socket, and the header to begin with.
    pub(super) fn reach(
        &mut self,
        choice: &Choice,
        facts: &Facts,
        shared: &Shared,
    ) -> Result<Option<(OwnedFd, SendProxy)>, ConnectError> {
        match self.peeking {
            Peeking::Looks => {}
            Peeking::GivenUp => {
                let relayed = choice
                    .connect_relay(&facts.alpn)
                    .map_err(|error| match error {
                        ConnectError::NoTarget(Errno::NOENT) => ConnectError::NoRelay,
                        error => error,
                    });
                return relayed.map(Some);
            }
            Peeking::Undecided | Peeking::Never => {
                return choice.connect_relay(&facts.alpn).map(Some);
            }
        }
        let failed = match choice.connect(&facts.alpn)? {
            Reached::Relay(socket, header) => return Ok(Some((socket, header))),
            Reached::Handoff(control) => match self.hand_off(&control, facts, shared) {
                Ok(()) => return Ok(None),
                Err(error) => error,
            },
        };
        choice
            .connect_relay(&facts.alpn)
            .map(Some)
            .map_err(|_| failed)
    }

    /// Sends the client's socket; on success it is the receiver's.
    fn hand_off(
        &self,
        control: &OwnedFd,
        facts: &Facts,
        shared: &Shared,
    ) -> Result<(), ConnectError> {
        let message = self.message(facts)?;
        send_descriptors(control.as_fd(), &message, &[self.client.as_fd()])?;
        self.unwatch_client(shared);
        Ok(())
    }

    /// What the receiver is told.
    fn message(&self, facts: &Facts) -> Result<Vec<u8>, ConnectError> {
        let message = Message {
            // Where no header named them the receiver asks the socket itself for its ends.
            origin: self.named_origin().unwrap_or(Origin::Unknown),
            server_name: facts.name.as_ref().map(AsRef::as_ref),
            offered: &facts.alpn,
            listener: &self.terms.counters.name,
        };
        message
            .write()
            .map_err(|_| ConnectError::Local(Errno::MSGSIZE))
    }

    fn unwatch_client(&self, shared: &Shared) {
        if self.client_watch.registered {
            // An epoll set watches open file descriptions, not descriptors (epoll(7)): the
            // receiver's copy would go on to wake this worker after the close of ours.
            let _ = epoll::delete(&shared.epoll, &self.client);
        }
    }

    /// Whether the connection is to wait for others that go the same way.
    ///
    /// It counts as open until the batch ends. Where somebody could be refused for that it
    /// does not wait: at a limit for each client or host, or with half of the listener's
    /// places taken.
    pub(super) fn waits_for_others(&self, choice: &Choice) -> bool {
        let limit = self.terms.limits.connections;
        let holds_place = self.admitted.as_ref().is_some_and(|admitted| {
            admitted.client_place.is_some() || admitted.host_place.is_some()
        });
        self.peeking == Peeking::Looks
            && !holds_place
            && (limit == 0 || self.terms.counters.active.get() <= limit / 2)
            && choice.probably_hands_off()
    }

    fn waiting(&self) -> Option<&Opening> {
        match &self.stage {
            Stage::HandingOff(opening) => Some(opening),
            _ => None,
        }
    }

    /// Whether both wait, and for the same target.
    #[must_use]
    pub fn goes_with(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (self.waiting(), other.waiting()) else {
            return false;
        };
        one.choice
            .leads_where(&one.facts.alpn, &two.choice, &two.facts.alpn)
    }

    /// Connects to the target of a connection that waits. To be tried once for all that go
    /// the same way; `None` where it does not wait or the target cannot be reached.
    #[must_use]
    pub fn reach_together(&self) -> Option<Reached> {
        let opening = self.waiting()?;
        opening.choice.connect(&opening.facts.alpn).ok()
    }

    /// Goes its own way at the end of the batch.
    pub fn open_alone(&mut self, key: Key, shared: &mut Shared) -> Next {
        self.open_again(key, shared.now, shared)
    }

    /// The target that the connection waited for turned out to want its bytes, on this socket.
    pub fn begin_instead(
        &mut self,
        key: Key,
        socket: OwnedFd,
        header: SendProxy,
        shared: &mut Shared,
    ) -> Next {
        let stage = std::mem::replace(&mut self.stage, Stage::Relay);
        let Stage::HandingOff(opening) = stage else {
            self.stage = stage;
            return Next::Wait;
        };
        self.target = Some(socket);
        shared.counters.connect.note(opening.since, shared.now);
        self.begin(key, header, &opening.facts, &opening.received, shared)
    }

    /// After [`send_together`]: the receiver has it.
    pub fn handed_off(&self, shared: &Shared) -> Next {
        if let Some(opening) = self.waiting() {
            shared.counters.connect.note(opening.since, shared.now);
        }
        self.unwatch_client(shared);
        Next::Close(End::new(Outcome::HandedOff))
    }

    /// Notes that a look has not found the whole hello; true where it must be taken out.
    pub(super) fn give_up_peeking(&mut self, seen: usize) -> bool {
        // A peeked stream does not show its end: taken out, it does.
        if self.client_watch.hangup || seen >= PEEK_LIMIT {
            self.peeking = Peeking::GivenUp;
        }
        self.peeking == Peeking::GivenUp
    }

    /// When the unfinished hello of a Unix client is taken out. Its queue is bounded by the
    /// memory of its pieces, of which each costs hundreds of bytes: a client that writes
    /// single bytes fills it with a few hundred, and then no event tells.
    pub(super) fn peeking_deadline(&self) -> Option<Moment> {
        let looks = self.peeking == Peeking::Looks && !self.tcp;
        looks.then(|| self.started.after(self.terms.limits.hello / 2))
    }

    /// At [`Connection::peeking_deadline`].
    pub(super) fn peeked_long_enough(&mut self, key: Key, shared: &mut Shared) -> Next {
        self.peeking = Peeking::GivenUp;
        self.read_hello(key, shared)
    }

    /// Takes out of the socket what was looked at, now that the door relays it.
    pub(super) fn take_peeked(&mut self, mut length: usize) -> Result<(), Errno> {
        if self.peeking != Peeking::Looks {
            return Ok(());
        }
        let mut scratch = [0; 4096];
        while length > 0 {
            let room = length.min(scratch.len());
            // TCP throws away what MSG_TRUNC asks for without copying it (tcp(7)).
            match recv(&self.client, &mut scratch[..room], RecvFlags::TRUNC) {
                Ok((_, 0)) => return Err(Errno::CONNRESET),
                Ok((_, count)) => length -= count.min(length),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Sends as many of the connections, from the first on, as one message tells of; how many.
/// None where they are to go their own ways.
#[must_use]
pub fn send_together(control: &OwnedFd, connections: &[&Connection]) -> usize {
    let mut message = Vec::with_capacity(MAXIMUM_LENGTH);
    let mut descriptors = Vec::with_capacity(MAXIMUM_CONNECTIONS);
    for connection in connections.iter().take(MAXIMUM_CONNECTIONS) {
        let Some(Ok(one)) = connection
            .waiting()
            .map(|opening| connection.message(&opening.facts))
        else {
            break;
        };
        if message.len() + one.len() > MAXIMUM_LENGTH {
            break;
        }
        message.extend_from_slice(&one);
        descriptors.push(connection.client.as_fd());
    }
    match send_descriptors(control.as_fd(), &message, &descriptors) {
        Ok(()) => descriptors.len(),
        Err(_) => 0,
    }
}

/// One message with descriptors beside it, at most [`MAXIMUM_CONNECTIONS`].
fn send_descriptors(
    control: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), ConnectError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAXIMUM_CONNECTIONS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if descriptors.is_empty() || !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(ConnectError::Local(Errno::MSGSIZE));
    }
    loop {
        match sendmsg(
            control,
            &[IoSlice::new(message)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        ) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            // unix(7): more descriptors of this user are in flight than it may open. They
            // become fewer as receivers take theirs.
            Err(Errno::TOOMANYREFS) => return Err(ConnectError::Busy),
            Err(error) => return Err(ConnectError::at_target(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{IoSliceMut, Read, Write};
    use std::os::unix::net::UnixStream;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, recvmsg};

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair")
    }

    #[test]
    fn the_message_and_the_descriptor_arrive_together() {
        let (sender, receiver) = pair();
        let (mut client, passed) = UnixStream::pair().expect("a pair");
        send_descriptors(sender.as_fd(), b"message", &[passed.as_fd()]).expect("sent");
        drop((sender, passed));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 64];
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&receiver, slices, &mut ancillary, flags).expect("received");
        assert_eq!(&bytes[..received.bytes], b"message");
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        assert_eq!(descriptors.len(), 1);
        let mut taken = UnixStream::from(descriptors.remove(0));
        client.write_all(b"hello").expect("sent");
        let mut hello = [0; 5];
        taken.read_exact(&mut hello).expect("the client's bytes");
        assert_eq!(&hello, b"hello");
    }

    #[test]
    fn what_the_receiver_never_takes_is_closed_with_it() {
        let (sender, receiver) = pair();
        let (mut client, passed) = UnixStream::pair().expect("a pair");
        send_descriptors(sender.as_fd(), b"message", &[passed.as_fd()]).expect("sent");
        drop((sender, passed));
        drop(receiver);
        assert_eq!(client.read(&mut [0; 1]).expect("an end"), 0);
    }

    #[test]
    fn a_receiver_that_has_closed_is_no_target() {
        let (sender, receiver) = pair();
        drop(receiver);
        let (_client, passed) = UnixStream::pair().expect("a pair");
        let error = send_descriptors(sender.as_fd(), b"message", &[passed.as_fd()]);
        assert_eq!(error, Err(ConnectError::NoTarget(Errno::PIPE)));
    }
}
