//! From the signal to stop to the last connection: what a door without a supervisor does
//! once it serves.
//!
//! The main thread sleeps until a signal comes; only a watchdog of the service manager, and
//! a drain that has somebody to tell, have it look up in between.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use cloister_sys::signals::SignalDescriptor;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use crate::clock::Moment;
use crate::notify::Notifier;
use crate::places::Places;
use crate::runtime::Runtime;
use crate::workers::Workers;

/// How often a drain says how many connections it waits for.
const REPORT: Duration = Duration::from_secs(1);

/// How often a busy door looks whether it is idle, at most.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);

/// What a signal leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing new.
    Continue,
    /// Accept no more; open connections may go on for as long as they want.
    Retire,
    /// Accept no more; open connections have the drain's time.
    Drain,
    /// End open connections now.
    Cut,
}

/// How long a connection may go on that has no deadline: a year.
pub const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// How a stop was asked for so far.
///
/// SIGUSR1 says that another door has taken over: there is no hurry.
///
/// SIGHUP asks once and never more: a terminal's end, or systemd's `SendSIGHUP=yes`, repeats
/// what was said. SIGTERM drains, and a second one cuts: one that merely follows a SIGHUP is
/// the service manager's own, sent to a door that its keeper has asked already. SIGINT drains,
/// and cuts whatever drains: whoever presses Ctrl-C twice waits for nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// Not at all.
    #[default]
    Nothing,
    /// By SIGUSR1 alone.
    Leisurely,
    /// By SIGHUP.
    Gently,
    /// By SIGTERM or SIGINT.
    Firmly,
}

impl Asked {
    /// Takes a signal into account; any other than the four changes nothing.
    pub fn signal(&mut self, number: i32) -> Order {
        let Some(signal) = Signal::from_named_raw(number) else {
            return Order::Continue;
        };
        let (next, order) = match (*self, signal) {
            (Self::Nothing, Signal::USR1) => (Self::Leisurely, Order::Retire),
            (Self::Nothing | Self::Leisurely, Signal::HUP) => (Self::Gently, Order::Drain),
            (Self::Nothing | Self::Leisurely, Signal::TERM) | (Self::Nothing, Signal::INT) => {
                (Self::Firmly, Order::Drain)
            }
            (Self::Gently, Signal::TERM) => (Self::Firmly, Order::Continue),
            (Self::Firmly, Signal::TERM)
            | (Self::Leisurely | Self::Gently | Self::Firmly, Signal::INT) => {
                (Self::Firmly, Order::Cut)
            }
            (same, _) => (same, Order::Continue),
        };
        *self = next;
        order
    }
}

/// Serves until a signal to stop, then until the last connection has ended or `drain` is
/// over; tells the service manager of each step. The workers have their listeners.
///
/// # Errors
///
/// Signals cannot be read; for a person.
pub fn attend(
    workers: Workers,
    signals: &SignalDescriptor,
    notifier: &Notifier,
    drain: Duration,
    idle: Option<Idle>,
) -> Result<(), String> {
    notifier.ready();
    let mut attendant = Attendant {
        workers: &workers,
        notifier,
        drain,
        asked: Asked::default(),
        watchdog: notifier.watchdog().map(|time| Moment::now().after(time)),
        report: None,
        look: idle.as_ref().map(|idle| Moment::now().after(idle.pause())),
        idle,
    };
    while !(attendant.asked != Asked::Nothing && workers.ended()) {
        attendant.wait(signals);
        while let Some(number) = signals
            .next()
            .map_err(|error| format!("cannot read signals: {error}"))?
        {
            attendant.obey(number);
        }
        attendant.tell(Moment::now());
    }
    workers.join();
    Ok(())
}

struct Attendant<'a> {
    workers: &'a Workers,
    notifier: &'a Notifier,
    drain: Duration,
    asked: Asked,
    /// When the service manager expects to hear that all is well.
    watchdog: Option<Moment>,
    /// When a drain says how far it is.
    report: Option<Moment>,
    /// When to stop without a signal, and when that is looked at next.
    idle: Option<Idle>,
    look: Option<Moment>,
}

/// The wish to end when there was no connection for so long.
#[derive(Debug)]
pub struct Idle {
    /// For how long; zero: at the end of the last connection, once there was one.
    pub time: Duration,
    /// Where connections are counted.
    pub places: Arc<Places>,
    /// What is in force, to go on with after all.
    pub runtime: Arc<Runtime>,
}

impl Idle {
    /// While there are connections, and with a time of zero also before the first one, it
    /// must be looked at again and again, though not all the time.
    fn pause(&self) -> Duration {
        self.time.max(SHORTEST_LOOK)
    }

    /// When to look next; `None` where the time is over.
    fn next(&self, now: Moment) -> Option<Moment> {
        match self.places.empty_since() {
            None => Some(now.after(self.pause())),
            Some(_) if self.time.is_zero() && self.nobody_came() => Some(now.after(self.pause())),
            Some(since) if now.since(since) >= self.time => None,
            Some(since) => Some(since.after(self.time)),
        }
    }

