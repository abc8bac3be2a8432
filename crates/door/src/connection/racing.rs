//! The sockets of a [`Race`]: what it decides is done here.
//!
//! All attempts of a connection are watched under one number, so an event has every attempt
//! looked at; there are few. The winner goes on after the events of its batch: one of them
//! may still be about an attempt that lost, and would be taken for the winner's.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use cloister_proto::alert::Alert;
use cloister_proto::messages::door::{Outcome, SendProxy};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::client::Client;
use super::{Connection, End, Facts, Next, Shared, Side, Stage};
use crate::admission::Admitted;
use crate::clock::Moment;
use crate::race::{Attempt, Loss, Race, Step};
use crate::slab::Key;
use crate::target::Remote;
use crate::target::address::{self, Address, Started};
use crate::target::remote::Named;

/// A connection whose target is being reached.
#[derive(Debug)]
pub struct Racing {
    race: Race<Address, OwnedFd>,
    remote: Arc<Remote>,
    header: SendProxy,
    facts: Facts,
    received: Vec<u8>,
    since: Moment,
    /// The moment in the worker's timers that counts; others are left over.
    entered: Option<Moment>,
}

impl Connection {
    /// Begins to connect to a target beyond a network.
    pub(super) fn race(
        &mut self,
        key: Key,
        remote: Arc<Remote>,
        header: SendProxy,
        facts: Facts,
        received: &[u8],
        shared: &mut Shared,
    ) -> Next {
        let since = Moment::now();
        let racing = Box::new(Racing {
            race: Race::new(since.after(self.terms.limits.connect)),
            since,
            remote,
            header,
            facts,
            received: received.to_vec(),
            entered: None,
        });
        self.go_on(key, racing, shared)
    }

    /// Something has happened to an attempt.
    pub(super) fn attempts(&mut self, key: Key, shared: &mut Shared) -> Next {
        let Some(mut racing) = self.take_racing() else {
            return Next::Wait;
        };
        let now = Moment::now();
        let mut place = 0;
        while let Some(attempt) = racing.race.running().get(place) {
            match address::progress(&attempt.socket) {
                Ok(false) => place += 1,
                Ok(true) => {
                    racing.race.connected(place);
                    shared.ready.push((key, Side::Target));
                    self.stage = Stage::Racing(racing);
                    return Next::Wait;
                }
                Err(error) => {
                    let address = racing.race.failed(now, place, error);
                    racing.remote.failed(now, address);
                }
            }
        }
        self.go_on(key, racing, shared)
    }

    pub(super) fn race_on(&mut self, key: Key, shared: &mut Shared) -> Next {
        match self.take_racing() {
            Some(racing) => self.go_on(key, racing, shared),
            None => Next::Wait,
        }
    }

    pub(super) fn race_due(&mut self, key: Key, now: Moment, shared: &mut Shared) -> Next {
        let Some(mut racing) = self.take_racing() else {
            return Next::Wait;
        };
        if racing.entered.is_some_and(|entered| now >= entered) {
            racing.entered = None;
        }
        racing.race.due(now);
        self.go_on(key, racing, shared)
    }

    fn take_racing(&mut self) -> Option<Box<Racing>> {
        match std::mem::replace(&mut self.stage, Stage::Relay) {
            Stage::Racing(racing) => Some(racing),
            stage => {
                self.stage = stage;
                None
            }
        }
    }

    /// Obeys the race until it waits or is decided.
    fn go_on(&mut self, key: Key, mut racing: Box<Racing>, shared: &mut Shared) -> Next {
        loop {
            match racing.race.step() {
                Step::Name => Self::name(key, &mut racing, shared),
                Step::Connect(address) => {
                    if let Err(error) = self.attempt(key, &mut racing, address, shared) {
                        return Next::Close(End::broken(Outcome::Internal, error.to_string()));
                    }
                }
                Step::Wait(moment) => return self.await_race(key, moment, racing, shared),
                Step::Won => return self.won(key, *racing, shared),
                Step::Lost => return self.lost(key, &mut racing, shared),
            }
        }
    }

    /// Asks where the target is; later again where that is not known yet.
    fn name(key: Key, racing: &mut Racing, shared: &mut Shared) {
        match racing.remote.name(Moment::now(), &shared.waker) {
            Named::Addresses(addresses) => racing.race.named(addresses),
            Named::Nowhere(reason) => racing.race.nameless(reason),
            Named::Pending => shared.naming.push(key),
        }
    }

