//! The end of a connection: sockets, counters, log line.

use std::time::Duration;

use cloister_proto::messages::door::{ConnectionRecord, Outcome};
use rustix::net::sockopt::set_socket_linger;

use super::{Connection, Details, End, Shared};
use crate::clock::{Moment, wall_micros};

impl Connection {
    /// Closes both sockets and gives back everything that is shared; the log line, where
    /// connections are logged.
    pub fn close(mut self, end: &End, shared: &mut Shared) -> Option<ConnectionRecord> {
        self.up.release(&mut shared.tools);
        self.down.release(&mut shared.tools);
        if end.reset {
            // Zero: close(2) discards what is unsent and sends a reset (socket(7)).
            if self.tcp {
                let _ = set_socket_linger(&self.client, Some(Duration::ZERO));
            }
            if let Some(target) = self.target.as_ref().filter(|_| self.target_tcp) {
                let _ = set_socket_linger(target, Some(Duration::ZERO));
            }
        }
        self.terms.counters.outcomes.count(end.outcome);
        if let Some(places) = &self.terms.places {
            places.leave(Moment::now());
        }
        shared.counters.count(end.outcome);
        // Last: whoever sees that it is no longer open finds how it ended.
        self.terms.counters.active.leave();
        shared.counters.active.leave();
        if let Some(app) = &self.app {
            app.active.leave();
        }
        let details = self.details.take()?;
        Some(self.record(&details, end))
    }

    fn record(&self, details: &Details, end: &End) -> ConnectionRecord {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let handed_off = end.outcome == Outcome::HandedOff;
        let duration = Moment::now().since(self.started).as_micros();
        ConnectionRecord {
            time_us: wall_micros(),
            listener: self.terms.counters.name.clone(),
            client: details.client.to_string(),
            name: details.facts.name.as_ref().map(ToString::to_string),
            alpn: details.facts.alpn.iter().map(text).collect(),
            app: self.app.as_ref().map(|app| app.name.clone()),
            target: details
                .choice
                .as_ref()
                .map(|choice| choice.describe(handed_off)),
            bytes_to_target: self.up.bytes,
            bytes_to_client: self.down.bytes,
            duration_us: u64::try_from(duration).unwrap_or(u64::MAX),
            outcome: end.outcome,
            reason: end.reason.as_ref().map(ToString::to_string),
        }
    }
}
