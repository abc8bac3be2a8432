//! One client's connection, from accept to close.
//!
//! A connection is always in one [`Stage`]. Each event leads to one [`Next`]. Its memory
//! between events is this value and, only while something is unfinished, one allocation for
//! the hello, for the wait for a target, or for bytes that a peer does not take.

mod admit;
pub mod bulk;
pub mod client;
mod close;
pub mod flow;
pub mod handoff;
mod hello;
mod idle;
mod linger;
mod open;
mod racing;
mod relay;

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use cloister_proto::client_hello::HelloReader;
use cloister_proto::hostname::Hostname;
use cloister_proto::messages::door::Outcome;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use crate::admission::Admitted;
use crate::clock::{Moment, Tick};
use crate::resolve::Waker;
use crate::route::Choice;
use crate::runtime::{Runtime, Terms};
use crate::slab::Key;
use crate::stats::{AppCounters, WorkerCounters};
use crate::timers::Timers;
use client::Client;
use flow::{Flow, Tools};
use handoff::Peeking;
use racing::Racing;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's socket.
    Client,
    /// The target's socket.
    Target,
}

impl Side {
    /// The side that an event's bit stands for.
    #[must_use]
    pub const fn from_bit(bit: bool) -> Self {
        if bit { Self::Target } else { Self::Client }
    }

    const fn bit(self) -> bool {
        matches!(self, Self::Target)
    }
}

/// What the worker shall do after an event.
#[derive(Debug)]
pub enum Next {
    /// Wait for the next event.
    Wait,
    /// Close the connection.
    Close(End),
}

/// How a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// For counters and the log.
    pub outcome: Outcome,
    /// What exactly was wrong.
    pub reason: Option<Cow<'static, str>>,
    /// Whether the client must see a reset: what it got is not all there was.
    pub reset: bool,
}

impl End {
    pub(crate) const fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            reason: None,
            reset: false,
        }
    }

    /// An end that the client must not take for a clean one.
    pub(crate) fn broken(outcome: Outcome, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            outcome,
            reason: Some(reason.into()),
            reset: true,
        }
    }
}

/// Where a connection is in its life.
#[derive(Debug)]
pub enum Stage {
    /// The PROXY header is awaited; what is there of it lies in the socket.
    Header,
    /// The hello is awaited; what is there of it, if anything.
    Hello(Option<Box<PartialHello>>),
    /// The batch of events goes on; at its end the connection is handed off, together with
    /// others for the same target ([`handoff`]).
    HandingOff(Box<Opening>),
    /// The target's queue was full; tried again until the deadline.
    Opening(Box<Opening>),
    /// Attempts to reach a target beyond a network are under way.
    Racing(Box<Racing>),
    /// Bytes are moved.
    Relay,
    /// Everything is said; what the client still sends is thrown away until it closes.
    Linger(Box<Linger>),
}

/// A hello that came in parts.
#[derive(Debug)]
pub struct PartialHello {
    reader: HelloReader,
    received: Vec<u8>,
}

/// A connection that waits for its target, or for the end of the batch.
#[derive(Debug)]
pub struct Opening {
    choice: Choice,
    facts: Facts,
    received: Vec<u8>,
    since: Moment,
    until: Moment,
    pause_ms: u64,
}

/// The end that awaits a lingering connection.
#[derive(Debug)]
pub struct Linger {
    end: End,
    until: Moment,
    /// Bytes that are still read.
    budget: usize,
    /// Bytes on their way to the client, at the last look.
    unacknowledged: usize,
}

/// What the hello said, as far as the target or the log wants to know.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The canonical server name.
    pub name: Option<Hostname>,
    /// The offered protocols.
    pub alpn: Vec<Vec<u8>>,
}

/// What the log line needs, kept only while connections are logged.
#[derive(Debug)]
pub struct Details {
    /// Who connected.
    pub client: Client,
    /// What the hello said.
    pub facts: Facts,
    /// Where it went.
    pub choice: Option<Choice>,
}

