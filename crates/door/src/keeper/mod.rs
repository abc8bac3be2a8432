//! `cloister-door keep`: holds the listening sockets and has doors serve them, one after the
//! other.
//!
//! A door is confined: it can execute nothing, so it cannot start its successor. The keeper
//! can, and touches no connection: it is one thread that sleeps until a signal, a door's
//! message or a door's end. A new door is started from the program's file as it is then,
//! which makes a replacement an upgrade.

mod child;
pub mod generations;

use std::ffi::{CString, OsString};
use std::os::fd::BorrowedFd;

use cloister_sys::signals::SignalDescriptor;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use rustix::time::{ClockId, clock_gettime};

use self::child::{Child, Nursery};
use self::generations::{Action, Event, Generations};
use crate::clock::Moment;
use crate::drain::{Asked, Order, timespec};
use crate::inherited;
use crate::notify::Notifier;

/// Keeps a door serving until a signal to stop: `command` is what follows the program's
/// name on the door's own command line.
///
/// SIGUSR2 replaces the door. SIGUSR1, SIGHUP, SIGTERM and SIGINT are for all doors: the first
/// two drain, within the doors' own time.
///
/// # Errors
///
/// What failed and what to do, for a person.
pub fn run(program: CString, command: &[OsString]) -> Result<(), String> {
    let notifier = Notifier::from_environment();
    let nursery = Nursery::new(program, command, inherited::take()?, notifier.watchdog())?;
    let signals = [
        Signal::HUP,
        Signal::TERM,
        Signal::INT,
        Signal::USR1,
        Signal::USR2,
        Signal::CHILD,
    ];
    let signals = SignalDescriptor::block(&signals.map(Signal::as_raw))
        .map_err(|error| format!("cannot block signals: {error}"))?;
    // Before the service manager gives the keeper up with all its doors, the keeper gives up
    // the one that hangs.
    let silence = notifier.watchdog().map(|half| half * 3 / 2);
    let mut keeper = Keeper {
        nursery,
        notifier,
        signals,
        generations: Generations::new(silence),
        children: Vec::new(),
        asked: Asked::default(),
        end: None,
    };
    keeper.obey(&[Action::Start]);
    while keeper.end.is_none() {
        keeper.turn()?;
    }
    match keeper.end {
        Some(false) => Err("the door does not start; see its own message above".to_owned()),
        _ => Ok(()),
    }
}

struct Keeper {
    nursery: Nursery,
    notifier: Notifier,
    signals: SignalDescriptor,
    generations: Generations,
    children: Vec<Child>,
    asked: Asked,
    end: Option<bool>,
}

impl Keeper {
    fn turn(&mut self) -> Result<(), String> {
        self.wait();
        // First what doors say, then who has ended: a last message is still a message.
        self.listen();
        while let Some(number) = self
            .signals
            .next()
            .map_err(|error| format!("cannot read signals: {error}"))?
        {
            self.signal(number);
        }
        self.reap();
        if self
            .generations
            .next()
            .is_some_and(|moment| Moment::now() >= moment)
        {
            self.happen(Event::Time);
        }
        Ok(())
    }

    fn wait(&self) {
        let next = self.generations.next();
        let timeout = next.map(|moment| timespec(moment.since(Moment::now())));
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![self.signals.descriptor()];
        descriptors.extend(self.children.iter().filter_map(Child::descriptor));
        let entry = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let mut waiting: Vec<PollFd<'_>> = descriptors.into_iter().map(entry).collect();
        // An error is EINTR, or a shortage of memory that a second try outlives.
        let _ = poll(&mut waiting, timeout.as_ref());
    }

    fn signal(&mut self, number: i32) {
        if number == Signal::USR2.as_raw() {
            self.happen(Event::Replace);
            return;
        }
        match self.asked.signal(number) {
            Order::Continue => {}
            Order::Retire | Order::Drain => self.happen(Event::Stop),
            Order::Cut => self.happen(Event::Cut),
        }
    }

    fn listen(&mut self) {
        let mut messages = Vec::new();
        for child in &mut self.children {
            while let Some(message) = child.receive() {
                messages.push((child.process, message));
            }
        }
        for (process, message) in messages {
            for line in message.lines() {
                self.told(process, line);
            }
        }
    }

