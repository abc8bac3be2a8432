//! Ends that the other side really gets to see.
//!
//! Closing a TCP socket with unread bytes in it sends a reset, and a reset discards what was
//! sent before it and not yet acknowledged: the alert, or the end of a download, would be
//! lost. So the door says its last word, shuts its direction, and reads what the client still
//! sends, bounded in time and bytes. Where the last word must be a reset, because the target
//! broke off, it waits for the acknowledgement of what came before.
//!
//! The time starts anew while the client acknowledges: a slow download goes on.

use std::borrow::Cow;
use std::os::fd::AsFd;
use std::time::Duration;

use cloister_proto::alert::Alert;
use cloister_proto::messages::door::Outcome;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::{Connection, End, Linger, Next, Shared, Side, Stage};
use crate::clock::Moment;
use crate::slab::Key;

/// How long a lingering connection may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the acknowledgements are looked at before a reset.
const LOOK: Duration = Duration::from_millis(10);

/// How many bytes are read from it.
const BUDGET: usize = 256 * 1024;

impl Connection {
    /// Sends an alert and lingers until the client has seen it.
    pub(super) fn refuse(
        &mut self,
        key: Key,
        alert: Alert,
        outcome: Outcome,
        reason: impl Into<Cow<'static, str>>,
        shared: &mut Shared,
    ) -> Next {
        self.send_alert(alert);
        let _ = shutdown(&self.client, Shutdown::Write);
        let mut end = End::new(outcome);
        end.reason = Some(reason.into());
        self.begin_linger(key, end, true, shared)
    }

    /// A new socket has room for seven bytes; where it has not, the client is gone.
    pub(super) fn send_alert(&self, alert: Alert) {
        let _ = send(&self.client, &alert.record(), SendFlags::NOSIGNAL);
    }

    /// The target is gone after a clean end, which the client was told when the flow to it
    /// ended: it gets some time to close.
    ///
    /// `unread`: something of the client's may be unread without a further event to tell.
    pub(super) fn linger_after_relay(
        &mut self,
        key: Key,
        unread: bool,
        shared: &mut Shared,
    ) -> Next {
        self.up.release(&mut shared.tools);
        self.target = None;
        self.begin_linger(key, End::new(Outcome::Complete), unread, shared)
    }

    /// The target broke off: the client gets what the target said before, then a reset.
    pub(super) fn reset_after_delivery(&mut self, key: Key, end: End, shared: &mut Shared) -> Next {
        if !self.tcp || self.unacknowledged() == 0 {
            return Next::Close(end);
        }
        self.up.release(&mut shared.tools);
        self.target = None;
        self.begin_linger(key, end, true, shared)
    }

    /// Waits for the client's end, or for its acknowledgements. In the first case its socket
    /// must have been shut down for writing.
    fn begin_linger(&mut self, key: Key, end: End, unread: bool, shared: &mut Shared) -> Next {
        let now = Moment::now();
        let until = now.after(PATIENCE);
        shared
            .timers
            .enter(if end.reset { now.after(LOOK) } else { until }, key);
        self.stage = Stage::Linger(Box::new(Linger {
            end,
            until,
            budget: BUDGET,
            // Not worth a system call yet: most clients close before the first look.
            unacknowledged: usize::MAX,
        }));
        // The edge of a client that was watched before is spent.
        if unread && self.client_watch.registered {
            shared.ready.push((key, Side::Client));
        }
        match self.watch_for(key, Side::Client, false, false, shared) {
            Ok(()) => Next::Wait,
            Err(error) => Next::Close(End::broken(Outcome::Internal, error.to_string())),
        }
    }

    /// Looks whether a lingering client still takes something.
    pub(super) fn linger_on(&mut self, key: Key, now: Moment, shared: &mut Shared) -> Next {
        let left = self.unacknowledged();
        let Stage::Linger(linger) = &mut self.stage else {
            return Next::Wait;
        };
        if left < linger.unacknowledged {
            linger.unacknowledged = left;
            linger.until = now.after(PATIENCE);
        }
        let done = linger.end.reset && left == 0;
        if done || now >= linger.until {
            return Next::Close(linger.end.clone());
        }
        let next = if linger.end.reset {
            now.after(LOOK).min(linger.until)
        } else {
            linger.until
        };
        shared.timers.enter(next, key);
        Next::Wait
    }

    /// Bytes on their way to a TCP client.
    fn unacknowledged(&self) -> usize {
        if self.tcp {
            cloister_sys::sockets::unacknowledged(&self.client).unwrap_or(0)
        } else {
            0
        }
    }

    pub(super) fn linger(&mut self, shared: &mut Shared) -> Next {
        let Stage::Linger(linger) = &mut self.stage else {
            return Next::Wait;
        };
        loop {
            let buffer = &mut *shared.tools.buffer;
            match recv(self.client.as_fd(), buffer, RecvFlags::empty()) {
                Ok((_, count)) if count > 0 && count < linger.budget => linger.budget -= count,
                Err(Errno::AGAIN) => return Next::Wait,
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return Next::Close(linger.end.clone()),
            }
        }
    }
}
