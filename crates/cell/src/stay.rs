//! Launcher and init while the application runs: they forward signals and wait.
//!
//! Between them is a line of packets (a pair of connected `SOCK_SEQPACKET` sockets). Down
//! come signal numbers: so the launcher needs no permission to signal anybody. Up comes how
//! the application ended, or that a key of its terminal has stopped it: process 1 of a pid namespace cannot end by a signal of its own
//! choice, so its own wait status would not tell. Either end learns by end of file that the
//! other one is gone.

use std::os::fd::{AsFd, OwnedFd};

use cloister_sys::signals::{PendingSignal, SignalDescriptor};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait, waitpid,
};

/// The signals that are passed on to the application.
const FORWARDED: [Signal; 9] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::TERM,
    Signal::CONT,
    Signal::TSTP,
    Signal::WINCH,
];

/// Those of them that a terminal's keys and its size send, and what continues a stopped job.
const TERMINAL: [Signal; 5] = [
    Signal::INT,
    Signal::QUIT,
    Signal::STOP,
    Signal::CONT,
    Signal::WINCH,
];

/// What init says where the application was stopped.
const STOPPED: [u8; 2] = [2, 0];

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Exited(u8),
    /// By this signal.
    Signalled(u8),
}

impl End {
    fn of(status: WaitStatus) -> Option<Self> {
        let byte = |number: i32| u8::try_from(number).ok();
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => byte(code).map(Self::Exited),
            (_, Some(signal)) => byte(signal).map(Self::Signalled),
            _ => None,
        }
    }

    fn encode(self) -> [u8; 2] {
        match self {
            Self::Exited(code) => [0, code],
            Self::Signalled(signal) => [1, signal],
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match *bytes {
            [0, code] => Some(Self::Exited(code)),
            [1, signal] => Some(Self::Signalled(signal)),
            _ => None,
        }
    }
}

/// Blocks every signal that these loops wait for, so that none is lost from now on.
///
/// SIGPIPE too: a report that nobody reads must not end the launcher.
///
/// # Errors
///
/// Those of signalfd(2).
pub fn block_signals() -> std::io::Result<SignalDescriptor> {
    let mut numbers: Vec<_> = FORWARDED.iter().map(|signal| signal.as_raw()).collect();
    numbers.push(Signal::CHILD.as_raw());
    numbers.push(Signal::PIPE.as_raw());
    SignalDescriptor::block(&numbers)
}

/// What came while waiting.
struct Arrival {
    signals: bool,
    line: bool,
    lifeline: bool,
}

/// Waits for a signal, for the line, which is left out once it has ended, or for the end of
/// the lifeline.
fn wait_for(
    signals: &SignalDescriptor,
    line: Option<&OwnedFd>,
    lifeline: Option<&OwnedFd>,
) -> Result<Arrival, Errno> {
    let entry = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
    let mut descriptors = vec![entry(signals.descriptor())];
    descriptors.extend(line.map(|line| entry(line.as_fd())));
    descriptors.extend(lifeline.map(|lifeline| entry(lifeline.as_fd())));
    match poll(&mut descriptors, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error),
    }
    let ready = |index: usize| {
        descriptors
            .get(index)
            .is_some_and(|one: &PollFd<'_>| !one.revents().is_empty())
    };
    let lines = usize::from(line.is_some());
    Ok(Arrival {
        signals: ready(0),
        line: line.is_some() && ready(1),
        // Nobody writes to it: that it can be read means its end.
        lifeline: ready(1 + lines),
    })
}

/// What the launcher has of the cell.
#[derive(Debug)]
pub struct Line {
    /// The line to init; `None` once it has ended.
    pub control: Option<OwnedFd>,
    /// The cell's first process: init, or the application itself.
    pub process: Pid,
    /// Whether the application has a session of its own. Otherwise it is in the caller's
    /// foreground process group, and what the terminal sends comes to it directly.
    pub own_session: bool,
    /// Whether the first process is the application itself: then it is signalled, not told.
    pub direct: bool,
}

/// The launcher: passes signals down until init has ended; says how the application ended.
///
/// # Errors
///
/// Those of poll(2), read(2) and waitpid(2); `OWNERDEAD` where the lifeline has ended: who
/// returns then ends, and with it init and the cell.
pub fn launcher(
    signals: &SignalDescriptor,
    mut line: Line,
    lifeline: Option<&OwnedFd>,
) -> Result<End, Errno> {
    let mut end = None;
    loop {
        let arrival = wait_for(signals, line.control.as_ref(), lifeline)?;
        if arrival.lifeline {
            return Err(Errno::OWNERDEAD);
        }
        if arrival.line {
            match line.control.as_ref().map(receive).transpose()?.flatten() {
                // Whoever started the cell sees its job stopped, and continues it by SIGCONT.
                Some(packet) if packet == STOPPED => {
                    let _ = kill_process(getpid(), Signal::STOP);
                }
                Some(packet) => end = End::decode(&packet),
                None => line.control = None,
            }
        }
        if !arrival.signals {
            continue;
        }
        while let Some(signal) = next(signals)? {
            if signal.number == Signal::CHILD.as_raw() {
                if let Some((_, status)) = waitpid(Some(line.process), WaitOptions::NOHANG)? {
                    // What init still said is in the line; without it init itself was killed.
                    if end.is_none()
                        && let Some(packet) =
                            line.control.as_ref().map(receive).transpose()?.flatten()
                    {
                        end = End::decode(&packet);
                    }
                    return end.or_else(|| End::of(status)).ok_or(Errno::CHILD);
                }
            } else if let Some(forwarded) = forwarded(signal) {
                line.pass_down(signal, forwarded);
            }
        }
    }
}

