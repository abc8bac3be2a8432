//! When a name is asked for, and what is said of it meanwhile. No clock, no I/O.
//!
//! [`table`] is all of the machine: what each event leads to in each phase. [`Schedule`] keeps
//! the times beside it.
//!
//! An answer is refreshed ahead of its expiry if it was used since the last look. A name that
//! nobody uses falls asleep once its answer has expired: then there is no timer, and the next
//! use asks anew. What is kept when there is no new answer:
//!
//! - No answer (time-out, SERVFAIL, REFUSED, no route to a server) says nothing about the
//!   name: the last good one is served for [`STALE_FOR`] more (RFC 8767 section 5: one to
//!   three days), while the pauses between questions grow to a minute.
//! - "There is no such name" is an answer, but often a mistake that somebody is mending: the
//!   last good one is served for [`HOLD_DELETED`], as haproxy's `hold nx` does, then it is
//!   gone. nginx would drop it at once.

use std::time::Duration;

use crate::clock::Moment;

/// TTLs below are taken as this: a TTL of 0 would ask for every connection.
pub const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// TTLs above are taken as this; more would keep a mistake for as long as somebody could
/// write down, 2^31 s.
pub const LONGEST_TTL: Duration = Duration::from_secs(3600);

/// How long "no such name" is believed at most, whatever the SOA record says: a target that is
/// started after its door should be found soon.
pub const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// The same while the last good answer is held.
const LONGEST_PAUSE_WHILE_HELD: Duration = Duration::from_secs(5);

/// See the module.
pub const STALE_FOR: Duration = Duration::from_secs(3 * 24 * 3600);

/// See the module.
pub const HOLD_DELETED: Duration = Duration::from_secs(30);

/// How long a question may take before an expired answer is served in its place (RFC 8767
/// section 5, "client response timer").
pub const PATIENCE: Duration = Duration::from_millis(1800);

/// The first and the longest pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How soon the rest of an incomplete answer is asked for.
const INCOMPLETE_TTL: Duration = Duration::from_secs(10);

/// Where a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A question is under way.
    Asking,
    /// The answer is good; the next look is ahead of its expiry.
    Fresh,
    /// It was not used at that look; the next one is at its expiry.
    Ageing,
    /// The last question failed; the next one follows.
    Failing,
    /// Nobody uses the name; nothing is planned.
    Asleep,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The question found addresses.
    Found,
    /// It did not.
    Failed,
    /// The planned moment has come, and the name was used since the last look.
    DueUsed,
    /// It has come, and the name was not used.
    DueUnused,
    /// A connection needs the answer now.
    Wanted,
    /// The hosts file or the servers have changed.
    Changed,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on.
    Nothing,
    /// Ask.
    Ask,
    /// Ask once more as soon as the question under way has ended: it may have been put to the
    /// old servers.
    AskAgain,
    /// Plan the look ahead of expiry.
    PlanRefresh,
    /// Plan the look at expiry.
    PlanExpiry,
    /// Plan the next try.
    PlanRetry,
    /// Forget the plan; the answer is no longer vouched for.
    Sleep,
    /// While an answer is late: say that the old one is stale.
    Impatient,
}

/// The whole machine.
#[must_use]
pub const fn table(phase: Phase, event: Event) -> (Phase, Action) {
    use self::{Action as A, Event as E, Phase as P};
    match (phase, event) {
        (P::Asking, E::Found) => (P::Fresh, A::PlanRefresh),
        (P::Asking, E::Failed) => (P::Failing, A::PlanRetry),
        (P::Asking, E::DueUsed | E::DueUnused) => (P::Asking, A::Impatient),
        (P::Asking, E::Wanted) => (P::Asking, A::Nothing),
        (P::Asking, E::Changed) => (P::Asking, A::AskAgain),
        (P::Fresh, E::DueUnused) => (P::Ageing, A::PlanExpiry),
        (P::Ageing | P::Failing, E::DueUnused) => (P::Asleep, A::Sleep),
        (P::Fresh | P::Ageing | P::Failing, E::DueUsed | E::Changed) => (P::Asking, A::Ask),
        (P::Fresh | P::Ageing | P::Failing, E::Wanted) => (phase, A::Nothing),
        (P::Asleep, E::Wanted) => (P::Asking, A::Ask),
        (P::Asleep, E::DueUsed | E::DueUnused | E::Changed) => (P::Asleep, A::Nothing),
        // Nothing was asked.
        (P::Fresh | P::Ageing | P::Failing | P::Asleep, E::Found | E::Failed) => {
            (phase, A::Nothing)
        }
    }
}

