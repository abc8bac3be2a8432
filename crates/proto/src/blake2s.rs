//! BLAKE2s-256 (RFC 7693) of short texts, without a key. For names of files, not for secrets.

/// The initialization vector (RFC 7693 section 2.6).
const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The message schedule of each round (RFC 7693 section 2.7).
const SIGMA: [[u8; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// Which four words each of a round's eight steps mixes (RFC 7693 section 3.2).
const STEPS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

const BLOCK: usize = 64;

/// The digest of `text`.
#[must_use]
pub fn digest(text: &[u8]) -> [u8; 32] {
    let mut state = IV;
    // The parameter block: 32 bytes of digest, no key, fan-out and depth 1.
    state[0] ^= 0x0101_0020;
    let mut rest = text;
    let mut counted = 0_u64;
    while rest.len() > BLOCK {
        let (block, more) = rest.split_at(BLOCK);
        counted += BLOCK as u64;
        compress(&mut state, block, counted, false);
        rest = more;
    }
    counted += rest.len() as u64;
    compress(&mut state, rest, counted, true);
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// The function F of RFC 7693 section 3.2; a short block is filled up with zeros.
fn compress(state: &mut [u32; 8], block: &[u8], counted: u64, last: bool) {
    let mut message = [0_u32; 16];
    for (index, &byte) in block.iter().enumerate() {
        message[index / 4] |= u32::from(byte) << (index % 4 * 8);
    }
    let mut work = [0_u32; 16];
    work[..8].copy_from_slice(state);
    work[8..].copy_from_slice(&IV);
    work[12] ^= counted as u32;
    work[13] ^= (counted >> 32) as u32;
    if last {
        work[14] = !work[14];
    }
    for schedule in SIGMA {
        for (step, words) in STEPS.into_iter().enumerate() {
            let first = message[usize::from(schedule[2 * step])];
            let second = message[usize::from(schedule[2 * step + 1])];
            mix(&mut work, words, first, second);
        }
    }
    for (index, word) in state.iter_mut().enumerate() {
        *word ^= work[index] ^ work[index + 8];
    }
}

/// The function G of RFC 7693 section 3.1.
fn mix(work: &mut [u32; 16], [a, b, c, d]: [usize; 4], first: u32, second: u32) {
    for (word, rotations) in [(first, (16, 12)), (second, (8, 7))] {
        work[a] = work[a].wrapping_add(work[b]).wrapping_add(word);
        work[d] = (work[d] ^ work[a]).rotate_right(rotations.0);
        work[c] = work[c].wrapping_add(work[d]);
        work[b] = (work[b] ^ work[c]).rotate_right(rotations.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hexadecimal(text: &[u8]) -> String {
        digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[test]
    fn published_digests() {
        // RFC 7693 appendix B.
        assert_eq!(
            hexadecimal(b"abc"),
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
        );
        assert_eq!(
            hexadecimal(b""),
            "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9"
        );
        // Around the length of a block, and the longest name; as Python's hashlib has them.
        for (length, start) in [
            (64, "651d2f5f20952eac"),
            (65, "045f8ae18932119b"),
            (128, "3ac477e27353f901"),
            (253, "e046fb19d16bbe6d"),
        ] {
            let digest = hexadecimal(&vec![b'a'; length]);
            assert!(digest.starts_with(start), "{length}: {digest}");
        }
    }
}
