//! Which doors there are, and what follows from what happens to them. No I/O, no clock.
//!
//! A generation starts, accepts, drains and ends. The next one accepts before the one before
//! it drains, so that at every moment somebody takes connections; where there is nobody for
//! a while, connections wait in the queue of the sockets, which the keeper holds.

use std::time::Duration;

use crate::clock::Moment;

/// How long a door may take until it is ready.
pub const START: Duration = Duration::from_secs(10);

/// Old doors that may drain at once; before one more begins to, the oldest is cut.
pub const DRAINING: usize = 8;

/// A door that accepted for this long was well: the next pause is a short one again.
const WELL: Duration = Duration::from_secs(10);

/// The pause after the second failure in a row; it doubles with each further one. After the
/// first there is none.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`Action::Start`] has made this process.
    Started(u32),
    /// [`Action::Start`] has made none.
    NotStarted,
    /// It accepts.
    Ready(u32),
    /// It says that all its workers answer.
    Alive(u32),
    /// It is gone, and whether its exit status was 0.
    Ended(u32, bool),
    /// A person wants a new door.
    Replace,
    /// Everything is to end by draining.
    Stop,
    /// Everything is to end now.
    Cut,
    /// [`Generations::next`] has come.
    Time,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a process; ends in [`Event::Started`] or [`Event::NotStarted`].
    Start,
    /// Have it accept no more and end with its last connection, whenever that is.
    Retire(u32),
    /// Have it accept no more, and end within its drain's time.
    Drain(u32),
    /// Have it end its connections now.
    Cut(u32),
    /// End it without its consent: it never became ready, or hangs.
    Kill(u32),
    /// Say that a replacement begins.
    SayReloading,
    /// Say that this one accepts; it is new.
    SayReady(u32),
    /// Say that the replacement failed and this one goes on.
    SayKept(u32),
    /// Say that another one follows after this pause.
    SayRestart(Duration),
    /// Say that everything ends.
    SayStopping,
    /// The end of the keeper: well, or not.
    Exit(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    /// Killed because it was not ready, or did not speak, in time.
    Late,
    Accepting,
    Draining,
}

#[derive(Clone, Copy, Debug)]
struct Generation {
    process: u32,
    stage: Stage,
    since: Moment,
    heard: Moment,
}

/// All doors of one keeper, the oldest first.
#[derive(Debug, Default)]
pub struct Generations {
    all: Vec<Generation>,
    stopping: bool,
    /// Whether one was ever ready: before that, a failure is the keeper's own.
    served: bool,
    /// A replacement was asked for while one was under way.
    again: bool,
    failures: u32,
    restart: Option<Moment>,
    /// How long an accepting door may be silent; `None` where none is asked to speak.
    silence: Option<Duration>,
}

impl Generations {
    /// None yet; an accepting one that is silent for longer than `silence` hangs.
    #[must_use]
    pub fn new(silence: Option<Duration>) -> Self {
        Self {
            silence,
            ..Self::default()
        }
    }

    /// When [`Event::Time`] is due, if nothing happens before.
    #[must_use]
    pub fn next(&self) -> Option<Moment> {
        let late = self.all.iter().filter_map(|one| self.late(one));
        late.chain(self.restart).min()
    }

    /// When a door is given up.
    fn late(&self, one: &Generation) -> Option<Moment> {
        match one.stage {
            Stage::Starting => Some(one.since.after(START)),
            Stage::Accepting => Some(one.heard.after(self.silence?)),
            Stage::Late | Stage::Draining => None,
        }
    }

    /// Whether this process accepts: its watchdog messages count for the whole.
    #[must_use]
    pub fn accepts(&self, process: u32) -> bool {
        self.place(process)
            .is_some_and(|place| self.all[place].stage == Stage::Accepting)
    }

    /// Whether everything ends.
    #[must_use]
    pub const fn stopping(&self) -> bool {
        self.stopping
    }

    /// How many drain.
    #[must_use]
    pub fn draining(&self) -> usize {
        self.count(Stage::Draining)
    }

    /// What follows.
    pub fn happen(&mut self, now: Moment, event: Event) -> Vec<Action> {
        match event {
            Event::Started(process) => self.started(now, process),
            Event::NotStarted => self.failed(now),
            Event::Ready(process) => self.ready(now, process),
            Event::Alive(process) => {
                if let Some(place) = self.place(process) {
                    self.all[place].heard = now;
                }
                Vec::new()
            }
            Event::Ended(process, well) => self.ended(now, process, well),
            Event::Replace => self.replace(),
            Event::Stop => self.stop(),
            Event::Cut => {
                let mut actions = self.stop();
                actions.extend(self.all.iter().map(|one| Action::Cut(one.process)));
                actions
            }
            Event::Time => self.time(now),
        }
    }