/// What all connections of one worker share.
pub struct Shared {
    /// The worker's epoll set.
    pub epoll: OwnedFd,
    /// Buffer and pipes.
    pub tools: Tools,
    /// Deadlines.
    pub timers: Timers,
    /// When the batch of events began that is being served.
    pub now: Moment,
    /// Connections to go on with once the others had their turn.
    pub ready: Vec<(Key, Side)>,
    /// Connections to hand off at the end of the batch; some may have ended since.
    pub handing_off: Vec<Key>,
    /// Connections that wait for their target's name to be looked up.
    pub naming: Vec<Key>,
    /// Has them looked at once it is.
    pub waker: Arc<dyn Waker>,
    /// What is in force.
    pub runtime: Arc<Runtime>,
    /// The worker's counters.
    pub counters: Arc<WorkerCounters>,
    /// Who moved small messages of a busy conversation in this batch.
    pub conversing: Conversing,
}

impl Shared {
    /// What a worker starts with; `pipes` is its share of the process's pipes, `waker` has
    /// it look at [`Shared::naming`].
    ///
    /// # Errors
    ///
    /// Those of epoll_create1(2).
    pub fn new(
        counters: Arc<WorkerCounters>,
        pipes: usize,
        waker: Arc<dyn Waker>,
    ) -> Result<Self, Errno> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            tools: Tools::new(pipes),
            timers: Timers::default(),
            now: Moment::now(),
            ready: Vec::new(),
            handing_off: Vec::new(),
            naming: Vec::new(),
            waker,
            runtime: Arc::default(),
            counters,
            conversing: Conversing::Nobody,
        })
    }
}

/// Which connections of a batch of events are in the middle of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conversing {
    /// None.
    #[default]
    Nobody,
    /// One, and which of its sides is to speak next.
    One(Key, Side),
    /// Several.
    Many,
}

impl Conversing {
    /// Another message was moved; `next` is to speak.
    pub fn note(&mut self, key: Key, next: Side) {
        *self = match *self {
            Self::Nobody => Self::One(key, next),
            Self::One(known, _) if known == key => Self::One(key, next),
            Self::One(..) | Self::Many => Self::Many,
        };
    }
}

/// One side's socket state beside its descriptor.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// In the epoll set.
    registered: bool,
    /// `EPOLLIN` is not asked for.
    muted: bool,
    /// `EPOLLOUT` is asked for.
    output: bool,
    /// Its end was announced: read until 0.
    hangup: bool,
    /// Both its directions are shut: nothing reaches the peer any more.
    gone: bool,
}

/// One connection. Owns both sockets.
#[derive(Debug)]
pub struct Connection {
    client: OwnedFd,
    target: Option<OwnedFd>,
    stage: Stage,
    up: Flow,
    down: Flow,
    started: Moment,
    terms: Arc<Terms>,
    app: Option<Arc<AppCounters>>,
    details: Option<Box<Details>>,
    admitted: Option<Box<Admitted>>,
    client_watch: Watch,
    target_watch: Watch,
    /// Whether the client's socket is TCP.
    tcp: bool,
    /// Whether the target's socket is TCP.
    target_tcp: bool,
    /// Small messages in a row.
    small: u8,
    /// When bytes were last moved.
    active: Tick,
    /// Whether the hello stays in the client's socket.
    peeking: Peeking,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(
        client: OwnedFd,
        tcp: bool,
        terms: Arc<Terms>,
        started: Moment,
        details: Option<Box<Details>>,
    ) -> Self {
        Self {
            client,
            target: None,
            stage: Stage::Hello(None),
            up: Flow::default(),
            down: Flow::default(),
            started,
            terms,
            app: None,
            details,
            admitted: None,
            client_watch: Watch::default(),
            target_watch: Watch::default(),
            tcp,
            target_tcp: false,
            small: 0,
            active: Tick::default(),
            peeking: Peeking::Undecided,
        }
    }

    /// Serves an event.
    pub fn event(&mut self, key: Key, side: Side, flags: EventFlags, shared: &mut Shared) -> Next {
        if side == Side::Target && matches!(self.stage, Stage::Racing(_)) {
            return self.attempts(key, shared);
        }
        let ended = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(ended) {
            let watch = self.watch_mut(side);
            watch.hangup = true;
            watch.gone |= flags.contains(EventFlags::HUP);
        }
        match self.stage {
            Stage::Header => self.read_header(key, shared),
            Stage::Hello(_) => self.read_hello(key, shared),
            Stage::HandingOff(_) | Stage::Opening(_) | Stage::Racing(_)
                if flags.intersects(EventFlags::ERR | EventFlags::HUP) =>
            {
                Next::Close(End::broken(Outcome::ClientAborted, "the client is gone"))
            }
            Stage::HandingOff(_) | Stage::Opening(_) | Stage::Racing(_) => Next::Wait,
            Stage::Relay => self.relay(key, side, flags, shared),
            Stage::Linger(_) => self.linger(shared),
        }
    }

