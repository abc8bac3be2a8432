//! From the decision to a connected target.

use std::time::Duration;

use cloister_proto::alert::Alert;
use cloister_proto::messages::door::{Outcome, SendProxy};
use cloister_proto::proxy_header::{Origin, Values, write_v1, write_v2};
use rustix::io::Errno;

use super::client::origin;
use super::flow::Pumped;
use super::{Connection, End, Facts, Next, Opening, Shared, Side, Stage};
use crate::clock::Moment;
use crate::route::Choice;
use crate::runtime::Route;
use crate::slab::Key;
use crate::target::ConnectError;

/// The first and the longest pause before a full target is tried again, in milliseconds.
const PAUSES_MS: (u64, u64) = (1, 64);

impl Connection {
    /// Connects to the target and hands on what was received.
    pub(super) fn open(
        &mut self,
        key: Key,
        choice: Choice,
        facts: Facts,
        received: &[u8],
        shared: &mut Shared,
    ) -> Next {
        if let Some(app) = choice.app() {
            app.accepted.add(1);
            app.active.enter();
            self.app = Some(std::sync::Arc::clone(app));
        }
        if let Some(details) = &mut self.details {
            details.facts = facts.clone();
            details.choice = Some(choice.clone());
        }
        if !self.admit_to_host(&choice) {
            return self.refuse_host_limit(key, shared);
        }
        if let Some(remote) = choice.remote() {
            let remote = std::sync::Arc::clone(remote);
            return self.race(key, remote, choice.send_proxy(), facts, received, shared);
        }
        let opening = |connection: &Self, choice, facts, now: Moment| Opening {
            choice,
            facts,
            received: received.to_vec(),
            since: now,
            until: now.after(connection.terms.limits.connect),
            pause_ms: PAUSES_MS.0,
        };
        if self.waits_for_others(&choice) {
            let opening = opening(self, choice, facts, shared.now);
            self.stage = Stage::HandingOff(Box::new(opening));
            shared.handing_off.push(key);
            return Next::Wait;
        }
        let reached = self.reach(&choice, &facts, shared);
        if reached.is_ok() {
            // Within one batch: how long it took would cost a look at the clock.
            shared.counters.connect.note(shared.now, shared.now);
        }
        match reached {
            Ok(Some((socket, header))) => {
                self.target = Some(socket);
                self.begin(key, header, &facts, received, shared)
            }
            Ok(None) => Next::Close(End::new(Outcome::HandedOff)),
            Err(error) if error.passes() => {
                let now = Moment::now();
                let opening = opening(self, choice, facts, now);
                self.await_target(key, now, opening, shared)
            }
            Err(error) => self.unreachable(key, error, shared),
        }
    }

    /// Enters the next try, or the deadline where that comes first.
    fn await_target(
        &mut self,
        key: Key,
        now: Moment,
        mut opening: Opening,
        shared: &mut Shared,
    ) -> Next {
        // Where its hello came together with its reset, that edge is spent.
        if self.client_watch.gone {
            return Next::Close(End::broken(Outcome::ClientAborted, "the client is gone"));
        }
        let pause = Duration::from_millis(opening.pause_ms);
        opening.pause_ms = (opening.pause_ms * 2).min(PAUSES_MS.1);
        shared
            .timers
            .enter(now.after(pause).min(opening.until), key);
        self.stage = Stage::Opening(Box::new(opening));
        match self.watch(key, Side::Client, false, shared) {
            Ok(()) => Next::Wait,
            Err(error) => Next::Close(End::broken(Outcome::Internal, error.to_string())),
        }
    }

    pub(super) fn open_again(&mut self, key: Key, now: Moment, shared: &mut Shared) -> Next {
        let stage = std::mem::replace(&mut self.stage, Stage::Relay);
        let (Stage::Opening(opening) | Stage::HandingOff(opening)) = stage else {
            self.stage = stage;
            return Next::Wait;
        };
        let reached = self.reach(&opening.choice, &opening.facts, shared);
        if reached.is_ok() {
            shared.counters.connect.note(opening.since, now);
        }
        match reached {
            Ok(Some((socket, header))) => {
                self.target = Some(socket);
                self.begin(key, header, &opening.facts, &opening.received, shared)
            }
            Ok(None) => Next::Close(End::new(Outcome::HandedOff)),
            Err(error) if error.passes() && now < opening.until => {
                self.await_target(key, now, *opening, shared)
            }
            Err(error) => self.unreachable(key, error, shared),
        }
    }

    fn unreachable(&mut self, key: Key, error: ConnectError, shared: &mut Shared) -> Next {
        let (alert, outcome, reason) = match error {
            ConnectError::Busy => (
                Alert::InternalError,
                Outcome::TargetTimeout,
                "the target's queue stayed full".to_owned(),
            ),
            ConnectError::NoHost(error) => (
                Alert::UnrecognizedName,
                Outcome::RefusedName,
                self.without_host(error),
            ),
            ConnectError::NoTarget(error) => (
                Alert::UnrecognizedName,
                Outcome::TargetUnreachable,
                format!("the target's socket: {error}"),
            ),
            ConnectError::Link { owner, target } => (
                Alert::UnrecognizedName,
                Outcome::TargetUnreachable,
                format!(
                    "a link of user {owner} leads to what belongs to user {target}: a link is \
                     followed only to what its owner owns, unless it is root's"
                ),
            ),
            ConnectError::Listener { owner, listener } => (
                Alert::UnrecognizedName,
                Outcome::TargetUnreachable,
                format!(
                    "user {listener} listens on a socket of user {owner}: without /proc this is \
                     taken only in a folder that root alone can change"
                ),
            ),
            ConnectError::NoRelay => (
                Alert::InternalError,
                Outcome::TargetUnreachable,
                "the host only takes connections that are handed off, and a hello this long or \
                 in so many pieces cannot stay in the socket for that"
                    .to_owned(),
            ),
            ConnectError::Local(error) => (
                Alert::InternalError,
                Outcome::Internal,
                format!("no socket for the target: {error}"),
            ),
        };
        self.unreached(key, alert, outcome, reason, shared)
    }