    fn started(&mut self, now: Moment, process: u32) -> Vec<Action> {
        self.all.push(Generation {
            process,
            stage: Stage::Starting,
            since: now,
            heard: now,
        });
        Vec::new()
    }

    fn ready(&mut self, now: Moment, process: u32) -> Vec<Action> {
        let Some(place) = self.place(process) else {
            return Vec::new();
        };
        if self.all[place].stage != Stage::Starting {
            return Vec::new();
        }
        let mut actions = vec![Action::SayReady(process)];
        for one in &mut self.all {
            if one.stage == Stage::Accepting {
                one.stage = Stage::Draining;
                actions.push(Action::Retire(one.process));
            }
        }
        self.all[place].stage = Stage::Accepting;
        self.all[place].since = now;
        self.all[place].heard = now;
        self.served = true;
        let excess = self.draining().saturating_sub(DRAINING);
        let oldest = self.all.iter().filter(|one| one.stage == Stage::Draining);
        actions.extend(oldest.take(excess).map(|one| Action::Cut(one.process)));
        if std::mem::take(&mut self.again) {
            actions.extend(self.replace());
        }
        actions
    }

    fn ended(&mut self, now: Moment, process: u32, well: bool) -> Vec<Action> {
        let Some(place) = self.place(process) else {
            return Vec::new();
        };
        let one = self.all.remove(place);
        if self.stopping {
            return self.exit_if_alone();
        }
        match one.stage {
            Stage::Draining => Vec::new(),
            Stage::Starting | Stage::Late => self.failed(now),
            // Its successor is under way.
            Stage::Accepting if self.count(Stage::Starting) > 0 => Vec::new(),
            // By its own decision, as a relay that exits when idle.
            Stage::Accepting if well && self.all.is_empty() => {
                self.stopping = true;
                vec![Action::Exit(true)]
            }
            // The same while old ones still drain: somebody must accept until they are done.
            Stage::Accepting if well => {
                self.restart = Some(now);
                vec![Action::SayRestart(Duration::ZERO)]
            }
            Stage::Accepting => {
                if now.since(one.since) >= WELL {
                    self.failures = 0;
                }
                self.schedule(now)
            }
        }
    }

    /// No new door has come of the last start.
    fn failed(&mut self, now: Moment) -> Vec<Action> {
        if self.stopping {
            return self.exit_if_alone();
        }
        self.again = false;
        let accepting = self.all.iter().find(|one| one.stage == Stage::Accepting);
        match accepting {
            Some(one) => vec![Action::SayKept(one.process)],
            None if self.served => self.schedule(now),
            None => vec![Action::Exit(false)],
        }
    }

    fn schedule(&mut self, now: Moment) -> Vec<Action> {
        let pause = match self.failures {
            0 => Duration::ZERO,
            more => (PAUSE * 2_u32.saturating_pow(more.min(16) - 1)).min(LONGEST_PAUSE),
        };
        self.failures += 1;
        self.restart = Some(now.after(pause));
        vec![Action::SayRestart(pause)]
    }

    fn replace(&mut self) -> Vec<Action> {
        if self.stopping {
            return Vec::new();
        }
        if self.count(Stage::Starting) + self.count(Stage::Late) > 0 {
            // The one under way may be of a program that was replaced since.
            self.again = true;
            return Vec::new();
        }
        self.restart = None;
        vec![Action::SayReloading, Action::Start]
    }

    fn stop(&mut self) -> Vec<Action> {
        if self.stopping {
            return Vec::new();
        }
        self.stopping = true;
        self.restart = None;
        let mut actions = vec![Action::SayStopping];
        for one in &mut self.all {
            one.stage = Stage::Draining;
            actions.push(Action::Drain(one.process));
        }
        actions.extend(self.exit_if_alone());
        actions
    }

    fn time(&mut self, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        for place in 0..self.all.len() {
            let late = self.late(&self.all[place]);
            if late.is_some_and(|moment| now >= moment) {
                self.all[place].stage = Stage::Late;
                actions.push(Action::Kill(self.all[place].process));
            }
        }
        if self.restart.is_some_and(|moment| now >= moment) {
            self.restart = None;
            actions.push(Action::Start);
        }
        actions
    }

    fn exit_if_alone(&self) -> Vec<Action> {
        if self.all.is_empty() {
            vec![Action::Exit(true)]
        } else {
            Vec::new()
        }
    }

    fn place(&self, process: u32) -> Option<usize> {
        self.all.iter().position(|one| one.process == process)
    }

    fn count(&self, stage: Stage) -> usize {
        self.all.iter().filter(|one| one.stage == stage).count()
    }
}

#[cfg(test)]
#[path = "generations_tests.rs"]
mod tests;
