//! Polling before sleeping, where that pays.
//!
//! Waking an idle CPU costs 20 to 25 us, and a relayed round trip has four such wake-ups: on
//! a conversation of small messages they are most of the latency, and a good part of the CPU
//! time. So a worker that has just moved a small message of such a conversation looks for the
//! next event for up to `LONGEST` before it sleeps.
//!
//! That is only worth it when the next event does come so soon. Each fruitless poll is paid
//! from an account that refills with a twentieth of the time that passes: when nothing comes, a worker
//! burns at most 5 % of a core. It also does so when peers cannot come because they wait for this
//! very CPU, so a worker that shares its one core (by affinity) finds that out by itself. On a
//! machine with one core online nobody can answer while the worker polls, and it never does.

use std::time::Duration;

use crate::clock::Moment;

/// How long a poll goes on.
const LONGEST: Duration = Duration::from_micros(50);

/// The account never holds more than this.
const RESERVE: Duration = Duration::from_millis(2);

/// One part in this many of the time may be spent fruitlessly.
const SHARE: u32 = 20;

/// Decides whether to poll.
#[derive(Clone, Debug)]
pub struct Spin {
    allowed: bool,
    account: Duration,
    refilled: Moment,
}

impl Spin {
    /// Whether polling makes sense on this machine is the caller's to know: more than one
    /// CPU online.
    #[must_use]
    pub fn new(allowed: bool) -> Self {
        Self {
            allowed,
            account: RESERVE,
            refilled: Moment::now(),
        }
    }

    /// Calls `look` until it is true or the time is over.
    pub fn poll(&mut self, mut look: impl FnMut() -> bool) {
        if !self.allowed {
            return;
        }
        let begin = Moment::now();
        let earned = begin.since(self.refilled) / SHARE;
        self.refilled = begin;
        self.account = (self.account + earned).min(RESERVE);
        if self.account < LONGEST {
            return;
        }
        loop {
            if look() {
                return;
            }
            let spent = Moment::now().since(begin);
            if spent >= LONGEST {
                self.account = self.account.saturating_sub(spent);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_ends_the_poll_and_costs_nothing() {
        let mut spin = Spin::new(true);
        let mut looks = 0;
        for _ in 0..1000 {
            spin.poll(|| {
                looks += 1;
                true
            });
        }
        assert_eq!(looks, 1000);
        assert_eq!(spin.account, RESERVE);
    }

    #[test]
    fn fruitless_polls_exhaust_the_account() {
        let mut spin = Spin::new(true);
        let begin = Moment::now();
        let mut polls = 0;
        for _ in 0..100_000 {
            let mut looked = false;
            spin.poll(|| {
                looked = true;
                false
            });
            polls += u32::from(looked);
        }
        let elapsed = Moment::now().since(begin);
        let affordable = (RESERVE + elapsed / SHARE).as_micros() / LONGEST.as_micros();
        assert!(u128::from(polls) <= affordable + 1, "{polls} polls");
    }

    #[test]
    fn one_core_never_polls() {
        Spin::new(false).poll(|| panic!("polled"));
    }
}
