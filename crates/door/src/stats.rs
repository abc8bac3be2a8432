//! Counters. Each worker writes its own; a reader adds them up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use cloister_proto::messages::door::{
    AppStatistics, Histogram, ListenerStatistics, Outcome, Statistics,
};

use crate::clock::Moment;

/// Every outcome, in the order of the counters.
const OUTCOMES: [(Outcome, &str); 17] = [
    (Outcome::Complete, "complete"),
    (Outcome::ClientAborted, "client-aborted"),
    (Outcome::TargetAborted, "target-aborted"),
    (Outcome::RefusedLimit, "refused-limit"),
    (Outcome::RefusedClientLimit, "refused-client-limit"),
    (Outcome::RefusedHostLimit, "refused-host-limit"),
    (Outcome::RefusedProxy, "refused-proxy"),
    (Outcome::RefusedHello, "refused-hello"),
    (Outcome::RefusedName, "refused-name"),
    (Outcome::HelloTimeout, "hello-timeout"),
    (Outcome::HelloIncomplete, "hello-incomplete"),
    (Outcome::TargetUnreachable, "target-unreachable"),
    (Outcome::TargetTimeout, "target-timeout"),
    (Outcome::IdleTimeout, "idle-timeout"),
    (Outcome::HandedOff, "handed-off"),
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

/// The longest duration of each bucket but the last, in microseconds.
const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// How long something took, how often. Only one thread may note durations in it: that makes
/// it cost two plain additions, without a locked instruction.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Durations {
    /// Notes one that ends at `now`. The caller has both moments already: no clock is read.
    pub fn note(&self, since: Moment, now: Moment) {
        let micros = now.as_micros().saturating_sub(since.as_micros());
        let place = BOUNDS_US.iter().position(|bound| micros <= *bound);
        let place = place.unwrap_or(BOUNDS_US.len());
        for (number, more) in [(&self.counts[place], 1), (&self.sum_us, micros)] {
            let before = number.load(Ordering::Relaxed);
            number.store(before.wrapping_add(more), Ordering::Relaxed);
        }
    }

    /// Adds what was noted to sums that [`nothing`] began.
    fn add_to(&self, sums: &mut Histogram) {
        for (sum, count) in sums.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        sums.sum_us += self.sum_us.load(Ordering::Relaxed);
    }
}

/// How connections ended.
#[derive(Debug, Default)]
pub struct OutcomeCounters([Counter; OUTCOMES.len()]);

impl OutcomeCounters {
    /// Counts one end.
    pub fn count(&self, outcome: Outcome) {
        if let Some(place) = OUTCOMES.iter().position(|(known, _)| *known == outcome) {
            self.0[place].add(1);
        }
    }

    /// Adds what happened at all to sums by name.
    fn add_to(&self, sums: &mut BTreeMap<String, u64>) {
        for ((_, name), counter) in OUTCOMES.iter().zip(&self.0) {
            if counter.get() > 0 {
                *sums.entry((*name).to_owned()).or_insert(0) += counter.get();
            }
        }
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
    /// Bytes from clients.
    pub bytes_to_target: Counter,
    /// Bytes to clients.
    pub bytes_to_client: Counter,
    /// How they ended.
    pub outcomes: OutcomeCounters,
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
            bytes_to_target: Counter::default(),
            bytes_to_client: Counter::default(),
            outcomes: OutcomeCounters::default(),
        })
    }

    /// The values.
    #[must_use]
    pub fn read(&self) -> ListenerStatistics {
        let mut outcomes = BTreeMap::new();
        self.outcomes.add_to(&mut outcomes);
        ListenerStatistics {
            name: self.name.clone(),
            address: self.address.clone(),
            accepted: self.accepted.get(),
            active: u64::from(self.active.get()),
            bytes_to_target: self.bytes_to_target.get(),
            bytes_to_client: self.bytes_to_client.get(),
            outcomes,
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
    /// How often it paused its listeners because something had run out.
    pub accept_pauses: Counter,
    /// From accept to the end of the hello.
    pub hello: Durations,
    /// From the decision where a connection goes to the connected target.
    pub connect: Durations,
    /// From accept to the target's first byte.
    pub answer: Durations,
    outcomes: OutcomeCounters,
}

impl WorkerCounters {
    /// Counts one end.
    pub fn count(&self, outcome: Outcome) {
        self.outcomes.count(outcome);
    }

    /// Adds this worker's values to the sums.
    pub fn add_to(&self, sums: &mut Statistics) {
        sums.accepted += self.accepted.get();
        sums.active += u64::from(self.active.get());
        sums.bytes_to_target += self.bytes_to_target.get();
        sums.bytes_to_client += self.bytes_to_client.get();
        sums.accept_pauses += self.accept_pauses.get();
        self.outcomes.add_to(&mut sums.outcomes);
        self.hello.add_to(&mut sums.hello);
        self.connect.add_to(&mut sums.connect);
        self.answer.add_to(&mut sums.answer);
    }
}

/// Statistics with every number at zero.
#[must_use]
pub fn nothing(generation: u64, workers: u16) -> Statistics {
    let none = Histogram {
        bounds_us: BOUNDS_US.to_vec(),
        counts: vec![0; BOUNDS_US.len() + 1],
        sum_us: 0,
    };
    Statistics {
        generation,
        workers,
        outcomes: BTreeMap::new(),
        hello: none.clone(),
        connect: none.clone(),
        answer: none,
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
    fn durations_fall_into_their_buckets() {
        let worker = WorkerCounters::default();
        let begin = Moment::from_micros(1_000_000);
        for micros in [0, 100, 101, 10_000_000, 10_000_001] {
            let end = Moment::from_micros(1_000_000 + micros);
            worker.connect.note(begin, end);
        }
        // A connection that is accepted within a batch begins after it.
        worker.connect.note(begin, Moment::from_micros(0));
        let mut sums = nothing(1, 1);
        worker.add_to(&mut sums);
        let counts = sums.connect.counts;
        assert_eq!(counts.len(), sums.connect.bounds_us.len() + 1);
        assert_eq!((counts[0], counts[1], counts[15], counts[16]), (3, 1, 1, 1));
        assert_eq!(counts.iter().sum::<u64>(), 6);
        assert_eq!(sums.connect.sum_us, 20_000_202);
        assert_eq!(sums.hello.counts.iter().sum::<u64>(), 0);
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