/// Why there are no addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A server says that there are none, and for how long.
    Negative {
        /// From the SOA record (RFC 2308 section 5); `None` without one.
        ttl: Option<Duration>,
        /// For a person.
        reason: String,
    },
    /// No server has answered.
    NoAnswer {
        /// For a person.
        reason: String,
    },
}

impl Failure {
    /// For a person.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Negative { reason, .. } | Self::NoAnswer { reason } => reason,
        }
    }
}

/// What is to be said of a name now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What was said before.
    AsBefore,
    /// The last good answer, although there is no newer one.
    Stale,
    /// Nothing.
    Gone,
}

/// The times of one name.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// When the last good answer ends; `None` without one.
    expires: Option<Moment>,
    /// Since when servers have said that the name is gone.
    deleted: Option<Moment>,
    failures: u32,
    /// The next look.
    due: Option<Moment>,
}

impl Schedule {
    /// When to look next; `None` for never.
    #[must_use]
    pub const fn due(&self) -> Option<Moment> {
        self.due
    }

    /// A question is under way: the next look is when an expired answer should no longer
    /// wait for it.
    pub fn ask(&mut self, now: Moment) {
        self.due = self.expires.map(|expires| expires.max(now.after(PATIENCE)));
    }

    /// Nothing is planned any more.
    pub const fn sleep(&mut self) {
        self.due = None;
    }

    /// Addresses came. `jitter` is in 0..1 and spreads the questions of many doors that began
    /// at once; an incomplete answer lacks a family or a server's addresses.
    pub fn found(&mut self, now: Moment, ttl: Duration, complete: bool, jitter: f64) {
        let ttl = ttl.clamp(SHORTEST_TTL, LONGEST_TTL);
        let ttl = if complete {
            ttl
        } else {
            ttl.min(INCOMPLETE_TTL)
        };
        self.expires = Some(now.after(ttl));
        self.deleted = None;
        self.failures = 0;
        self.due = Some(now.after(ttl.mul_f64(0.8 + 0.1 * jitter)));
    }

    /// The answer was not used: the next look is at its expiry.
    pub const fn unused(&mut self) {
        self.due = self.expires;
    }

    /// No addresses came; plans the next try.
    pub fn failed(&mut self, now: Moment, failure: &Failure, jitter: f64) -> Standing {
        let pause = match failure {
            Failure::NoAnswer { .. } => FIRST_PAUSE
                .saturating_mul(1 << self.failures.min(16))
                .min(LONGEST_PAUSE),
            Failure::Negative { ttl, .. } => {
                self.deleted.get_or_insert(now);
                let ttl = ttl.unwrap_or(FIRST_PAUSE);
                ttl.clamp(SHORTEST_TTL, LONGEST_NEGATIVE_TTL)
            }
        };
        self.failures = self.failures.saturating_add(1);
        let pause = pause.mul_f64(0.75 + 0.25 * jitter);
        let mut due = now.after(pause);
        let standing = match (self.expires, self.kept_until(failure)) {
            (Some(expires), Some(until)) if now < until => {
                // In time for what changes by then.
                let soon = match failure {
                    Failure::Negative { .. } => now.after(LONGEST_PAUSE_WHILE_HELD).min(until),
                    Failure::NoAnswer { .. } => until,
                };
                due = due.min(soon);
                if now < expires {
                    due = due.min(expires);
                    Standing::AsBefore
                } else {
                    Standing::Stale
                }
            }
            _ => {
                self.expires = None;
                Standing::Gone
            }
        };
        self.due = Some(due);
        standing
    }

    /// Until when the last good answer is served in spite of this failure.
    fn kept_until(&self, failure: &Failure) -> Option<Moment> {
        let expires = self.expires?;
        Some(match (failure, self.deleted) {
            (Failure::Negative { .. }, Some(deleted)) => expires.max(deleted.after(HOLD_DELETED)),
            _ => expires.after(STALE_FOR),
        })
    }
}

#[cfg(test)]
mod tests;
