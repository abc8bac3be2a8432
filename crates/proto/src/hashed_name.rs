//! Hostnames as hashes: names of folders that say nothing and are never too long.
//!
//! BLAKE2s-256 (RFC 7693) in URL-safe Base64 without padding (RFC 4648 section 5), which is
//! what `sniproxy-hostname` of sniproxy's `hashed` build prints: a directory moves over as it
//! is. `tests/contract/hashed-names.json` holds names that Python and Rust agree on.

use crate::blake2s;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The 43 characters that stand for a canonical hostname, or for `*.parent`.
#[must_use]
pub fn hashed_name(name: &str) -> String {
    let digest = blake2s::digest(name.as_bytes());
    let mut text = String::with_capacity(43);
    for bytes in digest.chunks(3) {
        let mut group = [0; 4];
        group[1..=bytes.len()].copy_from_slice(bytes);
        let group = u32::from_be_bytes(group);
        for place in 0..=bytes.len() {
            let digit = group >> (18 - 6 * place) & 0x3f;
            text.push(char::from(DIGITS[digit as usize]));
        }
    }
    text
}
