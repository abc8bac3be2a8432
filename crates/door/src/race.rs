//! Which address of a target is tried when: RFC 8305 with the clock and the sockets outside.
//!
//! One [`Race`] opens one connection. It is asked for the next [`Step`], told what came of
//! it, and told when its time has come. [`table`] is all of it: what each event leads to in
//! each state. Attempts overlap: the next address is tried when one has failed, or has said
//! nothing for [`STAGGER`]. Where all have failed, the addresses are asked for again after a
//! pause, until the deadline: a target that restarts loses no connection.

use std::time::Duration;

use rustix::io::Errno;

use crate::clock::Moment;

/// RFC 8305 section 5, "Connection Attempt Delay": 250 ms.
pub const STAGGER: Duration = Duration::from_millis(250);

/// Attempts at once. The one that has waited longest makes room for the next address.
const ATTEMPTS: usize = 6;

/// The first and the longest pause after all addresses have failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(320));

/// Where a race stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The addresses are not known yet.
    Naming,
    /// Attempts are under way, or the next one is about to start.
    Racing,
    /// All attempts of a round have failed; the next round follows.
    Resting,
    /// It is decided.
    Settled,
}

/// What a race is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The addresses are known.
    Named,
    /// There are none, and there will be none.
    Nameless,
    /// An attempt has failed, and another address or attempt is left.
    Failed,
    /// An attempt has failed, and it was the last one.
    AllFailed,
    /// An attempt has succeeded.
    Connected,
    /// The moment of the last [`Step::Wait`] has come, and an address is left.
    Due,
    /// It has come, and no address is left.
    DueForNothing,
    /// The deadline has come.
    Deadline,
}

/// What follows from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing but to wait.
    Wait,
    /// Ask for the addresses.
    Name,
    /// Try the next address.
    Connect,
    /// Pause before the next round.
    Rest,
    /// Hand over the connected socket.
    Win,
    /// Say why there is none.
    GiveUp,
}

