//! How the control thread talks to a worker.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::clock::Moment;
use crate::resolve::Waker;
use crate::runtime::Runtime;

/// What a worker is told.
#[derive(Clone, Debug)]
pub enum Command {
    /// A new snapshot.
    Apply(Arc<Runtime>),
    /// Nothing: to answer shows that the worker is not stuck.
    Answer,
    /// Close the listeners; end when the last connection has, or at this moment.
    Drain {
        /// When open connections are cut.
        until: Moment,
    },
}

#[derive(Debug, Default)]
struct Letters {
    waiting: Vec<Command>,
    sent: u64,
    obeyed: u64,
    /// Whether the worker has ended: it opens no letter any more, and needs none.
    ended: bool,
}

/// Commands for one worker, and a descriptor that wakes it.
#[derive(Debug)]
pub struct Mailbox {
    letters: Mutex<Letters>,
    obeyed: Condvar,
    descriptor: OwnedFd,
}

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// Those of eventfd(2).
    pub fn new() -> Result<Self, Errno> {
        Ok(Self {
            letters: Mutex::default(),
            obeyed: Condvar::new(),
            descriptor: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Readable while commands wait.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Sends a command and returns its number for [`Mailbox::wait`].
    pub fn send(&self, command: Command) -> u64 {
        let mut letters = self.lock();
        letters.waiting.push(command);
        letters.sent += 1;
        self.ring();
        letters.sent
    }

    /// Waits until the worker has obeyed or ended; false when it has not within the patience.
    #[must_use]
    pub fn wait(&self, number: u64, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut letters = self.lock();
        while letters.obeyed < number && !letters.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.obeyed.wait_timeout(letters, left);
            letters = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Takes all commands; for the worker.
    pub fn take(&self) -> Vec<Command> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.descriptor, &mut count);
        std::mem::take(&mut self.lock().waiting)
    }

    /// Says that everything taken is done; for the worker.
    pub fn acknowledge(&self) {
        let mut letters = self.lock();
        letters.obeyed = letters.sent - letters.waiting.len() as u64;
        self.obeyed.notify_all();
    }

    /// Says that nothing will be taken any more; for the worker, when it ends.
    pub fn close(&self) {
        self.lock().ended = true;
        self.obeyed.notify_all();
    }

    fn ring(&self) {
        // EAGAIN: the counter is full, so the worker is awake anyway.
        let _ = rustix::io::write(&self.descriptor, &1u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waker for Mailbox {
    /// A worker whose mailbox rings looks at its connections too.
    fn wake(&self) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_once_and_acknowledged() {
        let mailbox = Arc::new(Mailbox::new().expect("a descriptor"));
        let number = mailbox.send(Command::Apply(Arc::default()));
        assert!(!mailbox.wait(number, Duration::ZERO));
        let worker = Arc::clone(&mailbox);
        let thread = std::thread::spawn(move || {
            assert_eq!(worker.take().len(), 1);
            assert!(worker.take().is_empty());
            worker.acknowledge();
        });
        assert!(mailbox.wait(number, Duration::from_secs(10)));
        thread.join().expect("the thread ends");
    }

    #[test]
    fn nobody_waits_for_a_worker_that_has_ended() {
        let mailbox = Mailbox::new().expect("a descriptor");
        let early = mailbox.send(Command::Answer);
        mailbox.close();
        let late = mailbox.send(Command::Answer);
        assert!(mailbox.wait(early, Duration::ZERO) && mailbox.wait(late, Duration::ZERO));
    }
}