    fn nobody_came(&self) -> bool {
        let listeners = &self.runtime.listeners;
        listeners
            .iter()
            .all(|listener| listener.terms.counters.accepted.get() == 0)
    }

    /// Whether a client waits in a queue, which closes with its last holder.
    fn is_called(&self) -> bool {
        let listeners = self.runtime.listeners.iter();
        let mut waiting: Vec<PollFd<'_>> = listeners
            .map(|listener| PollFd::new(&listener.socket.descriptor, PollFlags::IN))
            .collect();
        poll(&mut waiting, Some(&timespec(Duration::ZERO))).is_ok_and(|ready| ready > 0)
    }
}

impl Attendant<'_> {
    fn wait(&self, signals: &SignalDescriptor) {
        let now = Moment::now();
        let next = [self.watchdog, self.report, self.look]
            .into_iter()
            .flatten()
            .min();
        let timeout = next.map(|moment| timespec(moment.since(now)));
        let descriptors: [BorrowedFd<'_>; 2] = [signals.descriptor(), self.workers.descriptor()];
        let mut waiting =
            descriptors.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        // An error is EINTR, or a shortage that a second try outlives.
        let _ = poll(&mut waiting, timeout.as_ref());
    }

    fn obey(&mut self, number: i32) {
        let order = self.asked.signal(number);
        if order != Order::Continue {
            // It holds the listeners, which must close now.
            self.idle = None;
            self.look = None;
        }
        match order {
            Order::Continue => {}
            Order::Retire => {
                let _ = self.workers.drain(FOR_EVER);
                self.notifier.draining(self.workers.active());
                self.report = Some(Moment::now().after(REPORT));
            }
            Order::Drain => {
                let _ = self.workers.drain(self.drain);
                self.notifier.stopping(self.drain, self.workers.active());
                self.report = Some(Moment::now().after(REPORT));
            }
            Order::Cut => {
                let _ = self.workers.drain(Duration::ZERO);
            }
        }
    }

    /// Ends where nobody came for so long, else says when to look again. The listeners are
    /// given up first: from then on a client stays in its queue, for the service manager to
    /// see, and one that was faster has all the time that it needs.
    fn end_if_idle(&mut self, now: Moment) -> Option<Moment> {
        let idle = self
            .idle
            .as_ref()
            .filter(|_| self.asked == Asked::Nothing)?;
        if let Some(next) = idle.next(now) {
            return Some(next);
        }
        let _ = self
            .workers
            .apply(&Arc::new(idle.runtime.without_listeners()));
        if idle.places.empty_since().is_none() || idle.is_called() {
            let _ = self.workers.apply(&idle.runtime);
            return Some(now.after(idle.pause()));
        }
        self.asked = Asked::Firmly;
        self.notifier.stopping(Duration::ZERO, 0);
        let _ = self.workers.drain(Duration::ZERO);
        None
    }

    fn tell(&mut self, now: Moment) {
        if self.look.is_some_and(|moment| now >= moment) {
            self.look = self.end_if_idle(now);
        }
        if self.report.is_some_and(|moment| now >= moment) {
            self.notifier.draining(self.workers.active());
            self.report = Some(now.after(REPORT));
        }
        let Some(period) = self.notifier.watchdog() else {
            return;
        };
        if self.watchdog.is_some_and(|moment| now >= moment) {
            // Half of what is left: the answer must still arrive in time.
            if self.workers.answer(period / 2) {
                self.notifier.alive();
            } else {
                eprintln!("cloister-door: a worker thread does not answer");
            }
            self.watchdog = Some(now.after(period));
        }
    }
}

/// Up to the next millisecond: to wake before a moment would be to wake twice.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    let millis = duration.as_micros().div_ceil(1000);
    Timespec {
        tv_sec: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(millis % 1000 * 1_000_000).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_signals() {
        use Order::{Continue, Cut, Drain, Retire};
        let (hup, term, int, usr1) = (Signal::HUP, Signal::TERM, Signal::INT, Signal::USR1);
        for (signals, orders) in [
            (vec![hup, hup, hup], vec![Drain, Continue, Continue]),
            (vec![hup, term, term], vec![Drain, Continue, Cut]),
            (vec![hup, int], vec![Drain, Cut]),
            (vec![term, hup, term], vec![Drain, Continue, Cut]),
            (vec![term, int], vec![Drain, Cut]),
            (vec![int, hup, int], vec![Drain, Continue, Cut]),
            (vec![int, term], vec![Drain, Cut]),
            (
                vec![usr1, usr1, hup, usr1],
                vec![Retire, Continue, Drain, Continue],
            ),
            (vec![usr1, term, term], vec![Retire, Drain, Cut]),
            (vec![usr1, int], vec![Retire, Cut]),
            (vec![hup, usr1], vec![Drain, Continue]),
            (vec![Signal::USR2, Signal::CHILD], vec![Continue, Continue]),
        ] {
            let mut asked = Asked::default();
            let got: Vec<_> = signals.iter().map(|s| asked.signal(s.as_raw())).collect();
            assert_eq!(got, orders, "{signals:?}");
        }
    }
}
