//! `cloister-door serve`: what a supervisor says.
//!
//! The main thread owns the control socket and the signals, and touches no connection. The
//! supervisor's end, however it comes, is a drain: connections live on while they can.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use cloister_proto::messages::door::{PROTOCOL, Protection, Reply, Request, Statistics};
use cloister_sys::descriptors::take_inherited;
use cloister_sys::signals::SignalDescriptor;
use rustix::event::{PollFd, PollFlags, poll};

use crate::confine::{self, reach::Reach, user::User};
use crate::control::{Control, Packet};
use crate::drain::{Asked, FOR_EVER, Order};
use crate::log::Sink;
use crate::options::Serve;
use crate::process;
use crate::runtime::Runtime;
use crate::snapshot::Books;
use crate::workers::{Means, Workers};

/// How long open connections may go on after the supervisor's end or a signal.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until a drain has ended.
///
/// # Errors
///
/// What failed and what to do, for a person.
pub fn run(options: &Serve) -> Result<(), String> {
    let number = options.control;
    let socket = take_inherited(number)
        .map_err(|error| format!("--control-fd {number}: {error}; pass it open"))?;
    let control =
        Control::new(socket).map_err(|error| format!("--control-fd {number}: {error}"))?;
    let sink = Sink::new(io::stdout()).map_err(|error| format!("standard output: {error}"))?;
    let signals = process::block_signals()?;
    let means = Means::take();
    let user = options.user.as_deref().map(User::parse).transpose()?;
    let protections = confine::confine(user, options.die_with_parent, options.targets)?;
    let mut server = Server::new(control, signals, sink, means, options.targets);
    server.serve(protections);
    Ok(())
}

struct Server {
    control: Control,
    signals: SignalDescriptor,
    sink: Arc<Sink>,
    running: Arc<Runtime>,
    books: Books,
    workers: Option<Workers>,
    draining: bool,
    asked: Asked,
    means: Means,
}

/// What woke the main thread.
struct Woken {
    control: bool,
    signal: bool,
}

impl Server {
    fn new(
        control: Control,
        signals: SignalDescriptor,
        sink: Arc<Sink>,
        means: Means,
        reach: Reach,
    ) -> Self {
        Self {
            control,
            signals,
            sink,
            running: Arc::default(),
            books: Books::new(reach),
            workers: None,
            draining: false,
            asked: Asked::default(),
            means,
        }
    }

    /// Serves until a drain has ended.
    fn serve(&mut self, confinement: Vec<Protection>) {
        let ready = Reply::Ready {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            confinement,
        };
        let mut listening = self.control.send(&ready).is_ok();
        if !listening {
            self.drain(DRAIN);
        }
        while !self.over() {
            let woken = self.wait(listening);
            if woken.signal
                && let Ok(Some(number)) = self.signals.next()
            {
                match self.asked.signal(number) {
                    Order::Continue => {}
                    Order::Retire => self.drain(FOR_EVER),
                    Order::Drain => self.drain(DRAIN),
                    Order::Cut => self.drain(Duration::ZERO),
                }
            }
            if listening && woken.control && !self.obey() {
                listening = false;
                self.drain(DRAIN);
            }
        }
        if listening {
            let stats = self.statistics();
            let _ = self.control.send(&Reply::Ended { stats });
        }
        if let Some(workers) = self.workers.take() {
            workers.join();
        }
    }

    /// Whether a drain has ended.
    fn over(&self) -> bool {
        self.draining && self.workers.as_ref().is_none_or(Workers::ended)
    }

    fn wait(&self, listening: bool) -> Woken {
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![self.signals.descriptor()];
        if let Some(workers) = &self.workers {
            descriptors.push(workers.descriptor());
        }
        if listening {
            descriptors.push(self.control.descriptor());
        }
        let entry = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let mut waiting: Vec<PollFd<'_>> = descriptors.into_iter().map(entry).collect();
        // An error is EINTR, or a shortage of memory that a second try outlives.
        let _ = poll(&mut waiting, None);
        let is_ready = |entry: Option<&PollFd<'_>>| entry.is_some_and(|e| !e.revents().is_empty());
        Woken {
            signal: is_ready(waiting.first()),
            control: listening && is_ready(waiting.last()),
        }
    }

    /// Serves one packet; false when the supervisor is gone.
    fn obey(&mut self) -> bool {
        let reply = match self.control.receive() {
            Ok(Packet::Nothing) => return true,
            Ok(Packet::End) | Err(_) => return false,
            Ok(Packet::Broken(reason)) => Reply::Refused { id: 0, reason },
            Ok(Packet::Request(request)) => self.answer(request),
        };
        self.control.send(&reply).is_ok()
    }

    fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Descriptors { id } => Reply::Received { id },
            Request::Apply { id, snapshot } => match self.apply(snapshot) {
                Ok(generation) => Reply::Applied { id, generation },
                Err(reason) => Reply::Refused { id, reason },
            },
            Request::Stats { id } => Reply::Stats {
                id,
                stats: self.statistics(),
            },
            Request::Check { id, patience_ms } => {
                let patience = Duration::from_millis(patience_ms);
                let workers = self.workers.as_ref();
                let answering = workers.is_none_or(|workers| workers.answer(patience));
                Reply::Checked { id, answering }
            }
            Request::Drain { id, deadline_ms } => {
                self.drain(Duration::from_millis(deadline_ms));
                let active = self.workers.as_ref().map_or(0, Workers::active);
                Reply::Draining { id, active }
            }
        }
    }

    fn statistics(&self) -> Statistics {
        let generation = self.running.generation;
        let workers = self.workers.as_ref();
        let mut stats = workers.map_or_else(
            || crate::stats::nothing(generation, 0),
            |workers| workers.statistics(generation),
        );
        self.books.add_to(&mut stats);
        stats
    }

    fn apply(&mut self, index: usize) -> Result<u64, String> {
        // Also when draining: the pending descriptors are this request's.
        let (snapshot, descriptors) = self.control.snapshot(index)?;
        if self.draining {
            return Err("the door drains; start another one".to_owned());
        }
        let number = usize::from(snapshot.workers);
        if number == 0 {
            return Err("workers: 0 threads serve nobody".to_owned());
        }
        let runtime = Arc::new(self.books.build(&snapshot, descriptors, &self.running)?);
        if self.workers.is_none() {
            let workers = Workers::start(number, &self.sink, &self.means)
                .map_err(|error| format!("workers: cannot start {number} threads: {error}"))?;
            self.workers = Some(workers);
        }
        if !self
            .workers
            .as_ref()
            .is_some_and(|workers| workers.apply(&runtime))
        {
            return Err("workers: the threads do not answer".to_owned());
        }
        self.running = runtime;
        Ok(snapshot.generation)
    }

    fn drain(&mut self, deadline: Duration) {
        self.draining = true;
        // Its sockets close with the last reference.
        self.running = Arc::new(self.running.without_listeners());
        if let Some(workers) = &self.workers {
            let _ = workers.drain(deadline);
        }
    }
}

#[cfg(test)]
mod tests;
