//! Deadlines without a system call or a stored position each.
//!
//! A connection that waits for something enters its deadline here and forgets about it:
//! entries of connections that moved on are skipped when they come up, and swept out when
//! they are the majority. A connection whose hello comes with its first segment never enters.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::clock::Moment;
use crate::slab::Key;

/// Below this many entries nothing is swept.
const SWEEP_FROM: usize = 1024;

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// The step that the connection was in.
    Deadline,
    /// Its idle time-out; a relayed connection has at most one such entry.
    Idle,
}

/// A heap of deadlines.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Moment, Key, Purpose)>>,
}

impl Timers {
    /// Wakes the connection at `moment`.
    pub fn enter(&mut self, moment: Moment, key: Key) {
        self.heap.push(Reverse((moment, key, Purpose::Deadline)));
    }

    /// Wakes the connection at `moment` to see whether it is idle.
    pub fn enter_idle(&mut self, moment: Moment, key: Key) {
        self.heap.push(Reverse((moment, key, Purpose::Idle)));
    }

    /// Takes out one entry that is due.
    pub fn due(&mut self, now: Moment) -> Option<(Key, Purpose)> {
        let Reverse((moment, key, purpose)) = *self.heap.peek()?;
        if moment > now {
            return None;
        }
        self.heap.pop();
        Some((key, purpose))
    }

    /// How long until the next entry of a connection that `alive` knows; `None` where there
    /// is none. Entries of others before it are dropped: nothing wakes up for them.
    pub fn next(&mut self, now: Moment, mut alive: impl FnMut(Key) -> bool) -> Option<Duration> {
        loop {
            let Reverse((moment, key, _)) = *self.heap.peek()?;
            if alive(key) {
                return Some(moment.since(now));
            }
            self.heap.pop();
        }
    }

    /// Drops the entries of connections that `alive` does not know, when there are many more
    /// entries than the `live` connections could need.
    pub fn sweep(&mut self, live: usize, mut alive: impl FnMut(Key) -> bool) {
        if self.heap.len() > SWEEP_FROM.max(4 * live) {
            self.heap.retain(|Reverse((_, key, _))| alive(*key));
            self.heap.shrink_to(SWEEP_FROM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    #[test]
    fn entries_come_up_in_order_and_not_before() {
        let mut slab = Slab::default();
        let (first, second) = (slab.insert(()), slab.insert(()));
        let start = Moment::from_micros(1000);
        let mut timers = Timers::default();
        timers.enter(start.after(Duration::from_micros(20)), second);
        timers.enter_idle(start.after(Duration::from_micros(10)), first);
        assert_eq!(timers.due(start), None);
        assert_eq!(
            timers.next(start, |_| true),
            Some(Duration::from_micros(10))
        );
        let later = start.after(Duration::from_micros(20));
        assert_eq!(timers.due(later), Some((first, Purpose::Idle)));
        assert_eq!(timers.due(later), Some((second, Purpose::Deadline)));
        assert_eq!(timers.due(later), None);
        assert_eq!(timers.next(later, |_| true), None);
    }

    #[test]
    fn nothing_wakes_up_for_dead_entries() {
        let mut slab = Slab::default();
        let mut timers = Timers::default();
        for micros in 1..10 {
            let key = slab.insert(());
            timers.enter(Moment::from_micros(micros), key);
            slab.remove(key);
        }
        let start = Moment::from_micros(0);
        let alive = |key| slab.get_mut(key).is_some();
        assert_eq!(timers.next(start, alive), None);
    }

    #[test]
    fn dead_entries_are_swept_out() {
        let mut slab = Slab::default();
        let mut timers = Timers::default();
        let keeper = slab.insert(());
        timers.enter(Moment::from_micros(5), keeper);
        for _ in 0..2 * SWEEP_FROM {
            let key = slab.insert(());
            timers.enter(Moment::from_micros(9), key);
            slab.remove(key);
        }
        timers.sweep(slab.len(), |key| slab.get_mut(key).is_some());
        assert_eq!(timers.heap.len(), 1);
        assert_eq!(
            timers.due(Moment::from_micros(5)),
            Some((keeper, Purpose::Deadline))
        );
    }
}
