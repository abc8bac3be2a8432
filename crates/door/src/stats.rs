//! Counters. Each worker writes its own; a reader adds them up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use cloister_proto::messages::door::{AppStatistics, ListenerStatistics, Outcome, Statistics};

/// Every outcome, in the order of the counters.
const OUTCOMES: [(Outcome, &str); 12] = [
    (Outcome::Complete, "complete"),
    (Outcome::ClientAborted, "client-aborted"),
    (Outcome::TargetAborted, "target-aborted"),
    (Outcome::RefusedLimit, "refused-limit"),
    (Outcome::RefusedHello, "refused-hello"),
    (Outcome::RefusedName, "refused-name"),
    (Outcome::HelloTimeout, "hello-timeout"),
    (Outcome::HelloIncomplete, "hello-incomplete"),
    (Outcome::TargetUnreachable, "target-unreachable"),
    (Outcome::TargetTimeout, "target-timeout"),
    (Outcome::Drained, "drained"),
    (Outcome::Internal, "internal"),
];

/// A number that goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many there are now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// One more; returns how many there were before.
    pub fn enter(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// One less.
    pub fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One listener's counters; they survive the snapshots that name the listener, and outlive
/// its socket while connections are open.
#[derive(Debug)]
pub struct ListenerCounters {
    /// Its name in the configuration.
    pub name: String,
    /// Its address for people.
    pub address: String,
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections open now.
    pub active: Gauge,
}

impl ListenerCounters {
    /// Counters at zero.
    #[must_use]
    pub fn new(name: &str, address: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            address: address.to_owned(),
            accepted: Counter::default(),
            active: Gauge::default(),
        })
    }

    /// The values.
    #[must_use]
    pub fn read(&self) -> ListenerStatistics {
        ListenerStatistics {
            name: self.name.clone(),
            address: self.address.clone(),
            accepted: self.accepted.get(),
            active: u64::from(self.active.get()),
        }
    }
}

/// One application's counters; they survive snapshots by name.
#[derive(Debug)]
pub struct AppCounters {
    /// Its name in the configuration.
    pub name: String,
    /// Connections routed to it.
    pub accepted: Counter,
    /// Connections open now.
    pub active: Gauge,
    /// Bytes to it.
    pub bytes_to_target: Counter,
    /// Bytes from it.
    pub bytes_to_client: Counter,
}

impl AppCounters {
    /// Counters at zero.
    #[must_use]
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            accepted: Counter::default(),
            active: Gauge::default(),
            bytes_to_target: Counter::default(),
            bytes_to_client: Counter::default(),
        })
    }

    /// The values.
    #[must_use]
    pub fn read(&self) -> AppStatistics {
        AppStatistics {
            name: self.name.clone(),
            accepted: self.accepted.get(),
            active: u64::from(self.active.get()),
            bytes_to_target: self.bytes_to_target.get(),
            bytes_to_client: self.bytes_to_client.get(),
        }
    }
}

/// What one worker counts.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections open now.
    pub active: Gauge,
    /// Bytes from clients.
    pub bytes_to_target: Counter,
    /// Bytes to clients.
    pub bytes_to_client: Counter,
    outcomes: [Counter; OUTCOMES.len()],
}

impl WorkerCounters {
    /// Counts one end.
    pub fn count(&self, outcome: Outcome) {
        if let Some(place) = OUTCOMES.iter().position(|(known, _)| *known == outcome) {
            self.outcomes[place].add(1);
        }
    }

    /// Adds this worker's values to the sums.
    pub fn add_to(&self, sums: &mut Statistics) {
        sums.accepted += self.accepted.get();
        sums.active += u64::from(self.active.get());
        sums.bytes_to_target += self.bytes_to_target.get();
        sums.bytes_to_client += self.bytes_to_client.get();
        for ((_, name), counter) in OUTCOMES.iter().zip(&self.outcomes) {
            if counter.get() > 0 {
                *sums.outcomes.entry((*name).to_owned()).or_insert(0) += counter.get();
            }
        }
    }
}

/// Statistics with every number at zero.
#[must_use]
pub fn nothing(generation: u64, workers: u16) -> Statistics {
    Statistics {
        generation,
        workers,
        outcomes: BTreeMap::new(),
        ..Statistics::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_outcomes_are_those_of_the_messages() {
        for (outcome, name) in OUTCOMES {
            let text = serde_json::to_string(&outcome).expect("plain");
            assert_eq!(text, format!("\"{name}\""));
        }
    }

    #[test]
    fn workers_add_up() {
        let (first, second) = (WorkerCounters::default(), WorkerCounters::default());
        first.count(Outcome::Complete);
        second.count(Outcome::Complete);
        second.count(Outcome::Internal);
        second.accepted.add(5);
        let mut sums = nothing(3, 2);
        first.add_to(&mut sums);
        second.add_to(&mut sums);
        assert_eq!(sums.outcomes["complete"], 2);
        assert_eq!(sums.outcomes["internal"], 1);
        assert_eq!((sums.accepted, sums.generation, sums.workers), (5, 3, 2));
    }
}
