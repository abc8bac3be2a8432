//! What the administrator should hear of, from threads that must not wait.
//!
//! Standard error may be a pipe whose reader is slow, and a worker never waits for a reader.
//! So a complaint is written where poll(2) says that there is room, in at most `PIPE_BUF`
//! bytes, which a pipe with room takes at once (pipe(7)); otherwise it is left unsaid. Each
//! kind is said once a minute at most: what is complained about can happen a thousand times a
//! second.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::Moment;

/// Between two complaints of one kind.
const PAUSE: Duration = Duration::from_secs(60);

const PIPE_BUF: usize = 4096;

/// One kind of complaint, shared by all threads.
#[derive(Debug, Default)]
pub struct Complaint {
    /// In microseconds of [`Moment`]; before that nothing is said.
    next: AtomicU64,
}

impl Complaint {
    /// A kind that nobody has complained of yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
        }
    }

    /// Writes one line to standard error, or nothing.
    pub fn say(&self, now: Moment, text: fmt::Arguments<'_>) {
        if self.is_due(now) {
            write(&format!("cloister-door: {text}\n"));
        }
    }

    fn is_due(&self, now: Moment) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        let after = now.after(PAUSE).as_micros();
        now.as_micros() >= next
            && self
                .next
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

fn write(line: &str) {
    let stderr = rustix::stdio::stderr();
    let mut waiting = [PollFd::from_borrowed_fd(stderr, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let room = poll(&mut waiting, Some(&at_once)).is_ok_and(|ready| ready > 0);
    if room && line.len() <= PIPE_BUF && waiting[0].revents().contains(PollFlags::OUT) {
        let _ = rustix::io::write(stderr, line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_is_said_once_a_minute() {
        let complaint = Complaint::new();
        let start = Moment::from_micros(0);
        assert!(complaint.is_due(start));
        assert!(!complaint.is_due(start.after(PAUSE / 2)));
        assert!(complaint.is_due(start.after(PAUSE)));
        assert!(!complaint.is_due(start.after(PAUSE)));
        assert!(Complaint::new().is_due(start), "another kind");
    }
}
