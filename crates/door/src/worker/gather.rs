//! Taking connections at a pace, where many come.
//!
//! An idle CPU that is woken for each connection spends a good part of its time on being woken,
//! and what is handed off goes in messages of its own. So a worker that is woken for connections
//! faster than [`OFTEN`] takes its listeners out of the epoll set and looks into their queues
//! every [`PACE`], as network cards moderate their interrupts: what came meanwhile is accepted,
//! routed and handed off together. Nothing else waits: the events of connections wake the worker
//! as ever. Where fewer come again, the listeners return to the epoll set, and an idle worker
//! sleeps without a timer.

use std::time::Duration;

use rustix::event::epoll;

use super::Worker;
use crate::clock::Moment;

/// Between two looks into the queues: a connection is late by as much at most, by half of it on
/// the average. The kernel may add the thread's timer slack (50 us, prctl(2)).
const PACE: Duration = Duration::from_micros(300);

/// Within this time a worker is woken [`OFTEN`] times before it begins.
const WINDOW: Duration = Duration::from_millis(1);
const OFTEN: u32 = 6;

/// Where so many looks, which take as long, found less than [`ENOUGH`] connections, it ends.
const LOOKS: u32 = 5;
const ENOUGH: u64 = 4;

/// Decides when to look at a pace. Has no clock of its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gathering {
    /// Begin of the time in which wake-ups are counted.
    window: Option<Moment>,
    woken: u32,
    /// The next look, while it lasts.
    next: Option<Moment>,
    /// Looks since it was last seen whether it pays, and what they found.
    looks: u32,
    found: u64,
}

impl Gathering {
    /// The moment of the next look; `None` where listeners wake the worker.
    pub(super) const fn next(&self) -> Option<Moment> {
        self.next
    }

    /// Counts a wake-up by a listener. True where the listeners shall leave the epoll set now.
    fn woken(&mut self, now: Moment) -> bool {
        if self.window.is_none_or(|begin| now.since(begin) > WINDOW) {
            self.window = Some(now);
            self.woken = 0;
        }
        self.woken += 1;
        // Two listeners may wake it at once, the second when it has just begun.
        let begins = self.woken >= OFTEN && self.next.is_none();
        if begins {
            self.next = Some(now.after(PACE));
        }
        begins
    }

    /// Notes what a look has found. True where the listeners shall return.
    fn looked(&mut self, now: Moment, found: u64) -> bool {
        self.next = Some(now.after(PACE));
        self.looks += 1;
        self.found += found;
        if self.looks < LOOKS {
            return false;
        }
        let ends = self.found < ENOUGH;
        if ends {
            self.stop();
        }
        (self.looks, self.found) = (0, 0);
        ends
    }

    /// Listeners wake the worker again, or rest for another reason.
    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }
}

impl Worker {
    /// Takes connections from the listener that woke this worker.
    pub(super) fn accept_woken(&mut self, id: u64) {
        self.accept(id);
        let resting = self.resting.is_some() || self.full.is_some();
        if !resting && self.gathering.woken(self.shared.now) {
            for socket in &self.listening {
                let _ = epoll::delete(&self.shared.epoll, &socket.descriptor);
            }
        }
    }

    /// Looks into the listeners' queues, where it is time to.
    pub(super) fn gather(&mut self) {
        if self
            .gathering
            .next()
            .is_none_or(|next| self.shared.now < next)
        {
            return;
        }
        if self.listening.is_empty() {
            self.gathering.stop();
            return;
        }
        let before = self.shared.counters.accepted.get();
        for id in self.listening.iter().map(|one| one.id).collect::<Vec<_>>() {
            self.accept(u64::from(id));
        }
        if self.resting.is_some() || self.full.is_some() {
            self.gathering.stop();
        } else {
            let found = self.shared.counters.accepted.get() - before;
            self.shared.now = Moment::now();
            if self.gathering.looked(self.shared.now, found) {
                self.wake_listeners();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Moment {
        Moment::from_micros(micros)
    }

    /// One that has begun at this moment.
    fn begun(micros: u64) -> Gathering {
        let mut gathering = Gathering::default();
        let begins: Vec<bool> = (0..OFTEN).map(|_| gathering.woken(at(micros))).collect();
        assert_eq!(begins, [false, false, false, false, false, true]);
        gathering
    }

    #[test]
    fn connections_in_quick_succession_begin_it_once() {
        let mut gathering = begun(5_000);
        assert_eq!(gathering.next(), Some(at(5_300)));
        assert!(!gathering.woken(at(5_001)));
        assert_eq!(gathering.next(), Some(at(5_300)));
    }

    #[test]
    fn connections_now_and_then_never_begin_it() {
        let mut gathering = Gathering::default();
        for number in 0..10_000 {
            assert!(!gathering.woken(at(number * 250)));
            assert_eq!(gathering.next(), None);
        }
    }

    #[test]
    fn it_goes_on_while_enough_come() {
        let mut gathering = begun(0);
        for number in 1..1_000 {
            let now = at(number * 300);
            // As many as must come, all at once.
            let found = if number % u64::from(LOOKS) == 0 {
                ENOUGH
            } else {
                0
            };
            assert!(!gathering.looked(now, found));
            assert_eq!(gathering.next(), Some(now.after(PACE)));
        }
    }

    #[test]
    fn it_ends_where_few_come_and_leaves_no_timer() {
        let mut gathering = begun(0);
        let ends: Vec<bool> = (1..=5)
            .map(|number| gathering.looked(at(number * 300), u64::from(number < ENOUGH)))
            .collect();
        assert_eq!(ends, [false, false, false, false, true]);
        assert_eq!(gathering, Gathering::default());
    }

    #[test]
    fn what_came_before_does_not_keep_it_going() {
        let mut gathering = begun(0);
        let mut found = vec![1_000];
        found.resize(2 * LOOKS as usize, 0);
        let ends = found
            .iter()
            .position(|&found| gathering.looked(at(0), found));
        assert_eq!(ends, Some(2 * LOOKS as usize - 1));
    }
}