    /// Goes on with a side whose turn was over.
    pub fn resume(&mut self, key: Key, side: Side, shared: &mut Shared) -> Next {
        match self.stage {
            Stage::Relay => self.relay(key, side, EventFlags::IN, shared),
            Stage::Linger(_) => self.linger(shared),
            Stage::Racing(_) => self.race_on(key, shared),
            Stage::Header | Stage::Hello(_) | Stage::HandingOff(_) | Stage::Opening(_) => {
                Next::Wait
            }
        }
    }

    /// Looks at the deadlines.
    pub fn timer(&mut self, key: Key, now: Moment, shared: &mut Shared) -> Next {
        match &self.stage {
            Stage::Hello(_) if now >= self.hello_deadline() => self.hello_timeout(key, shared),
            Stage::Hello(_) if self.peeking_deadline().is_some_and(|moment| now >= moment) => {
                self.peeked_long_enough(key, shared)
            }
            Stage::Header if now >= self.hello_deadline() => Self::header_timeout(),
            Stage::Header | Stage::Hello(_) | Stage::HandingOff(_) | Stage::Relay => Next::Wait,
            Stage::Opening(_) => self.open_again(key, now, shared),
            Stage::Racing(_) => self.race_due(key, now, shared),
            Stage::Linger(_) => self.linger_on(key, now, shared),
        }
    }

    /// The end of a connection that a drain's deadline cuts.
    #[must_use]
    pub fn drained(&self) -> End {
        match &self.stage {
            Stage::Linger(linger) => linger.end.clone(),
            _ => End::broken(Outcome::Drained, "cut by the deadline of a drain"),
        }
    }

    fn watch_mut(&mut self, side: Side) -> &mut Watch {
        match side {
            Side::Client => &mut self.client_watch,
            Side::Target => &mut self.target_watch,
        }
    }

    fn socket(&self, side: Side) -> Option<BorrowedFd<'_>> {
        match side {
            Side::Client => Some(self.client.as_fd()),
            Side::Target => self.target.as_ref().map(AsFd::as_fd),
        }
    }

    /// Has the epoll set watch a side; `output`: also for room to write.
    ///
    /// `EPOLLOUT` is asked for only after `EAGAIN` and given back: a standing one on a Unix
    /// socket wakes for each buffer that its peer takes. Edges that happened before are not
    /// lost: adding and changing an entry both report what is ready at that moment.
    fn watch(&mut self, key: Key, side: Side, output: bool, shared: &Shared) -> Result<(), Errno> {
        let muted = self.watch_mut(side).muted;
        self.watch_for(key, side, muted, output, shared)
    }

    /// Stops or starts waking for bytes that a side sends; its end and errors always wake.
    ///
    /// A source whose sink is full is not read, but each segment that still arrives for it is
    /// an edge: without this a fast client and a slow target wake the worker for nothing,
    /// several times as often as for something.
    fn mute(&mut self, key: Key, side: Side, muted: bool, shared: &Shared) -> Result<(), Errno> {
        let output = self.watch_mut(side).output;
        self.watch_for(key, side, muted, output, shared)
    }

    fn watch_for(
        &mut self,
        key: Key,
        side: Side,
        muted: bool,
        output: bool,
        shared: &Shared,
    ) -> Result<(), Errno> {
        let before = *self.watch_mut(side);
        let Some(socket) = self.socket(side) else {
            return Ok(());
        };
        let mut flags = EventFlags::RDHUP | EventFlags::ET;
        flags.set(EventFlags::IN, !muted);
        flags.set(EventFlags::OUT, output);
        let data = EventData::new_u64(key.pack(side.bit()));
        if !before.registered {
            epoll::add(&shared.epoll, socket, data, flags)?;
        } else if (muted, output) != (before.muted, before.output) {
            epoll::modify(&shared.epoll, socket, data, flags)?;
        }
        let watch = self.watch_mut(side);
        watch.registered = true;
        watch.muted = muted;
        watch.output = output;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an idle connection costs beside the kernel's part.
    #[test]
    fn a_connection_is_small() {
        assert!(
            size_of::<Connection>() <= 152,
            "{}",
            size_of::<Connection>()
        );
        assert_eq!(size_of::<Flow>(), 32);
    }
}