impl Line {
    fn pass_down(&self, signal: PendingSignal, forwarded: Signal) {
        let has_it_already = signal.from_kernel && !self.own_session;
        // A session of its own is an orphaned process group, whose members ignore SIGTSTP
        // (setpgid(2), "Notes"); SIGSTOP stops them all the same.
        let stops = forwarded == Signal::TSTP;
        let sent = if stops && self.own_session {
            Signal::STOP
        } else {
            forwarded
        };
        if !has_it_already {
            self.send(sent);
        }
        if stops {
            // The shell sees its job stopped, and continues it by SIGCONT.
            let _ = kill_process(getpid(), Signal::STOP);
        }
    }

    fn send(&self, signal: Signal) {
        if self.direct {
            forward(self.process, signal.as_raw());
        } else if let (Some(control), Ok(byte)) = (&self.control, u8::try_from(signal.as_raw())) {
            // A full line means hundreds of signals that nobody takes: one more is lost.
            let _ = rustix::net::send(control, &[byte], rustix::net::SendFlags::DONTWAIT);
        }
    }
}

/// Init: passes signals on to the application, reaps whatever ends, and returns how the
/// application ended, having said so to the launcher; `None` where the launcher has gone.
///
/// `terminal`: whether the cell has a terminal of its own, whose keys may stop the application.
///
/// # Errors
///
/// Those of poll(2), read(2) and wait(2).
pub fn init(
    signals: &SignalDescriptor,
    line: &OwnedFd,
    application: Pid,
    terminal: bool,
) -> Result<Option<End>, Errno> {
    loop {
        let arrival = wait_for(signals, Some(line), None)?;
        if arrival.line {
            match receive(line)? {
                Some(packet) => {
                    for number in packet {
                        forward(application, i32::from(number));
                    }
                }
                None => return Ok(None),
            }
        }
        if !arrival.signals {
            continue;
        }
        while let Some(signal) = next(signals)? {
            if signal.number == Signal::CHILD.as_raw() {
                match reap(application, terminal)? {
                    Reaped::Ended(end) => {
                        let _ = rustix::io::write(line, &end.encode());
                        return Ok(Some(end));
                    }
                    Reaped::Stopped => {
                        let _ = rustix::io::write(line, &STOPPED);
                    }
                    Reaped::Nothing => {}
                }
            } else if forwarded(signal).is_some() && !signal.from_kernel {
                // What the terminal sends to the foreground group comes by the launcher.
                forward(application, signal.number);
            }
        }
    }
}

fn forward(application: Pid, number: i32) {
    let signal = FORWARDED
        .into_iter()
        .chain([Signal::STOP])
        .find(|signal| signal.as_raw() == number);
    if let Some(signal) = signal {
        // A terminal sends these to its whole foreground group: a shell that is interrupted
        // leaves it to the program that it waits for to end. Without a session of its own
        // the application leads no group, and is sent the signal alone.
        let whole_group = TERMINAL.contains(&signal);
        // It may have ended meanwhile; its SIGCHLD then waits to be read.
        if !whole_group || kill_process_group(application, signal).is_err() {
            let _ = kill_process(application, signal);
        }
    }
}

/// What came of the application.
enum Reaped {
    Nothing,
    Stopped,
    Ended(End),
}

/// Reaps everything that has ended; says what came of the application.
fn reap(application: Pid, stops: bool) -> Result<Reaped, Errno> {
    let mut options = WaitOptions::NOHANG;
    if stops {
        options |= WaitOptions::UNTRACED;
    }
    let mut found = Reaped::Nothing;
    loop {
        match wait(options) {
            Ok(Some((process, status))) if process == application => match End::of(status) {
                Some(end) => return Ok(Reaped::Ended(end)),
                None => found = Reaped::Stopped,
            },
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(found),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn forwarded(signal: PendingSignal) -> Option<Signal> {
    FORWARDED
        .into_iter()
        .find(|forwarded| forwarded.as_raw() == signal.number)
}

fn next(signals: &SignalDescriptor) -> Result<Option<PendingSignal>, Errno> {
    signals
        .next_with_origin()
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// One packet; `None` at the end.
fn receive(line: &OwnedFd) -> Result<Option<Vec<u8>>, Errno> {
    let mut packet = [0; 2];
    match rustix::io::read(line, &mut packet) {
        Ok(0) | Err(Errno::CONNRESET) => Ok(None),
        Ok(length) => Ok(Some(packet[..length].to_vec())),
        Err(Errno::INTR) => Ok(Some(Vec::new())),
        Err(error) => Err(error),
    }
}
