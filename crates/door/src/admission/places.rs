//! How many connections each key has now: exact across workers, and no memory for keys that
//! have none.
//!
//! The table is cut into shards with a lock each, so that workers seldom meet. A lock is held
//! for one look into a hash table, and taking a free one is no system call. The hash is keyed
//! by chance: a client that picks its addresses cannot make them collide.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More than there are workers on most machines.
const SHARDS: usize = 16;

/// Below this many entries no shard gives memory back.
const SHRINK_FROM: usize = 64;

/// The connections of each key.
#[derive(Debug)]
pub struct Places<K> {
    shards: [Mutex<HashMap<K, u32>>; SHARDS],
    hasher: RandomState,
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// One more connection of `key`; `None` where it has `limit` already.
    #[must_use]
    pub fn take(self: &Arc<Self>, key: K, limit: u32) -> Option<Place<K>> {
        let mut shard = self.shard(&key);
        match shard.get_mut(&key) {
            Some(count) if *count >= limit => return None,
            Some(count) => *count += 1,
            None if limit == 0 => return None,
            None => {
                shard.insert(key.clone(), 1);
            }
        }
        drop(shard);
        Some(Place {
            places: Arc::clone(self),
            key,
        })
    }

    /// How many keys have a connection.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn leave(&self, key: &K) {
        let mut shard = self.shard(key);
        if let Some(count) = shard.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                shard.remove(key);
                if shard.capacity() > SHRINK_FROM.max(4 * shard.len()) {
                    shard.shrink_to_fit();
                }
            }
        }
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, HashMap<K, u32>> {
        let hash = self.hasher.hash_one(key);
        lock(&self.shards[(hash % SHARDS as u64) as usize])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that can panic runs under the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection's place; dropping it makes room.
#[derive(Debug)]
pub struct Place<K: Clone + Eq + Hash> {
    places: Arc<Places<K>>,
    key: K,
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        self.places.leave(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_key_has_its_limit_and_no_more() {
        let places = Arc::new(Places::default());
        let first = places.take("a", 2).expect("free");
        let second = places.take("a", 2).expect("free");
        assert!(places.take("a", 2).is_none());
        assert!(places.take("b", 2).is_some(), "others have their own");
        drop(first);
        let third = places.take("a", 2).expect("one has gone");
        assert!(places.take("a", 2).is_none());
        drop((second, third));
        assert_eq!(places.keys(), 0);
    }

    #[test]
    fn a_limit_that_sinks_holds_for_those_who_come() {
        let places = Arc::new(Places::default());
        let held: Vec<_> = (0..5).filter_map(|_| places.take(1, 5)).collect();
        assert_eq!(held.len(), 5);
        assert!(places.take(1, 3).is_none());
    }

    #[test]
    fn no_race_lets_one_more_in() {
        const LIMIT: u32 = 3;
        let places = Arc::new(Places::default());
        let (inside, most, served) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        if let Some(place) = places.take("key", LIMIT) {
                            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            served.fetch_add(1, Ordering::SeqCst);
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(place);
                        }
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= LIMIT);
        assert!(served.load(Ordering::SeqCst) > 0);
        assert_eq!(places.keys(), 0);
    }

    #[test]
    fn keys_that_are_gone_leave_no_memory() {
        let places = Arc::new(Places::default());
        let held: Vec<_> = (0..100_000_u64)
            .filter_map(|key| places.take(key, 1))
            .collect();
        assert_eq!(places.keys(), 100_000);
        drop(held);
        let capacity: usize = places
            .shards
            .iter()
            .map(|shard| lock(shard).capacity())
            .sum();
        assert!(
            capacity <= SHARDS * 2 * SHRINK_FROM,
            "{capacity} entries are kept"
        );
    }
}