    /// The name that the target goes by may be known by now.
    pub fn named(&mut self, key: Key, shared: &mut Shared) -> Next {
        let Some(mut racing) = self.take_racing() else {
            return Next::Wait;
        };
        if racing.race.awaits_addresses() {
            Self::name(key, &mut racing, shared);
        }
        self.go_on(key, racing, shared)
    }

    /// Begins one attempt and has the epoll set watch it.
    fn attempt(
        &self,
        key: Key,
        racing: &mut Racing,
        place: Address,
        shared: &Shared,
    ) -> Result<(), Errno> {
        let now = Moment::now();
        match address::start(place, self.terms.keepalive.as_ref()) {
            Ok(Started::Connected(socket)) => racing.race.connected_at_once(now, place, socket),
            Ok(Started::Underway(socket)) => {
                let data = EventData::new_u64(key.pack(Side::Target.bit()));
                epoll::add(
                    &shared.epoll,
                    &socket,
                    data,
                    EventFlags::OUT | EventFlags::ET,
                )?;
                racing.race.underway(now, place, socket);
            }
            Err(error) => {
                if !is_own_shortage(error) {
                    racing.remote.failed(now, place);
                }
                racing.race.refused(now, place, error);
            }
        }
        Ok(())
    }

    fn await_race(
        &mut self,
        key: Key,
        moment: Moment,
        mut racing: Box<Racing>,
        shared: &mut Shared,
    ) -> Next {
        if racing.entered.is_none_or(|entered| moment < entered) {
            racing.entered = Some(moment);
            shared.timers.enter(moment, key);
        }
        self.stage = Stage::Racing(racing);
        // So that a client that goes away is seen.
        match self.watch(key, Side::Client, false, shared) {
            Ok(()) => Next::Wait,
            Err(error) => Next::Close(End::broken(Outcome::Internal, error.to_string())),
        }
    }

    fn won(&mut self, key: Key, mut racing: Racing, shared: &mut Shared) -> Next {
        let now = Moment::now();
        for address in racing.race.take_slow() {
            racing.remote.failed(now, address);
        }
        shared.counters.connect.note(racing.since, now);
        let was_watched = !racing.race.won_at_once();
        let Some(Attempt {
            address, socket, ..
        }) = racing.race.into_winner()
        else {
            return Next::Close(End::broken(Outcome::Internal, "a race without a winner"));
        };
        if let Some(lease) = racing.remote.succeeded(address) {
            self.admitted
                .get_or_insert_with(|| Box::new(Admitted::new(Client::Unknown)))
                .lease = Some(lease);
        }
        self.target_tcp = matches!(address, Address::Tcp(_));
        self.target = Some(socket);
        if was_watched {
            self.target_watch.registered = true;
            // As `attempt` has asked for it.
            self.target_watch.output = true;
            self.target_watch.muted = true;
        }
        self.begin(key, racing.header, &racing.facts, &racing.received, shared)
    }

    fn lost(&mut self, key: Key, racing: &mut Racing, shared: &mut Shared) -> Next {
        let now = Moment::now();
        for address in racing.race.take_slow() {
            racing.remote.failed(now, address);
        }
        let (alert, outcome, reason) = verdict(racing.race.loss());
        self.unreached(key, alert, outcome, reason, shared)
    }
}

/// Whether connecting failed for want of something that the door lacks, not the target.
const fn is_own_shortage(error: Errno) -> bool {
    matches!(
        error,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::ADDRNOTAVAIL
    )
}

/// What a lost race means for the client and for the log.
fn verdict(loss: &Loss<Address>) -> (Alert, Outcome, String) {
    let internal = Alert::InternalError;
    match loss {
        Loss::NotNamed => (
            internal,
            Outcome::TargetTimeout,
            "the target's name was not resolved in time".to_owned(),
        ),
        Loss::Nameless(reason) => (internal, Outcome::TargetUnreachable, reason.clone()),
        Loss::Silent(address) => (
            internal,
            Outcome::TargetTimeout,
            format!("{address} did not answer in time"),
        ),
        Loss::Failed(address, error) if is_own_shortage(*error) => (
            internal,
            Outcome::Internal,
            format!("no socket for {address}: {error}"),
        ),
        Loss::Failed(address, error) => (
            internal,
            Outcome::TargetUnreachable,
            format!("{address}: {error}"),
        ),
    }
}