    /// A door is not trusted further than it must be: what it says about others than itself
    /// goes no further.
    fn told(&mut self, process: u32, line: &str) {
        match line.split_once('=') {
            Some(("READY", "1")) => self.happen(Event::Ready(process)),
            Some(("WATCHDOG", "1")) if self.generations.accepts(process) => {
                self.happen(Event::Alive(process));
                self.notifier.alive();
            }
            Some(("EXTEND_TIMEOUT_USEC", time))
                if self.generations.stopping() && time.parse::<u64>().is_ok() =>
            {
                self.notifier.say(line);
            }
            Some(("STATUS", status)) if self.generations.stopping() => {
                self.notifier
                    .say(&format!("STATUS=process {process}: {status}"));
            }
            _ => {}
        }
    }

    fn reap(&mut self) {
        let mut ended = Vec::new();
        while let Ok(Some((process, status))) = wait(WaitOptions::NOHANG) {
            ended.push((process.as_raw_nonzero().get().cast_unsigned(), status));
        }
        if ended.is_empty() {
            return;
        }
        // One that has ended since the keeper listened may have said that it was ready before.
        self.listen();
        for (process, status) in ended {
            let before = self.children.len();
            self.children.retain(|child| child.process != process);
            // Whoever executed this program may have left it children of its own.
            if self.children.len() < before {
                let well = status.exit_status() == Some(0);
                if !well {
                    eprintln!("cloister-door: keep: process {process} ended: {status:?}");
                }
                self.happen(Event::Ended(process, well));
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let actions = self.generations.happen(Moment::now(), event);
        self.obey(&actions);
    }

    fn obey(&mut self, actions: &[Action]) {
        for action in actions {
            match *action {
                Action::Start => self.start(),
                Action::Retire(process) => send(process, Signal::USR1),
                // Not SIGTERM: systemd may send that to the whole unit as well, and a second
                // one would cut.
                Action::Drain(process) => send(process, Signal::HUP),
                Action::Cut(process) => send(process, Signal::INT),
                Action::Kill(process) => {
                    eprintln!("cloister-door: keep: process {process} does not answer");
                    send(process, Signal::KILL);
                }
                Action::SayReloading => {
                    let now = clock_gettime(ClockId::Monotonic);
                    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
                    self.notifier
                        .say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
                }
                Action::SayReady(process) => {
                    let draining = self.generations.draining();
                    self.say_ready(&format!("process {process} accepts, {draining} drain"));
                }
                Action::SayKept(process) => {
                    eprintln!(
                        "cloister-door: keep: the new door does not start; process {process} \
                         goes on"
                    );
                    self.say_ready(&format!(
                        "process {process} accepts; the last replacement failed"
                    ));
                }
                Action::SayRestart(pause) => {
                    eprintln!("cloister-door: keep: the next door starts in {pause:?}");
                    self.notifier.say("STATUS=the door is started again");
                    self.say_alive();
                }
                Action::SayStopping => {
                    let draining = self.generations.draining();
                    self.notifier
                        .say(&format!("STOPPING=1\nSTATUS={draining} drain"));
                }
                Action::Exit(well) => self.end = Some(well),
            }
        }
    }

    fn say_ready(&self, status: &str) {
        self.notifier.say(&format!("READY=1\nSTATUS={status}"));
        // A door first says so after half of the watchdog's time; where doors follow each other
        // more quickly than that, none would ever.
        self.say_alive();
    }

    fn say_alive(&self) {
        if self.notifier.watchdog().is_some() {
            self.notifier.alive();
        }
    }

    fn start(&mut self) {
        match self.nursery.start() {
            Ok(child) => {
                let process = child.process;
                self.children.push(child);
                self.happen(Event::Started(process));
            }
            Err(error) => {
                eprintln!("cloister-door: keep: no process for a new door: {error}");
                self.happen(Event::NotStarted);
            }
        }
    }
}

fn send(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let Some(process) = process
        && let Err(error) = kill_process(process, signal)
    {
        // It has just ended, or has another user than a keeper without privileges may signal.
        eprintln!("cloister-door: keep: {signal:?} to process {process:?}: {error}");
    }
}
