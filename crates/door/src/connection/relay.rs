//! The two flows of an open connection, and its end.
//!
//! Each flow's end is handed on by itself (shutdown(2) `SHUT_WR` on its sink, after its last
//! byte); when the second one ends both sockets are closed. A broken side breaks the other
//! with a reset where the kernel has one, so that a truncated stream is not taken for a
//! complete one.

use std::os::fd::AsFd;

use cloister_proto::messages::door::Outcome;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use super::bulk::Way;
use super::flow::Pumped;
use super::{Connection, End, Next, Shared, Side, Stage};
use crate::clock::thread_time;
use crate::slab::Key;

/// At most this many bytes in one wake-up are a message of a conversation.
const SMALL: u64 = 16 * 1024;

/// A conversation begins after this many small messages in a row.
const CONVERSATION: u8 = 8;

impl Connection {
    pub(super) fn relay(
        &mut self,
        key: Key,
        side: Side,
        flags: EventFlags,
        shared: &mut Shared,
    ) -> Next {
        let other = match side {
            Side::Client => Side::Target,
            Side::Target => Side::Client,
        };
        if flags.contains(EventFlags::OUT) && self.watch_mut(side).output {
            // The peer has taken bytes, or there would be no room.
            self.touch(shared);
            if let Next::Close(end) = self.drive(key, other, shared) {
                return Next::Close(end);
            }
        }
        let readable = EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(readable) {
            let failed = flags.contains(EventFlags::ERR);
            let flow = self.flow(side);
            // Nobody will read the error out of a socket whose flow is over or held up.
            if failed && side == Side::Client && (flow.finished() || flow.blocked()) {
                return Next::Close(self.broken(Side::Client, Errno::CONNRESET));
            }
            let next = if self.watch_mut(other).output {
                // Held up by its sink: reading goes on when that has room.
                self.listen_to(key, side, false, shared)
            } else {
                self.drive(key, side, shared)
            };
            if let Next::Close(end) = next {
                return Next::Close(end);
            }
        }
        // Both directions of the target's socket are shut and everything that it said is
        // handed on: what the client may still send reaches nobody.
        let over = self.target_watch.gone && self.down.finished();
        if over && matches!(self.stage, Stage::Relay) {
            // A flow that its sink did not hold up has read everything, or has its turn to come.
            let unread = self.up.blocked();
            return self.linger_after_relay(key, unread, shared);
        }
        Next::Wait
    }

    /// Pumps the flow whose source is `from`.
    fn drive(&mut self, key: Key, from: Side, shared: &mut Shared) -> Next {
        let Some(target) = &self.target else {
            return Next::Wait;
        };
        let (client, target) = (self.client.as_fd(), target.as_fd());
        let varies = from == Side::Target && self.tcp && !self.target_tcp && self.down.bulk();
        let measured = varies.then(|| shared.tools.costs.choose());
        // What waits for the sink before or afterwards is another burst's time.
        let whole = !self.down.blocked();
        let begun = measured.filter(|_| whole).map(|_| thread_time());
        let (flow, source, sink, hangup, splice, to) = match from {
            Side::Client => {
                let hangup = self.client_watch.hangup;
                // Out of a TCP socket splicing moves pages instead of bytes, into whatever sink
                // (TCP to TCP: two thirds of the time of copying); between two Unix sockets
                // copying is cheaper.
                (&mut self.up, client, target, hangup, self.tcp, Side::Target)
            }
            Side::Target => {
                let hangup = self.target_watch.hangup;
                // Out of a Unix socket into TCP it depends on the machine.
                let splice = self.target_tcp || measured == Some(Way::Splice);
                (&mut self.down, target, client, hangup, splice, Side::Client)
            }
        };
        if flow.finished() {
            return Next::Wait;
        }
        let before = flow.bytes;
        let pumped = flow.pump(source, sink, hangup, splice, &mut shared.tools);
        let moved = flow.bytes - before;
        if let (Some(way), Some(begun)) = (measured, begun)
            && !flow.blocked()
        {
            let costs = &mut shared.tools.costs;
            costs.note(way, moved, thread_time().saturating_sub(begun));
        }
        if moved > 0 {
            self.active = shared.now.tick();
        }
        match from {
            Side::Client => self.count(moved, 0, shared),
            Side::Target => {
                if before == 0 && moved > 0 {
                    shared.counters.answer.note(self.started, shared.now);
                }
                self.count(0, moved, shared);
            }
        }
        self.converse(key, to, moved, shared);
        match pumped {
            Pumped::Drained => match self.ask_output(key, to, false, shared) {
                Next::Wait => self.listen_to(key, from, true, shared),
                close @ Next::Close(_) => close,
            },
            Pumped::Blocked => self.ask_output(key, to, true, shared),
            Pumped::More => {
                shared.ready.push((key, from));
                self.ask_output(key, to, false, shared)
            }
            Pumped::Ended => self.flow_ended(key, from, to, shared),
            Pumped::SourceFailed(error) if from == Side::Target => {
                let end = self.broken(from, error);
                self.reset_after_delivery(key, end, shared)
            }
            Pumped::SourceFailed(error) => Next::Close(self.broken(from, error)),
            Pumped::SinkFailed(error) => self.sink_failed(key, to, error, shared),
        }
    }

