//! The bytes of bulk transfers: position-dependent, so that lost, doubled, moved or changed
//! bytes are seen, and cheap to compare.

/// Prime, so that no buffer size of a proxy is a multiple of the period.
const PERIOD: usize = 65_521;
/// Most bytes sent or received by one call.
pub const CHUNK: usize = 256 * 1024;

/// The pattern, long enough to take [`CHUNK`] bytes from any position.
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// Builds the pattern once.
    pub fn new() -> Self {
        // A linear congruential generator (Knuth, MMIX): neighbouring blocks differ.
        let mut state: u64 = 1;
        let period: Vec<u8> = (0..PERIOD)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        Self(
            period
                .iter()
                .copied()
                .cycle()
                .take(PERIOD + CHUNK)
                .collect(),
        )
    }

    /// The bytes from `position` of the stream on, at most `limit` and at most [`CHUNK`].
    pub fn at(&self, position: u64, limit: u64) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        &self.0[start..start + limit.min(CHUNK as u64) as usize]
    }

    /// Whether `received` is what stands at `position`.
    pub fn matches(&self, position: u64, received: &[u8]) -> bool {
        self.at(position, received.len() as u64) == received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_or_changed_byte_is_seen() {
        let pattern = Pattern::new();
        let chunk = pattern.at(1 << 30, CHUNK as u64).to_vec();
        assert_eq!(chunk.len(), CHUNK);
        assert!(pattern.matches(1 << 30, &chunk));
        assert!(!pattern.matches((1 << 30) + 1, &chunk));
        assert!(!pattern.matches((1 << 30) + 4096, &chunk));
        let mut changed = chunk;
        changed[CHUNK - 1] ^= 1;
        assert!(!pattern.matches(1 << 30, &changed));
    }
}
