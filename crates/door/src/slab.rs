//! Where a worker keeps its connections: slots with generations, in chunks that never move.
//!
//! An epoll event names a connection by [`Key`]. A batch of events can hold one for a
//! connection that an earlier event of the same batch has ended, and its slot may serve
//! another connection by then: the generation tells them apart, and the event is dropped.

/// Slots of one allocation. A whole chunk stays resident once it was used, and is used again.
const CHUNK: usize = 64;

/// Names one slot at one time in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The most slots: one bit of an event's 32-bit index says which side it is about.
    pub const MAXIMUM_SLOTS: usize = 1 << 31;

    /// The key and one bit as a number that is never below 2^32.
    #[must_use]
    pub const fn pack(self, bit: bool) -> u64 {
        (self.generation as u64) << 32 | (self.index as u64) << 1 | bit as u64
    }

    /// Reverses [`Key::pack`]; `None` for a number below 2^32.
    #[must_use]
    pub const fn unpack(number: u64) -> Option<(Self, bool)> {
        let generation = (number >> 32) as u32;
        if generation == 0 {
            return None;
        }
        let low = number as u32;
        let index = low >> 1;
        Some((Self { index, generation }, low & 1 == 1))
    }
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by [`Key`].
pub struct Slab<T> {
    chunks: Vec<Box<[Slot<T>]>>,
    free: Vec<u32>,
    length: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            length: 0,
        }
    }
}

impl<T> Slab<T> {
    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Stores a value. Lower slots are used first where possible, so that memory stays dense.
    pub fn insert(&mut self, value: T) -> Key {
        if self.free.is_empty() {
            self.grow();
        }
        let index = self.free.pop().unwrap_or_default();
        let slot = &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK];
        slot.value = Some(value);
        self.length += 1;
        Key {
            index,
            generation: slot.generation,
        }
    }

    /// The value, unless it was removed.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self
            .chunks
            .get(key.index as usize / CHUNK)?
            .get(key.index as usize % CHUNK)?;
        (slot.generation == key.generation)
            .then_some(slot.value.as_ref())
            .flatten()
    }

    /// The value, unless it was removed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self
            .chunks
            .get_mut(key.index as usize / CHUNK)?
            .get_mut(key.index as usize % CHUNK)?;
        (slot.generation == key.generation)
            .then_some(slot.value.as_mut())
            .flatten()
    }

    /// Takes the value out; its key is dead from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self
            .chunks
            .get_mut(key.index as usize / CHUNK)?
            .get_mut(key.index as usize % CHUNK)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        // 0 stands for "no connection" in a packed key.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        self.free.push(key.index);
        self.length -= 1;
        Some(value)
    }

    /// The keys of all values.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let slots = self.chunks.iter().flat_map(|chunk| chunk.iter());
        slots
            .zip(0..)
            .filter(|(slot, _)| slot.value.is_some())
            .map(|(slot, index)| Key {
                index,
                generation: slot.generation,
            })
            .collect()
    }

    fn grow(&mut self) {
        let first = self.chunks.len() * CHUNK;
        let slots = (0..CHUNK).map(|_| Slot {
            generation: 1,
            value: None,
        });
        self.chunks.push(slots.collect());
        let indices = first..first + CHUNK;
        self.free
            .extend(indices.rev().filter_map(|index| u32::try_from(index).ok()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_value_is_not_found_by_its_old_key() {
        let mut slab = Slab::default();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(second.index, first.index, "the slot is used again");
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn packed_keys_are_exact_and_never_small() {
        let mut slab = Slab::default();
        let keys: Vec<Key> = (0..200).map(|number| slab.insert(number)).collect();
        for (number, key) in keys.iter().enumerate() {
            for bit in [false, true] {
                let packed = key.pack(bit);
                assert!(packed >= 1 << 32);
                assert_eq!(Key::unpack(packed), Some((*key, bit)));
            }
            assert_eq!(slab.get_mut(*key), Some(&mut number.clone()));
        }
        assert_eq!(Key::unpack(7), None);
        assert_eq!(slab.keys(), keys);
    }
}
