//! Ends that the other side really gets to see.
//!
//! Closing a TCP socket with unread bytes in it sends a reset, and a reset may overtake what
//! was sent before it: the alert would be lost. So the door says its last word, shuts its
//! direction, and reads what the client still sends, bounded in time and bytes.

use std::borrow::Cow;
use std::os::fd::AsFd;
use std::time::Duration;

use cloister_proto::alert::Alert;
use cloister_proto::messages::door::Outcome;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::{Connection, Details, End, Linger, Next, Shared, Side, Stage};
use crate::clock::{Moment, wall_micros};
use crate::slab::Key;
use cloister_proto::messages::door::ConnectionRecord;

/// How long a lingering connection may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many bytes are read from it.
const BUDGET: usize = 256 * 1024;

impl Connection {
    /// Sends an alert and lingers until the client has seen it.
    pub(super) fn refuse(
        &mut self,
        key: Key,
        alert: Alert,
        outcome: Outcome,
        reason: impl Into<Cow<'static, str>>,
        shared: &mut Shared,
    ) -> Next {
        self.send_alert(alert);
        let _ = shutdown(&self.client, Shutdown::Write);
        let mut end = End::new(outcome);
        end.reason = Some(reason.into());
        self.begin_linger(key, end, shared)
    }

    /// A new socket has room for seven bytes; where it has not, the client is gone.
    pub(super) fn send_alert(&self, alert: Alert) {
        let _ = send(&self.client, &alert.record(), SendFlags::NOSIGNAL);
    }

    /// The target is gone after a clean end, which the client was told when the flow to it
    /// ended: it gets some time to close.
    pub(super) fn linger_after_relay(&mut self, key: Key, shared: &mut Shared) -> Next {
        self.up.release(&mut shared.tools);
        self.target = None;
        self.begin_linger(key, End::new(Outcome::Complete), shared)
    }

    /// Waits for the client's end. The client's socket must have been shut down for writing.
    fn begin_linger(&mut self, key: Key, end: End, shared: &mut Shared) -> Next {
        let until = Moment::now().after(PATIENCE);
        self.stage = Stage::Linger(Box::new(Linger {
            end,
            until,
            budget: BUDGET,
        }));
        // The edge of a client that was watched before is spent.
        if self.client_watch.registered {
            shared.ready.push((key, Side::Client));
        }
        shared.timers.enter(until, key);
        match self.watch(key, Side::Client, false, shared) {
            Ok(()) => Next::Wait,
            Err(error) => Next::Close(End::broken(Outcome::Internal, error.to_string())),
        }
    }

    pub(super) fn linger(&mut self, shared: &mut Shared) -> Next {
        let Stage::Linger(linger) = &mut self.stage else {
            return Next::Wait;
        };
        loop {
            let buffer = &mut *shared.tools.buffer;
            match recv(self.client.as_fd(), buffer, RecvFlags::empty()) {
                Ok((_, count)) if count > 0 && count < linger.budget => linger.budget -= count,
                Err(Errno::AGAIN) => return Next::Wait,
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return Next::Close(linger.end.clone()),
            }
        }
    }

    /// Closes both sockets and gives back everything that is shared; the log line, where
    /// connections are logged.
    pub fn close(mut self, end: &End, shared: &mut Shared) -> Option<ConnectionRecord> {
        self.up.release(&mut shared.tools);
        self.down.release(&mut shared.tools);
        if end.reset && self.tcp {
            // Zero: close(2) discards what is unsent and sends a reset (socket(7)).
            let _ = rustix::net::sockopt::set_socket_linger(&self.client, Some(Duration::ZERO));
        }
        self.terms.counters.active.leave();
        shared.counters.active.leave();
        shared.counters.count(end.outcome);
        if let Some(app) = &self.app {
            app.active.leave();
        }
        let details = self.details.take()?;
        Some(self.record(&details, end))
    }

    fn record(&self, details: &Details, end: &End) -> ConnectionRecord {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let duration = Moment::now().since(self.started).as_micros();
        ConnectionRecord {
            time_us: wall_micros(),
            listener: self.terms.counters.name.clone(),
            client: details.client.to_string(),
            name: details.facts.name.as_ref().map(ToString::to_string),
            alpn: details.facts.alpn.iter().map(text).collect(),
            app: self.app.as_ref().map(|app| app.name.clone()),
            target: details.choice.as_ref().map(crate::route::Choice::describe),
            bytes_to_target: self.up.bytes,
            bytes_to_client: self.down.bytes,
            duration_us: u64::try_from(duration).unwrap_or(u64::MAX),
            outcome: end.outcome,
            reason: end.reason.as_ref().map(ToString::to_string),
        }
    }
}
