//! One worker thread: one epoll set, its connections, and nothing that another worker waits
//! for.
//!
//! All workers watch the same listening sockets, level-triggered and `EPOLLEXCLUSIVE`: one
//! arrival wakes one worker, not all. A worker accepts a bounded number of connections per
//! wake-up and leaves the rest to the others. Connections are edge-triggered.
//!
//! An idle worker sleeps without a timeout: it has no timer of its own.

mod accept;
mod gather;
mod hand_off;
pub mod mailbox;

use std::sync::Arc;
use std::time::Duration;

use cloister_proto::messages::door::Outcome;
use cloister_sys::allocator::return_free_memory;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::clock::Moment;
use crate::connection::{Connection, Conversing, End, Next, Shared, Side};
use crate::log::Log;
use crate::places::Places;
use crate::resolve::Waker;
use crate::runtime::{ListeningSocket, Runtime};
use crate::slab::{Key, Slab};
use crate::spin::Spin;
use crate::stats::WorkerCounters;
use crate::timers::Purpose;
use gather::Gathering;
use mailbox::{Command, Mailbox};

/// Events taken at once.
const EVENTS: usize = 256;

/// Names the mailbox in an event; listeners have smaller numbers, connections larger ones.
const MAILBOX: u64 = u32::MAX as u64;

/// Names the places that are shared with other workers ([`Places`]).
const ROOM: u64 = MAILBOX - 1;

/// How long a listener rests after the system gave no descriptor for a connection, unless
/// one is closed before.
const LISTENER_REST: Duration = Duration::from_millis(100);

/// So many connections leave memory behind that is worth giving back.
const FLOOD: usize = 256;

/// A lone conversation is asked this often for each look into the epoll set, less one.
const LOOKS: u8 = 16;

/// How long a line of the log waits for another try when its reader is slow.
const LOG_PATIENCE: Duration = Duration::from_millis(50);

/// A worker's own state. Lives on its thread.
pub struct Worker {
    shared: Shared,
    connections: Slab<Connection>,
    mailbox: Arc<Mailbox>,
    log: Log,
    /// Sockets in the epoll set.
    listening: Vec<Arc<ListeningSocket>>,
    /// How many connections it may hold: each needs two descriptors in the end.
    capacity: usize,
    /// Listeners out of the epoll set until this moment: no descriptors were left.
    resting: Option<Moment>,
    /// Listeners out of the epoll set because many come.
    gathering: Gathering,
    /// Listeners out of the epoll set until a connection ends.
    full: Option<Arc<Places>>,
    draining: Option<Moment>,
    /// The most connections since memory was last given back.
    most: usize,
    spin: Spin,
    /// Looks that were made in polls.
    turn: u8,
}

impl Worker {
    /// A worker without listeners. `pipes` is its share of the process's pipes, `capacity`
    /// of the connections for which the process has descriptors.
    ///
    /// # Errors
    ///
    /// Those of epoll_create1(2) and epoll_ctl(2).
    pub fn new(
        mailbox: Arc<Mailbox>,
        counters: Arc<WorkerCounters>,
        log: Log,
        pipes: usize,
        capacity: usize,
        spin: Spin,
    ) -> Result<Self, Errno> {
        let shared = Shared::new(counters, pipes, Arc::clone(&mailbox) as Arc<dyn Waker>)?;
        let data = EventData::new_u64(MAILBOX);
        epoll::add(&shared.epoll, mailbox.descriptor(), data, EventFlags::IN)?;
        Ok(Self {
            shared,
            connections: Slab::default(),
            mailbox,
            log,
            listening: Vec::new(),
            capacity,
            resting: None,
            gathering: Gathering::default(),
            full: None,
            draining: None,
            most: 0,
            spin,
            turn: 0,
        })
    }

