//! `cloister-door hold`: keeps descriptors for a supervisor that may be killed.
//!
//! It does nothing with what it keeps. While its supervisor lives it obeys; when that ends
//! without a word it waits for the next one, and gives it everything back. So listening
//! sockets, and what ties applications and the door to their supervisor, outlive that one.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cloister_proto::messages::holder::{Answer, Order};
use cloister_sys::descriptors::take_inherited;
use cloister_sys::signals::SignalDescriptor;
use cloister_sys::sockets::peer_user;
use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, accept_with, recvmsg, sendmsg,
};
use rustix::process::{Signal, geteuid};

use crate::confine::{self, reach::Reach};
use crate::options::Hold;
use crate::process;

/// The longest order in bytes.
const PACKET: usize = 64 * 1024;

/// The most descriptors of one entry.
const DESCRIPTORS: usize = 64;

/// Keeps, until a supervisor says that it has stopped.
///
/// # Errors
///
/// What failed, for a person.
pub fn run(options: &Hold) -> Result<(), String> {
    let number = options.socket;
    let listening =
        take_inherited(number).map_err(|error| format!("--socket-fd {number}: {error}"))?;
    // Whoever ends everything ends the supervisor, which then says so here.
    let ignored = [
        Signal::HUP,
        Signal::INT,
        Signal::TERM,
        Signal::USR1,
        Signal::USR2,
    ]
    .map(Signal::as_raw);
    let _signals = SignalDescriptor::block(&ignored)
        .map_err(|error| format!("cannot block signals: {error}"))?;
    let _limit = process::raise_descriptor_limit();
    // The system-call filter has no word for it.
    let own = geteuid().as_raw();
    confine::confine(None, false, Reach::default())?;
    let mut holder = Holder::default();
    loop {
        match accept_with(&listening, SocketFlags::CLOEXEC) {
            Ok(supervisor) if is_trusted(supervisor.as_fd(), own) => {
                if holder.serve(supervisor.as_fd()) == Outcome::Over {
                    return Ok(());
                }
            }
            Ok(_) | Err(Errno::INTR | Errno::CONNABORTED) => {}
            // What is kept matters more than to be asked at once.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => pause(),
            Err(error) => return Err(format!("cannot be asked any more: {error}")),
        }
    }
}

fn is_trusted(peer: BorrowedFd<'_>, own: u32) -> bool {
    peer_user(peer).is_ok_and(|user| user == 0 || user == own)
}

fn pause() {
    let tenth = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    let nothing: &mut [PollFd<'_>] = &mut [];
    let _ = poll(nothing, Some(&tenth));
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The supervisor is gone; there may be another one.
    Gone,
    /// It has stopped.
    Over,
}

#[derive(Debug)]
struct Entry {
    record: String,
    descriptors: Vec<OwnedFd>,
}

/// What is kept, by its names.
#[derive(Debug, Default)]
pub struct Holder {
    entries: BTreeMap<String, Entry>,
}

impl Holder {
    /// The names of all entries, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Obeys one supervisor, at the other end of a `SOCK_SEQPACKET` socket, until it has ended,
    /// says that it has stopped, or sends what is no order. Blocks. Descriptors that come with
    /// an order belong to the holder.
    pub fn serve(&mut self, supervisor: BorrowedFd<'_>) -> Outcome {
        loop {
            let (order, descriptors) = match receive(supervisor) {
                Ok(Some(received)) => received,
                Ok(None) | Err(_) => return Outcome::Gone,
            };
            match order {
                Order::Store { name, record } => {
                    let entry = Entry {
                        record,
                        descriptors,
                    };
                    self.entries.insert(name, entry);
                }
                Order::Forget { name } => drop(self.entries.remove(&name)),
                Order::List {} => {
                    if self.list(supervisor).is_err() {
                        return Outcome::Gone;
                    }
                }
                Order::End {} => return Outcome::Over,
            }
        }
    }

    fn list(&self, supervisor: BorrowedFd<'_>) -> Result<(), Errno> {
        for (name, entry) in &self.entries {
            let answer = Answer::Kept {
                name: name.clone(),
                record: entry.record.clone(),
            };
            send(supervisor, &answer, &entry.descriptors)?;
        }
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        send(supervisor, &Answer::Listed { count }, &[])
    }
}

/// One order with its descriptors; `None` at the end. One that is not whole, since it is too
/// long or there is no room for its descriptors, ends the conversation: the supervisor then
/// begins another one and stores everything again.
fn receive(supervisor: BorrowedFd<'_>) -> Result<Option<(Order, Vec<OwnedFd>)>, Errno> {
    let mut bytes = vec![0; PACKET];
    let mut space = vec![MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut pieces = [IoSliceMut::new(&mut bytes)];
    let message = loop {
        match recvmsg(
            supervisor,
            &mut pieces,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    // The space for descriptors is rounded up: one more than wanted may fit.
    let cut = message
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    if cut || descriptors.len() > DESCRIPTORS {
        eprintln!(
            "cloister-door: an order to keep was cut short: too long, or too many open files"
        );
        return Err(Errno::MSGSIZE);
    }
    match serde_json::from_slice(&bytes[..message.bytes]) {
        Ok(order) => Ok(Some((order, descriptors))),
        Err(error) => {
            eprintln!("cloister-door: no order to keep: {error}");
            Err(Errno::INVAL)
        }
    }
}

fn send(supervisor: BorrowedFd<'_>, answer: &Answer, descriptors: &[OwnedFd]) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(answer).map_err(|_| Errno::INVAL)?;
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(Errno::TOOMANYREFS);
    }
    loop {
        match sendmsg(
            supervisor,
            &[IoSlice::new(&bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Err(Errno::INTR) => {}
            other => return other.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests;