/// The whole machine.
#[must_use]
pub const fn table(state: State, event: Event) -> (State, Action) {
    use self::{Action as A, Event as E, State as S};
    match (state, event) {
        (S::Naming, E::Named) => (S::Racing, A::Connect),
        (S::Naming, E::Nameless) => (S::Settled, A::GiveUp),
        (S::Naming, E::Failed | E::AllFailed | E::Due | E::DueForNothing) => (S::Naming, A::Wait),
        (S::Racing, E::Failed | E::Due) => (S::Racing, A::Connect),
        (S::Racing, E::AllFailed) => (S::Resting, A::Rest),
        (S::Racing, E::DueForNothing | E::Named | E::Nameless) => (S::Racing, A::Wait),
        (S::Resting, E::Due | E::DueForNothing) => (S::Naming, A::Name),
        (S::Resting, E::Named | E::Nameless | E::Failed | E::AllFailed) => (S::Resting, A::Wait),
        (S::Naming | S::Racing | S::Resting, E::Connected) => (S::Settled, A::Win),
        (S::Naming | S::Racing | S::Resting, E::Deadline) => (S::Settled, A::GiveUp),
        (S::Settled, _) => (S::Settled, A::Wait),
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<A> {
    /// Ask for the addresses and call [`Race::named`] or [`Race::nameless`], now or later.
    Name,
    /// Begin to connect to this address and call [`Race::underway`], [`Race::refused`] or
    /// [`Race::connected_at_once`].
    Connect(A),
    /// Nothing before this moment unless an attempt says something; then [`Race::due`].
    Wait(Moment),
    /// Take the socket: [`Race::into_winner`].
    Won,
    /// Nothing was reached: [`Race::loss`].
    Lost,
}

/// One attempt under way. Owns its socket: dropping it ends the attempt.
#[derive(Debug)]
pub struct Attempt<A, S> {
    /// Where to.
    pub address: A,
    /// When it began.
    pub started: Moment,
    /// Its socket.
    pub socket: S,
}

/// Why a race was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss<A> {
    /// The name did not lead to an address within the time.
    NotNamed,
    /// It leads nowhere.
    Nameless(String),
    /// An address that has not answered.
    Silent(A),
    /// What the last attempt that failed met.
    Failed(A, Errno),
}

/// The attempts to open one connection. `A` is an address, `S` a socket.
#[derive(Debug)]
pub struct Race<A, S> {
    state: State,
    action: Action,
    until: Moment,
    wake: Moment,
    pause: Duration,
    /// Addresses of this round that are still to be tried, the next one last.
    left: Vec<A>,
    running: Vec<Attempt<A, S>>,
    winner: Option<Attempt<A, S>>,
    /// Whether the winner was never under way.
    at_once: bool,
    /// Attempts that gave way or lost against one that began later; see [`Race::take_slow`].
    slow: Vec<A>,
    loss: Loss<A>,
}

impl<A: Copy + PartialEq, S> Race<A, S> {
    /// A race that is over at `until`. Begins with [`Step::Name`].
    pub const fn new(until: Moment) -> Self {
        Self {
            state: State::Naming,
            action: Action::Name,
            until,
            wake: until,
            pause: PAUSES.0,
            left: Vec::new(),
            running: Vec::new(),
            winner: None,
            at_once: false,
            slow: Vec::new(),
            loss: Loss::NotNamed,
        }
    }

    /// What to do now.
    pub fn step(&mut self) -> Step<A> {
        let action = std::mem::replace(&mut self.action, Action::Wait);
        match (action, self.state) {
            (Action::Name, _) => Step::Name,
            (Action::Connect, _) => match self.left.pop() {
                Some(address) => {
                    if self.running.len() >= ATTEMPTS {
                        self.slow.push(self.running.remove(0).address);
                    }
                    Step::Connect(address)
                }
                None => Step::Wait(self.wake),
            },
            (Action::Wait | Action::Rest, State::Settled) if self.winner.is_some() => Step::Won,
            (Action::Win, _) => Step::Won,
            (Action::GiveUp, _) | (Action::Wait | Action::Rest, State::Settled) => Step::Lost,
            (Action::Wait | Action::Rest, _) => Step::Wait(self.wake.min(self.until)),
        }
    }

    /// The addresses, best first.
    pub fn named(&mut self, addresses: impl IntoIterator<Item = A>) {
        if self.state != State::Naming {
            return;
        }
        self.left = addresses.into_iter().collect();
        self.left.reverse();
        let event = if self.left.is_empty() {
            Event::Nameless
        } else {
            Event::Named
        };
        self.obey(event);
    }

    /// There are none, and why.
    pub fn nameless(&mut self, reason: impl Into<String>) {
        if self.state == State::Naming {
            self.loss = Loss::Nameless(reason.into());
            self.obey(Event::Nameless);
        }
    }

    /// Whether the addresses are awaited.
    #[must_use]
    pub const fn awaits_addresses(&self) -> bool {
        matches!(self.state, State::Naming)
    }

    /// The attempt has begun.
    pub fn underway(&mut self, now: Moment, address: A, socket: S) {
        if matches!(self.loss, Loss::NotNamed) {
            self.loss = Loss::Silent(address);
        }
        self.running.push(Attempt {
            address,
            started: now,
            socket,
        });
        self.await_next(now);
    }

    /// The attempt has succeeded before it was under way.
    pub fn connected_at_once(&mut self, now: Moment, address: A, socket: S) {
        self.at_once = true;
        self.win(Attempt {
            address,
            started: now,
            socket,
        });
    }

    /// An attempt that was under way has succeeded. Ends the others.
    pub fn connected(&mut self, place: usize) {
        let attempt = self.running.remove(place);
        self.win(attempt);
    }

    fn win(&mut self, attempt: Attempt<A, S>) {
        for other in self.running.drain(..) {
            if other.started.after(STAGGER) <= attempt.started {
                self.slow.push(other.address);
            }
        }
        self.winner = Some(attempt);
        self.obey(Event::Connected);
    }

    /// The attempt has failed before it was under way.
    pub fn refused(&mut self, now: Moment, address: A, error: Errno) {
        self.loss = Loss::Failed(address, error);
        self.after_failure(now);
    }

    /// An attempt that was under way has failed.
    pub fn failed(&mut self, now: Moment, place: usize, error: Errno) -> A {
        let address = self.running.remove(place).address;
        self.refused(now, address, error);
        address
    }

    fn after_failure(&mut self, now: Moment) {
        let event = if self.left.is_empty() && self.running.is_empty() {
            Event::AllFailed
        } else if self.left.is_empty() {
            // The others are still awaited.
            Event::DueForNothing
        } else {
            Event::Failed
        };
        self.obey(event);
        if self.action == Action::Rest {
            self.wake = now.after(self.pause);
            self.pause = (self.pause * 2).min(PAUSES.1);
        } else {
            self.await_next(now);
        }
    }

    /// A moment has come: perhaps the one of the last [`Step::Wait`].
    pub fn due(&mut self, now: Moment) {
        if now >= self.until {
            self.slow
                .extend(self.running.drain(..).map(|attempt| attempt.address));
            self.obey(Event::Deadline);
        } else if now >= self.wake {
            let event = if self.left.is_empty() {
                Event::DueForNothing
            } else {
                Event::Due
            };
            self.await_next(now);
            self.obey(event);
            if self.state == State::Naming {
                self.wake = self.until;
            }
        }
    }

    /// The attempts under way, in the order of their beginning.
    #[must_use]
    pub fn running(&self) -> &[Attempt<A, S>] {
        &self.running
    }

    /// Addresses that have not answered while a later one has, or until the deadline: not
    /// worth to be the first for the next connection.
    pub fn take_slow(&mut self) -> Vec<A> {
        std::mem::take(&mut self.slow)
    }

    /// The attempt that won.
    #[must_use]
    pub fn into_winner(self) -> Option<Attempt<A, S>> {
        self.winner
    }

    /// Whether the winner was connected before it was under way.
    #[must_use]
    pub const fn won_at_once(&self) -> bool {
        self.at_once
    }

    /// Why nothing was reached.
    #[must_use]
    pub const fn loss(&self) -> &Loss<A> {
        &self.loss
    }

    fn await_next(&mut self, now: Moment) {
        self.wake = if self.left.is_empty() {
            self.until
        } else {
            now.after(STAGGER)
        };
    }

    fn obey(&mut self, event: Event) {
        (self.state, self.action) = table(self.state, event);
    }
}

#[cfg(test)]
mod tests;