    /// Serves until a drain has ended. The calling thread must have a working directory of
    /// its own.
    ///
    /// # Errors
    ///
    /// Those of epoll_wait(2) that mean a broken epoll set.
    pub fn run(mut self) -> Result<(), Errno> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            self.wait(&mut events)?;
            self.shared.now = Moment::now();
            for event in events.drain(..) {
                self.dispatch(event);
            }
            self.gather();
            self.resume();
            self.hand_off();
            self.timers();
            self.log.flush();
            self.trim();
            if let Some(until) = self.draining {
                if self.shared.now >= until {
                    self.cut();
                }
                if self.connections.is_empty() {
                    self.log.flush();
                    return Ok(());
                }
            }
        }
    }

    fn wait(&mut self, events: &mut Vec<Event>) -> Result<(), Errno> {
        let conversing = std::mem::take(&mut self.shared.conversing);
        if conversing != Conversing::Nobody && self.shared.ready.is_empty() {
            self.look(conversing, events);
            if !events.is_empty() || self.shared.conversing != Conversing::Nobody {
                return Ok(());
            }
        }
        let timeout = self.timeout();
        match epoll_wait(&self.shared.epoll, events, timeout) {
            Ok(()) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Looks for what comes next without sleeping, as long as that pays.
    ///
    /// A lone conversation is asked itself most of the time: that finds its next message
    /// sooner than the epoll set does, and often before the peer that sent it has gone to
    /// sleep, so that waking the other peer costs no interrupt. The event of a message that
    /// was found so is still to come, and finds nothing.
    fn look(&mut self, conversing: Conversing, events: &mut Vec<Event>) {
        let Self {
            spin,
            shared,
            connections,
            turn,
            ..
        } = self;
        let mut ended = None;
        spin.poll(|| {
            *turn = turn.wrapping_add(1);
            match conversing {
                // The turns go on from one poll to the next: however busy the conversation,
                // the others are seen to.
                Conversing::One(key, side) if *turn % LOOKS != 0 => {
                    let Some(connection) = connections.get_mut(key) else {
                        return true;
                    };
                    if let Next::Close(end) = connection.resume(key, side, shared) {
                        ended = Some((key, end));
                    }
                    ended.is_some()
                        || shared.conversing != Conversing::Nobody
                        || !shared.ready.is_empty()
                }
                _ => {
                    let _ = epoll_wait(&shared.epoll, events, Some(Duration::ZERO));
                    !events.is_empty()
                }
            }
        });
        if let Some((key, end)) = ended {
            self.close(key, &end);
        }
    }

    /// How long there is nothing to do without an event.
    fn timeout(&mut self) -> Option<Duration> {
        if !self.shared.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let connections = &mut self.connections;
        let alive = |key| connections.get_mut(key).is_some();
        let connection = self.shared.timers.next(self.shared.now, alive);
        let moments = [self.resting, self.draining];
        let durations = moments.into_iter().flatten();
        durations
            .map(|moment| moment.since(self.shared.now))
            .chain(connection)
            .chain(self.log.waiting().then_some(LOG_PATIENCE))
            .map(whole_milliseconds)
            .chain(
                self.gathering
                    .next()
                    .map(|next| next.since(self.shared.now)),
            )
            .min()
    }

    fn dispatch(&mut self, event: Event) {
        let number = event.data.u64();
        let flags = event.flags;
        match Key::unpack(number) {
            Some((key, bit)) => {
                // None: the connection ended earlier in this batch.
                if let Some(connection) = self.connections.get_mut(key) {
                    let side = Side::from_bit(bit);
                    let next = connection.event(key, side, flags, &mut self.shared);
                    self.obey(key, next);
                }
            }
            None if number == MAILBOX => self.commands(),
            None if number == ROOM => self.room(),
            None => self.accept_woken(number),
        }
    }

    fn obey(&mut self, key: Key, next: Next) {
        if let Next::Close(end) = next {
            self.close(key, &end);
        }
    }

    fn close(&mut self, key: Key, end: &End) {
        if let Some(connection) = self.connections.remove(key) {
            if let Some(record) = connection.close(end, &mut self.shared) {
                self.log.write(&record);
            }
            if self.resting.is_some() {
                self.wake_listeners();
            }
        }
    }

    /// Gives the connections that yielded their next turn.
    fn resume(&mut self) {
        for (key, side) in std::mem::take(&mut self.shared.ready) {
            if let Some(connection) = self.connections.get_mut(key) {
                let next = connection.resume(key, side, &mut self.shared);
                self.obey(key, next);
            }
        }
    }

    fn timers(&mut self) {
        let now = self.shared.now;
        while let Some((key, purpose)) = self.shared.timers.due(now) {
            if let Some(connection) = self.connections.get_mut(key) {
                let next = match purpose {
                    Purpose::Deadline => connection.timer(key, now, &mut self.shared),
                    Purpose::Idle => connection.idle(key, &mut self.shared),
                };
                self.obey(key, next);
            }
        }
        if self.resting.is_some_and(|until| self.shared.now >= until) {
            self.wake_listeners();
        }
        let connections = &mut self.connections;
        let live = connections.len();
        self.shared
            .timers
            .sweep(live, |key| connections.get_mut(key).is_some());
    }

    /// Gives memory back after a flood of connections is over.
    fn trim(&mut self) {
        let live = self.connections.len();
        self.most = self.most.max(live);
        if self.most >= FLOOD && live <= self.most / 4 {
            // Once more when those that are left have gone as well.
            self.most = if live > FLOOD / 4 {
                FLOOD.max(live)
            } else {
                live
            };
            return_free_memory();
        }
    }

    fn commands(&mut self) {
        for command in self.mailbox.take() {
            match command {
                Command::Apply(runtime) => self.apply(&runtime),
                Command::Answer => {}
                Command::Drain { until } => {
                    self.accept_queues();
                    let runtime = self.shared.runtime.without_listeners();
                    self.apply(&Arc::new(runtime));
                    self.draining = Some(until);
                }
            }
        }
        self.mailbox.acknowledge();
        for key in std::mem::take(&mut self.shared.naming) {
            if let Some(connection) = self.connections.get_mut(key) {
                let next = connection.named(key, &mut self.shared);
                self.obey(key, next);
            }
        }
    }

    /// Puts a snapshot in force: sockets that it does not name leave the epoll set, new ones
    /// enter, the others stay as they are.
    fn apply(&mut self, runtime: &Arc<Runtime>) {
        if self.draining.is_some() {
            return;
        }
        self.shared.runtime = Arc::clone(runtime);
        let named = |socket: &ListeningSocket| {
            runtime
                .listeners
                .iter()
                .any(|listener| listener.socket.id == socket.id)
        };
        let resting =
            self.resting.is_some() || self.full.is_some() || self.gathering.next().is_some();
        let (kept, gone): (Vec<_>, Vec<_>) =
            self.listening.drain(..).partition(|socket| named(socket));
        if !resting {
            for socket in gone {
                // Explicitly: the epoll set would go on watching a socket that somebody
                // else holds open.
                let _ = epoll::delete(&self.shared.epoll, &socket.descriptor);
            }
        }
        self.listening = kept;
        for listener in &runtime.listeners {
            let known = self
                .listening
                .iter()
                .any(|socket| socket.id == listener.socket.id);
            if !known {
                self.listening.push(Arc::clone(&listener.socket));
                if !resting {
                    self.listen(&Arc::clone(&listener.socket));
                }
            }
        }
    }

    /// Ends what is still open at a drain's deadline.
    fn cut(&mut self) {
        for key in self.connections.keys() {
            if let Some(connection) = self.connections.get_mut(key) {
                let end = connection.drained();
                self.close(key, &end);
            }
        }
    }

    /// Counts a connection that found no place.
    fn refuse_limit(&mut self, connection: Connection) {
        let end = End::broken(Outcome::RefusedLimit, "the listener's connection limit");
        if let Some(record) = connection.close(&end, &mut self.shared) {
            self.log.write(&record);
        }
    }
}

/// Up to the next millisecond: waking before a deadline would wake twice.
fn whole_milliseconds(duration: Duration) -> Duration {
    let count = duration.as_micros().div_ceil(1000);
    Duration::from_millis(u64::try_from(count).unwrap_or(u64::MAX))
}

fn epoll_wait(
    epoll: impl std::os::fd::AsFd,
    events: &mut Vec<Event>,
    timeout: Option<Duration>,
) -> Result<(), Errno> {
    match timeout {
        Some(timeout) if timeout.subsec_micros() % 1000 != 0 => {
            cloister_sys::epoll::wait(epoll.as_fd(), events, timeout)
        }
        whole => {
            let timeout = whole.map(|duration| rustix::event::Timespec {
                tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(duration.subsec_nanos()),
            });
            events.clear();
            let space = rustix::buffer::spare_capacity(events);
            epoll::wait(epoll, space, timeout.as_ref())?;
            Ok(())
        }
    }
}