    fn flow_ended(&mut self, key: Key, from: Side, to: Side, shared: &mut Shared) -> Next {
        if self.up.finished() && self.down.finished() {
            return Next::Close(End::new(Outcome::Complete));
        }
        if !self.flow(from).discards()
            && let Some(socket) = self.socket(to)
        {
            // ENOTCONN: the peer has gone; its own event says so.
            let _ = shutdown(socket, Shutdown::Write);
        }
        self.ask_output(key, to, false, shared)
    }

    /// A sink takes nothing any more. What the target has said before it closed is still to
    /// be read, and its end or error follows; a client that is gone ends everything.
    fn sink_failed(&mut self, key: Key, sink: Side, error: Errno, shared: &mut Shared) -> Next {
        if sink == Side::Client || !matches!(error, Errno::PIPE | Errno::CONNRESET) {
            return Next::Close(self.broken(sink, error));
        }
        if self.down.finished() {
            return self.linger_after_relay(key, true, shared);
        }
        self.up.discard(&mut shared.tools);
        self.target_watch.hangup = true;
        shared.ready.push((key, Side::Client));
        shared.ready.push((key, Side::Target));
        self.ask_output(key, Side::Target, false, shared)
    }

    fn broken(&self, side: Side, error: Errno) -> End {
        match side {
            // A client that has said its last word and closed, which is how most end TLS: the
            // target's farewell then meets a reset. Nothing that it wanted is missing.
            Side::Client if self.up.finished() => {
                let mut end = End::new(Outcome::Complete);
                end.reason = Some("the client closed before the target's end".into());
                end
            }
            Side::Client => End::broken(Outcome::ClientAborted, format!("the client: {error}")),
            Side::Target => End::broken(Outcome::TargetAborted, format!("the target: {error}")),
        }
    }

    fn ask_output(&mut self, key: Key, side: Side, output: bool, shared: &Shared) -> Next {
        match self.watch(key, side, output, shared) {
            Ok(()) => Next::Wait,
            Err(error) => Next::Close(End::broken(Outcome::Internal, error.to_string())),
        }
    }

    fn listen_to(&mut self, key: Key, side: Side, listen: bool, shared: &Shared) -> Next {
        match self.mute(key, side, !listen, shared) {
            Ok(()) => Next::Wait,
            Err(error) => Next::Close(End::broken(Outcome::Internal, error.to_string())),
        }
    }

    /// Notes whether this connection exchanges small messages; one was moved to `to`.
    fn converse(&mut self, key: Key, to: Side, moved: u64, shared: &mut Shared) {
        if moved > SMALL {
            self.small = 0;
        } else if moved > 0 {
            self.small = self.small.saturating_add(1);
            if self.small >= CONVERSATION {
                shared.conversing.note(key, to);
            }
        }
    }

    const fn flow(&self, source: Side) -> &super::Flow {
        match source {
            Side::Client => &self.up,
            Side::Target => &self.down,
        }
    }
}
