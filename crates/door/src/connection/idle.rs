//! Connections that move nothing.
//!
//! A byte costs one store: the moment is that of the batch of events it came with. The timer
//! is lazy: it is not moved by a byte, but looks when it comes up how long it really has been,
//! and is entered again for the rest. So a connection wakes its worker once per time-out at
//! most, and a silent one exactly once.
//!
//! "No byte" is what the door moves. Below it the kernel may still deliver what was written
//! long ago, to a slow reader of a download whose end is with the kernel already: while the
//! peer acknowledges, the connection lives. Whether it does takes two looks, so one that has
//! stopped reading is reset after twice the time-out at the latest.

use cloister_proto::messages::door::Outcome;

use super::{Connection, End, Next, Shared, Side, Stage};
use crate::slab::Key;

impl Connection {
    /// From here on the connection may not be idle for longer than its listener's time-out.
    pub(super) fn begin_idle(&mut self, key: Key, shared: &mut Shared) {
        self.touch(shared);
        let limit = self.terms.limits.idle;
        if !limit.is_zero() {
            shared.timers.enter_idle(shared.now.after(limit), key);
        }
    }

    /// Something moved.
    pub(super) const fn touch(&mut self, shared: &Shared) {
        self.active = shared.now.tick();
    }

    /// The idle timer came up.
    pub fn idle(&mut self, key: Key, shared: &mut Shared) -> Next {
        if !matches!(self.stage, Stage::Relay) {
            return Next::Wait;
        }
        let limit = self.terms.limits.idle;
        let silent = shared.now.tick().since(self.active);
        if silent < limit {
            self.up.forget_look();
            self.down.forget_look();
            shared
                .timers
                .enter_idle(shared.now.after(limit.saturating_sub(silent)), key);
            return Next::Wait;
        }
        let looks = [Side::Client, Side::Target].map(|side| self.look(side));
        if looks.contains(&true) {
            shared.timers.enter_idle(shared.now.after(limit), key);
            return Next::Wait;
        }
        let reason = format!("no byte for {} s", limit.as_secs_f64());
        Next::Close(End::broken(Outcome::IdleTimeout, reason))
    }

    /// Whether a side takes what was written to it, as far as that is known.
    fn look(&mut self, side: Side) -> bool {
        let left = self.socket(side).map_or(0, |socket| {
            cloister_sys::sockets::unacknowledged(socket).unwrap_or(0)
        });
        match side {
            Side::Client => self.down.look(left),
            Side::Target => self.up.look(left),
        }
    }
}
