//! From the first byte to a decision.

use std::os::fd::{AsFd, BorrowedFd};

use cloister_proto::alert::Alert;
use cloister_proto::client_hello::{ClientHello, DEFAULT_LIMIT, HelloError, HelloReader, Progress};
use cloister_proto::messages::door::Outcome;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::handoff::{PEEK_LIMIT, Peeking};
use super::{Connection, End, Facts, Next, PartialHello, Shared, Stage};
use crate::clock::Moment;
use crate::runtime::Route;
use crate::slab::Key;

/// How much is read at once while the hello is awaited: a whole hello in most cases, and
/// the early data behind it in many.
const READ: usize = 64 * 1024;

impl Connection {
    pub(super) fn hello_deadline(&self) -> Moment {
        self.started.after(self.terms.limits.hello)
    }

    /// Right after accept the hello is often there already, and then neither an event nor an
    /// allocation comes between.
    pub(super) fn read_hello(&mut self, key: Key, shared: &mut Shared) -> Next {
        if self.peeking == Peeking::Undecided {
            self.peeking = match &self.terms.route {
                Route::ServerName(directory)
                    if directory.is_some() || shared.runtime.table.hands_off() =>
                {
                    Peeking::Looks
                }
                _ => Peeking::Never,
            };
        }
        // Taken for the time of the call, so that its bytes can go on to the target while
        // the rest of `shared` is in use.
        let mut buffer = std::mem::take(&mut shared.tools.buffer);
        let next = match self.peeking {
            Peeking::Looks => self.peek_hello(key, &mut buffer, shared),
            _ => self.read_hello_into(key, &mut buffer, shared),
        };
        shared.tools.buffer = buffer;
        next
    }

    /// Looks at the hello where it lies. Each segment that arrives is an edge, whether those
    /// before it were taken out or not, so an unfinished hello is looked at once for each.
    fn peek_hello(&mut self, key: Key, buffer: &mut [u8], shared: &mut Shared) -> Next {
        let count = match read(
            self.client.as_fd(),
            &mut buffer[..PEEK_LIMIT],
            RecvFlags::PEEK,
        ) {
            Ok(0) => return self.hello_ended(),
            Ok(count) => count,
            Err(Errno::AGAIN) => return self.await_hello(key, shared),
            Err(error) => {
                return Next::Close(End::broken(Outcome::ClientAborted, error.to_string()));
            }
        };
        match HelloReader::new(DEFAULT_LIMIT).advance(&buffer[..count]) {
            Ok(Progress::Complete(hello)) => self.route(key, hello, &buffer[..count], shared),
            Err(error) => self.refuse_hello(key, &error, shared),
            Ok(Progress::NeedMore) if self.give_up_peeking(count) => {
                self.read_hello_into(key, buffer, shared)
            }
            Ok(Progress::NeedMore) => self.await_hello(key, shared),
        }
    }

    fn read_hello_into(&mut self, key: Key, buffer: &mut [u8], shared: &mut Shared) -> Next {
        loop {
            let count = match read(self.client.as_fd(), &mut buffer[..READ], RecvFlags::empty()) {
                Ok(0) => return self.hello_ended(),
                Ok(count) => count,
                Err(Errno::AGAIN) => return self.await_hello(key, shared),
                Err(error) => {
                    return Next::Close(End::broken(Outcome::ClientAborted, error.to_string()));
                }
            };
            let fresh = &buffer[..count];
            let Stage::Hello(partial) = &mut self.stage else {
                return Next::Wait;
            };
            let mut whole = partial.take();
            let progress = match &mut whole {
                None => {
                    let mut reader = HelloReader::new(DEFAULT_LIMIT);
                    let progress = reader.advance(fresh);
                    if matches!(progress, Ok(Progress::NeedMore)) {
                        let received = fresh.to_vec();
                        *partial = Some(Box::new(PartialHello { reader, received }));
                    }
                    progress
                }
                Some(known) => {
                    known.received.extend_from_slice(fresh);
                    known.reader.advance(&known.received)
                }
            };
            match progress {
                Ok(Progress::Complete(hello)) => {
                    let received = whole.as_ref().map_or(fresh, |known| &known.received);
                    return self.route(key, hello, received, shared);
                }
                Err(error) => return self.refuse_hello(key, &error, shared),
                Ok(Progress::NeedMore) => {
                    if let (Stage::Hello(partial), Some(known)) = (&mut self.stage, whole) {
                        *partial = Some(known);
                    }
                }
            }
            // Under an edge-triggered watch only a short read says that nothing is left; an
            // end that was announced must be read.
            if count < READ && !self.client_watch.hangup {
                return self.await_hello(key, shared);
            }
        }
    }

    fn refuse_hello(&mut self, key: Key, error: &HelloError, shared: &mut Shared) -> Next {
        let reason = error.to_string();
        let alert = error.alert();
        let outcome = if alert == Alert::UnrecognizedName {
            Outcome::RefusedName
        } else {
            Outcome::RefusedHello
        };
        self.refuse(key, alert, outcome, reason, shared)
    }

    /// Leaves the rest to events and to the deadline.
    fn await_hello(&mut self, key: Key, shared: &mut Shared) -> Next {
        if self.client_watch.registered {
            return Next::Wait;
        }
        shared.timers.enter(self.hello_deadline(), key);
        if let Some(moment) = self.peeking_deadline() {
            shared.timers.enter(moment, key);
        }
        match self.watch(key, super::Side::Client, false, shared) {
            Ok(()) => Next::Wait,
            Err(error) => Next::Close(End::broken(Outcome::Internal, error.to_string())),
        }
    }

    fn hello_ended(&mut self) -> Next {
        self.send_alert(Alert::DecodeError);
        let mut end = End::new(Outcome::HelloIncomplete);
        end.reason = Some("the client closed before its hello ended".into());
        Next::Close(end)
    }

    pub(super) fn hello_timeout(&mut self, key: Key, shared: &mut Shared) -> Next {
        let reason = "the hello did not end in time";
        let outcome = Outcome::HelloTimeout;
        self.refuse(key, Alert::UserCanceled, outcome, reason, shared)
    }

    fn route(
        &mut self,
        key: Key,
        hello: ClientHello,
        received: &[u8],
        shared: &mut Shared,
    ) -> Next {
        shared.counters.hello.note(self.started, shared.now);
        let facts = Facts {
            name: hello.server_name,
            alpn: hello.alpn,
        };
        let Route::ServerName(directory) = &self.terms.route else {
            return Next::Wait;
        };
        let choice = shared
            .runtime
            .choose(directory.as_ref(), facts.name.as_ref());
        match choice {
            Some(choice) => self.open(key, choice, facts, received, shared),
            None => {
                let reason = match &facts.name {
                    Some(_) => "no route has this name",
                    None => "the hello has no server name and there is no default route",
                };
                if let Some(details) = &mut self.details {
                    details.facts = facts;
                }
                let alert = Alert::UnrecognizedName;
                self.refuse(key, alert, Outcome::RefusedName, reason, shared)
            }
        }
    }
}

fn read(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
    loop {
        match recv(socket, &mut *buffer, flags) {
            Err(Errno::INTR) => {}
            Ok((_, count)) => return Ok(count),
            Err(error) => return Err(error),
        }
    }
}
