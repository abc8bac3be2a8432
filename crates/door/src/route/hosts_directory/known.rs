//! What folders held when they were last looked into: saves looking for files that are not
//! there, once for each connection.
//!
//! A remembered look counts only where the folder's state, asked for anew with each
//! connection, is the one of that look; and a look is remembered only where every later
//! change is certain to show. So a change counts at once.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use cloister_proto::messages::door::SendProxy;

use super::kept::KeptFolder;
use super::state::State;

/// Pages of [`SLOTS`] folders each. Pages are made when they are first used: at most 4,096
/// folders are remembered, in 320 KiB.
const PAGES: usize = 64;
const SLOTS: usize = 64;

/// A look is forgotten after this many seconds, whatever the folder's state says.
const LIFETIME: i64 = 60;

/// What a look into a folder found, where its socket is a plain one.
#[derive(Clone, Debug)]
pub struct Look {
    /// The folder's state before and after.
    pub folder: State,
    /// Who owns the socket.
    pub owner: u32,
    /// Whether the socket takes connections handed over; then whether there is one to relay
    /// to beside it.
    pub handoff: Option<bool>,
    /// Whether there are sockets for single protocols.
    pub alpn: bool,
    /// The header that is asked for.
    pub send_proxy: SendProxy,
    /// When it was.
    pub taken: i64,
    /// The folder itself, where there was room for it.
    pub kept: Option<Arc<KeptFolder>>,
}

impl Look {
    /// Whether it is too old to be used.
    pub fn has_expired(&self, now: i64) -> bool {
        !(self.taken..self.taken + LIFETIME).contains(&now)
    }
}

type Page = Box<[Mutex<Option<Look>>; SLOTS]>;

/// Looks by the name of the folder. Two names may share a place: the state tells them apart.
#[derive(Debug)]
pub struct Known {
    hasher: RandomState,
    pages: Box<[OnceLock<Page>; PAGES]>,
    /// For each place whether the last connection was handed off: one bit, whatever can be
    /// remembered of the folder.
    hands_off: [AtomicU64; PAGES],
    /// Whether any ever was.
    any_hands_off: AtomicBool,
}

impl Known {
    /// Nothing is known.
    pub fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            pages: Box::new([const { OnceLock::new() }; PAGES]),
            hands_off: [const { AtomicU64::new(0) }; PAGES],
            any_hands_off: AtomicBool::new(false),
        }
    }

    /// The last look at what may be this folder.
    pub fn get(&self, name: &str) -> Option<Look> {
        let (page, slot) = self.place(name);
        // Another thread at the same place at the same time: looking anew costs less.
        page.get()?[slot].try_lock().ok()?.clone()
    }

    /// Whether a connection of what may be this folder was last handed off. A guess: nothing
    /// is asked anew.
    pub fn hands_off(&self, name: &str) -> bool {
        if !self.any_hands_off() {
            return false;
        }
        let (page, slot) = self.numbers(name);
        self.hands_off[page].load(Ordering::Relaxed) >> slot & 1 == 1
    }

    /// Whether any connection ever was.
    pub fn any_hands_off(&self) -> bool {
        self.any_hands_off.load(Ordering::Relaxed)
    }

    /// Notes whether a connection was handed off.
    pub fn note(&self, name: &str, handed_off: bool) {
        if self.hands_off(name) == handed_off {
            return;
        }
        let (page, slot) = self.numbers(name);
        if handed_off {
            self.hands_off[page].fetch_or(1 << slot, Ordering::Relaxed);
            self.any_hands_off.store(true, Ordering::Relaxed);
        } else {
            self.hands_off[page].fetch_and(!(1 << slot), Ordering::Relaxed);
        }
    }

    /// Remembers a look.
    pub fn put(&self, name: &str, look: Option<Look>) {
        let (page, slot) = self.place(name);
        if look.is_none() && page.get().is_none() {
            return;
        }
        let page = page.get_or_init(|| Box::new([const { Mutex::new(None) }; SLOTS]));
        if let Ok(mut place) = page[slot].try_lock() {
            *place = look;
        }
    }

    fn place(&self, name: &str) -> (&OnceLock<Page>, usize) {
        let (page, slot) = self.numbers(name);
        (&self.pages[page], slot)
    }

    fn numbers(&self, name: &str) -> (usize, usize) {
        let hash = self.hasher.hash_one(name) as usize;
        (hash % PAGES, hash / PAGES % SLOTS)
    }
}