    /// Says so to the client as far as it can be understood.
    pub(super) fn unreached(
        &mut self,
        key: Key,
        alert: Alert,
        outcome: Outcome,
        reason: String,
        shared: &mut Shared,
    ) -> Next {
        match self.terms.route {
            // The client may speak anything: only a reset is understood by all.
            Route::Target(_) => Next::Close(End::broken(outcome, reason)),
            Route::ServerName(_) => self.refuse(key, alert, outcome, reason, shared),
        }
    }

    /// Why no folder serves; nameless clients were looking for none of their own.
    fn without_host(&mut self, error: Errno) -> String {
        match &mut self.details {
            Some(details) if details.facts.name.is_none() => {
                details.choice = None;
                "the hello has no server name and there is no default route".to_owned()
            }
            _ => format!("the host's folder: {error}"),
        }
    }

    /// Sends the header and what was received, then watches both sides.
    pub(super) fn begin(
        &mut self,
        key: Key,
        header: SendProxy,
        facts: &Facts,
        received: &[u8],
        shared: &mut Shared,
    ) -> Next {
        self.stage = Stage::Relay;
        self.begin_idle(key, shared);
        if let Err(error) = self.take_peeked(received.len()) {
            let reason = format!("the client: {error}");
            return Next::Close(End::broken(Outcome::ClientAborted, reason));
        }
        let sent = match self.with_header(header, facts, received) {
            Ok(None) => self.send_first(received, shared),
            Ok(Some(bytes)) => self.send_first(&bytes, shared),
            Err(reason) => return Next::Close(End::broken(Outcome::Internal, reason)),
        };
        self.up.bytes = received.len() as u64;
        self.count(received.len() as u64, 0, shared);
        let blocked = match sent {
            Pumped::Blocked => true,
            // The target has closed already; what it said before is read below.
            Pumped::SinkFailed(_) => {
                self.up.discard(&mut shared.tools);
                false
            }
            _ => false,
        };
        // An edge of a client that was watched before is spent, or lies in this very batch.
        if self.client_watch.registered {
            shared.ready.push((key, Side::Client));
        }
        let watched = self
            .watch(key, Side::Client, false, shared)
            .and_then(|()| self.watch_for(key, Side::Target, false, blocked, shared));
        match watched {
            Ok(()) => Next::Wait,
            Err(error) => Next::Close(End::broken(Outcome::Internal, error.to_string())),
        }
    }

    /// The header and the received bytes in one piece; `None` where no header is wanted.
    fn with_header(
        &self,
        header: SendProxy,
        facts: &Facts,
        received: &[u8],
    ) -> Result<Option<Vec<u8>>, String> {
        let mut bytes = Vec::with_capacity(256 + received.len());
        match header {
            SendProxy::None => return Ok(None),
            SendProxy::V1 => write_v1(&mut bytes, &self.origin()),
            SendProxy::V2 => {
                let values = Values {
                    // Which of several offers the target will take is not known.
                    alpn: match facts.alpn.as_slice() {
                        [only] => Some(only),
                        _ => None,
                    },
                    authority: facts.name.as_ref().map(AsRef::as_ref),
                    unique_id: None,
                };
                write_v2(&mut bytes, &self.origin(), &values).map_err(|error| error.to_string())?;
            }
        }
        bytes.extend_from_slice(received);
        Ok(Some(bytes))
    }

    /// Whom the connection speaks for: whom a PROXY header named, or its own ends.
    pub(super) fn origin(&self) -> Origin {
        self.named_origin().unwrap_or_else(|| origin(&self.client))
    }

    /// Whom a PROXY header named.
    pub(super) fn named_origin(&self) -> Option<Origin> {
        self.admitted.as_ref()?.origin.as_deref().copied()
    }

    fn send_first(&mut self, bytes: &[u8], shared: &mut Shared) -> Pumped {
        match &self.target {
            Some(_) if bytes.is_empty() => Pumped::Drained,
            Some(target) => {
                use std::os::fd::AsFd;
                self.up.begin(target.as_fd(), bytes, &mut shared.tools)
            }
            None => Pumped::SinkFailed(Errno::NOTCONN),
        }
    }

    /// Counts relayed bytes where they are asked for.
    pub(super) fn count(&self, up: u64, down: u64, shared: &Shared) {
        if up > 0 {
            shared.counters.bytes_to_target.add(up);
            self.terms.counters.bytes_to_target.add(up);
        }
        if down > 0 {
            shared.counters.bytes_to_client.add(down);
            self.terms.counters.bytes_to_client.add(down);
        }
        if let Some(app) = &self.app {
            app.bytes_to_target.add(up);
            app.bytes_to_client.add(down);
        }
    }
}
