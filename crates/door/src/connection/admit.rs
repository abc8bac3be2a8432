//! From accept to the first byte of the client's own: who it is, and whether there is room.
//!
//! A PROXY header is looked at where it lies, in the socket's queue (`MSG_PEEK`), and taken
//! out by its exact length once it is complete: what follows stays there for whoever reads the
//! hello, an unfinished header costs no memory of the door's, and however it was cut, what is
//! taken is the same.

use std::os::fd::{AsFd, BorrowedFd};

use cloister_proto::alert::Alert;
use cloister_proto::messages::door::Outcome;
use cloister_proto::progress::Progress;
use cloister_proto::proxy_header::{MAXIMUM_LENGTH_V2, Origin, parse};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::client::{Client, canonical};
use super::{Connection, End, Next, Shared, Side, Stage};
use crate::admission::{Admitted, ClientGroup};
use crate::route::Choice;
use crate::runtime::Route;
use crate::slab::Key;

impl Connection {
    /// Begins, right after accept. `client`: who connected, where the listener's terms ask
    /// for it ([`crate::runtime::Terms::asks_for_client`]).
    pub fn start(&mut self, key: Key, client: Option<Client>, shared: &mut Shared) -> Next {
        let Some(client) = client else {
            return self.start_route(key, shared);
        };
        let trusted = self.terms.admission.trusted.covers(&client);
        self.admitted = Some(Box::new(Admitted::new(client)));
        if trusted {
            self.stage = Stage::Header;
            return self.read_header(key, shared);
        }
        self.admit(key, shared)
    }

    /// Takes the client's place, then goes on with what it says.
    fn admit(&mut self, key: Key, shared: &mut Shared) -> Next {
        let limit = self.terms.limits.per_client;
        if let (1.., Some(admitted)) = (limit, &mut self.admitted) {
            let group = ClientGroup::of(&admitted.client);
            let clients = &self.terms.admission.occupancy.clients;
            admitted.client_place = clients.take(group, limit);
            if admitted.client_place.is_none() {
                let reason = "the client's connection limit";
                return Next::Close(End::broken(Outcome::RefusedClientLimit, reason));
            }
        }
        self.start_route(key, shared)
    }

    /// Takes a place of the chosen host; false where there is none.
    pub(super) fn admit_to_host(&mut self, choice: &Choice) -> bool {
        let limit = self.terms.limits.per_host;
        let (1.., Some(host)) = (limit, choice.host()) else {
            return true;
        };
        let hosts = &self.terms.admission.occupancy.hosts;
        let Some(place) = hosts.take(host.into(), limit) else {
            return false;
        };
        let admitted = self
            .admitted
            .get_or_insert_with(|| Box::new(Admitted::new(Client::Unknown)));
        admitted.host_place = Some(place);
        true
    }

    /// A host that has its share: the client is told, unlike at its own limit, since it did
    /// nothing that its author could know better.
    pub(super) fn refuse_host_limit(&mut self, key: Key, shared: &mut Shared) -> Next {
        let reason = "the host's connection limit";
        let outcome = Outcome::RefusedHostLimit;
        self.refuse(key, Alert::InternalError, outcome, reason, shared)
    }

    /// Looks for the whole header; leaves the rest to events and to the hello's deadline.
    pub(super) fn read_header(&mut self, key: Key, shared: &mut Shared) -> Next {
        let buffer = &mut shared.tools.buffer[..MAXIMUM_LENGTH_V2];
        let count = match receive(self.client.as_fd(), buffer, RecvFlags::PEEK) {
            Ok(0) => return refused("the connection ended before its PROXY header"),
            Ok(count) => count,
            Err(Errno::AGAIN) => return self.await_first_bytes(key, shared),
            Err(error) => {
                return Next::Close(End::broken(Outcome::ClientAborted, error.to_string()));
            }
        };
        let (origin, length) = match parse(&buffer[..count]) {
            Ok(Progress::Complete(header)) => (header.origin, header.length),
            // A peeked stream does not show its end; the event did.
            Ok(Progress::NeedMore) if self.client_watch.hangup => {
                return refused("the connection ended within its PROXY header");
            }
            Ok(Progress::NeedMore) => return self.await_first_bytes(key, shared),
            Err(error) => return refused(format!("PROXY header: {error}")),
        };
        if let Err(error) = consume(self.client.as_fd(), &mut buffer[..length]) {
            return Next::Close(End::broken(Outcome::ClientAborted, error.to_string()));
        }
        self.take_origin(origin);
        self.stage = Stage::Hello(None);
        self.admit(key, shared)
    }

    /// The header ended the proxy's say: from here on the client is whom it names.
    fn take_origin(&mut self, origin: Origin) {
        let Some(admitted) = &mut self.admitted else {
            return;
        };
        match origin {
            Origin::Proxied(addresses) => {
                admitted.client = Client::Inet(canonical(addresses.client))
            }
            // A health check of the proxy's own, or nobody that the header could name:
            // section 2.2 has the connection's own addresses stand.
            Origin::Local | Origin::Unknown | Origin::Unix => {}
        }
        if origin != Origin::Local {
            admitted.origin = Some(Box::new(origin));
        }
        if let Some(details) = &mut self.details {
            details.client = admitted.client;
        }
    }

    /// At the hello's deadline.
    pub(super) fn header_timeout() -> Next {
        refused("the PROXY header did not end in time")
    }

    fn await_first_bytes(&mut self, key: Key, shared: &mut Shared) -> Next {
        if self.client_watch.registered {
            return Next::Wait;
        }
        shared.timers.enter(self.hello_deadline(), key);
        match self.watch(key, Side::Client, false, shared) {
            Ok(()) => Next::Wait,
            Err(error) => Next::Close(End::broken(Outcome::Internal, error.to_string())),
        }
    }

    fn start_route(&mut self, key: Key, shared: &mut Shared) -> Next {
        match &self.terms.route {
            Route::Target(destination) => {
                let choice = Choice::Table(std::sync::Arc::clone(destination));
                self.open(key, choice, super::Facts::default(), &[], shared)
            }
            Route::ServerName(_) => self.read_hello(key, shared),
        }
    }
}

/// The specification has the connection closed; there is nobody to tell by an alert.
fn refused(reason: impl Into<std::borrow::Cow<'static, str>>) -> Next {
    Next::Close(End::broken(Outcome::RefusedProxy, reason))
}

/// Takes exactly what was peeked. In several parts where a Unix socket's queue is cut.
fn consume(socket: BorrowedFd<'_>, mut header: &mut [u8]) -> Result<(), Errno> {
    while !header.is_empty() {
        match receive(socket, header, RecvFlags::empty())? {
            0 => return Err(Errno::CONNRESET),
            count => header = &mut header[count..],
        }
    }
    Ok(())
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
    loop {
        match recv(socket, &mut *buffer, flags) {
            Err(Errno::INTR) => {}
            Ok((_, count)) => return Ok(count),
            Err(error) => return Err(error),
        }
    }
}
