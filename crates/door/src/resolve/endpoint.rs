//! What a name leads to now: written by the resolver's thread, read by every worker.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use cloister_proto::messages::door::Balance;
use tokio::sync::Notify;

use crate::clock::Moment;

use super::balance::Pool;
use super::{Answer, Query, State};

/// Wakes one worker; called by the resolver's thread, which must not be blocked.
pub trait Waker: Send + Sync {
    /// Makes the worker look at its connections.
    fn wake(&self);
}

/// One name, for as long as somebody holds it.
///
/// Reading is wait-free ([`Endpoint::current`]). Choosing takes a lock that only workers
/// share and that none holds longer than a look at some tens of addresses takes.
pub struct Endpoint {
    query: Query,
    answer: ArcSwap<Answer>,
    /// Whether a connection has asked since the last look of the resolver's thread.
    used: AtomicBool,
    /// Tells the name's task that it was used while nothing was scheduled, or is dropped.
    signal: Arc<Notify>,
    waiters: Mutex<Vec<Arc<dyn Waker>>>,
    turns: Mutex<Turns>,
}

#[derive(Default)]
struct Turns {
    pool: Pool,
    generation: u64,
}

impl Endpoint {
    pub(super) fn new(query: Query, answer: Answer, signal: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            query,
            answer: ArcSwap::from_pointee(answer),
            used: AtomicBool::new(false),
            signal,
            waiters: Mutex::default(),
            turns: Mutex::default(),
        })
    }

    /// What was asked for.
    #[must_use]
    pub const fn query(&self) -> &Query {
        &self.query
    }

    /// The answer in force; wait-free. Counts as use: only names in use are kept fresh. An
    /// answer that is `Pending` is on its way from now on; see [`Endpoint::wait`].
    #[must_use]
    pub fn current(&self) -> Arc<Answer> {
        let answer = self.answer.load_full();
        // A plain look first: a store would take the cache line from the other workers.
        if !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::AcqRel) {
            // The first use since the resolver's last look: where nothing is scheduled any
            // more, it must hear of it.
            if self.answer.load().state == State::Pending {
                self.signal.notify_one();
            }
        }
        answer
    }

    /// Has `waker` woken once when an answer newer than `generation` comes, at once where it
    /// is there already. The same waker waits once, however often it is given.
    pub fn wait(&self, generation: u64, waker: &Arc<dyn Waker>) {
        let mut waiters = lock(&self.waiters);
        if self.answer.load().generation > generation {
            drop(waiters);
            waker.wake();
        } else if !waiters.iter().any(|known| Arc::ptr_eq(known, waker)) {
            waiters.push(Arc::clone(waker));
        }
    }

    /// All addresses of the answer in force in the order in which the next connection tries
    /// them; takes a turn. Counts as use, as [`Endpoint::current`].
    #[must_use]
    pub fn choose(&self, now: Moment, balance: Balance) -> Vec<SocketAddr> {
        let answer = self.current();
        let mut turns = lock(&self.turns);
        // Two workers may come with two answers: the newer one stays.
        if answer.generation > turns.generation {
            turns.generation = answer.generation;
            turns.pool.update(now, &answer.addresses);
        }
        turns.pool.choose(now, balance)
    }

    /// See [`Pool::succeeded`].
    pub fn succeeded(&self, address: SocketAddr) {
        lock(&self.turns).pool.succeeded(address);
    }

    /// See [`Pool::failed`].
    pub fn failed(&self, now: Moment, address: SocketAddr) {
        lock(&self.turns).pool.failed(now, address);
    }

    /// See [`Pool::closed`].
    pub fn closed(&self, address: SocketAddr) {
        lock(&self.turns).pool.closed(address);
    }

    /// Puts an answer in force and wakes who waits; numbers it.
    pub(super) fn publish(&self, addresses: Vec<super::Address>, state: State) {
        let generation = self.answer.load().generation + 1;
        let answer = Answer {
            addresses,
            state,
            generation,
        };
        let waiters = {
            // Under the lock: who waits has seen either this answer or is in the list.
            let mut waiters = lock(&self.waiters);
            self.answer.store(Arc::new(answer));
            std::mem::take(&mut *waiters)
        };
        for waker in waiters {
            waker.wake();
        }
    }

    /// Whether it was used since the last call.
    pub(super) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Its task finds nobody left and ends.
        self.signal.notify_one();
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Endpoint");
        debug.field("query", &self.query);
        debug.field("answer", &self.answer.load());
        debug.finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
