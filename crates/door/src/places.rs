//! How many connections all listeners of a relay have together, for which there is room, and
//! since when there is none.
//!
//! A worker that finds no room takes its listeners out of its epoll set and watches
//! [`Places::descriptor`] instead: nobody polls, and no client is turned away. Both sides
//! write before they read, with a fence between (one waits and then looks for room, the other
//! leaves and then looks for who waits), so one of the two sees the other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::clock::Moment;

/// Shared by all workers and the main thread.
#[derive(Debug)]
pub struct Places {
    limit: u32,
    active: AtomicU32,
    waiting: AtomicU32,
    /// When the last connection ended, in microseconds of [`Moment`].
    ended: AtomicU64,
    room: OwnedFd,
}

impl Places {
    /// Room for `limit` connections, empty since `now`.
    ///
    /// # Errors
    ///
    /// Those of eventfd(2).
    pub fn new(limit: u32, now: Moment) -> Result<Self, Errno> {
        // A semaphore: what one connection leaves wakes one worker's wait, not all.
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
        Ok(Self {
            limit,
            active: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            ended: AtomicU64::new(now.as_micros()),
            room: eventfd(0, flags)?,
        })
    }

    /// Takes a place; false where there is none.
    #[must_use]
    pub fn enter(&self) -> bool {
        let before = self.active.fetch_add(1, Ordering::Relaxed);
        if before >= self.limit {
            self.active.fetch_sub(1, Ordering::Relaxed);
        }
        before < self.limit
    }

    /// Gives a place back that no connection had.
    pub fn cancel(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.wake();
    }

    /// Gives a connection's place back.
    pub fn leave(&self, now: Moment) {
        self.ended.store(now.as_micros(), Ordering::Relaxed);
        // Released after the time, so that whoever sees nobody sees since when.
        self.active.fetch_sub(1, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            // EAGAIN: the counter is full, so all are awake anyway.
            let _ = rustix::io::write(&self.room, &1u64.to_ne_bytes());
        }
    }

    /// Announces a wait for room; false, and no wait, where there is some by now.
    #[must_use]
    pub fn wait(&self) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.active.load(Ordering::Relaxed) < self.limit {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Readable when a waiting worker shall look again.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.room.as_fd()
    }

    /// Takes what made [`Places::descriptor`] readable and ends the wait; false where
    /// another worker was faster.
    #[must_use]
    pub fn woken(&self) -> bool {
        let mut count = [0; 8];
        let woken = rustix::io::read(&self.room, &mut count).is_ok();
        if woken {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        woken
    }

    /// Since when there is no connection; `None` where there is one.
    #[must_use]
    pub fn empty_since(&self) -> Option<Moment> {
        let nobody = self.active.load(Ordering::Acquire) == 0;
        nobody.then(|| Moment::from_micros(self.ended.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(micros: u64) -> Moment {
        Moment::from_micros(micros)
    }

    #[test]
    fn the_last_place_is_given_once_and_again_when_it_is_free() {
        let places = Places::new(2, moment(5)).expect("a descriptor");
        assert_eq!(places.empty_since(), Some(moment(5)));
        assert!(places.enter() && places.enter());
        assert!(!places.enter());
        assert_eq!(places.empty_since(), None);
        assert!(places.wait());
        assert!(!places.woken(), "nobody has left");
        places.leave(moment(9));
        assert!(places.woken());
        assert!(!places.woken(), "one place wakes one");
        assert!(places.enter());
        places.leave(moment(10));
        places.leave(moment(11));
        assert_eq!(places.empty_since(), Some(moment(11)));
        assert!(!places.wait(), "there is room");
    }

    #[test]
    fn nobody_is_woken_for_whom_nobody_waits() {
        let places = Places::new(1, moment(0)).expect("a descriptor");
        assert!(places.enter());
        places.leave(moment(1));
        assert!(!places.woken());
    }

    #[test]
    fn threads_never_take_more_places_than_there_are() {
        let places = Places::new(3, moment(0)).expect("a descriptor");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        if places.enter() {
                            let now = inside.fetch_add(1, Ordering::SeqCst);
                            assert!(now < 3, "{now} were inside");
                            inside.fetch_sub(1, Ordering::SeqCst);
                            places.leave(moment(1));
                        }
                    }
                });
            }
        });
        assert_eq!(places.empty_since(), Some(moment(1)));
    }
}
