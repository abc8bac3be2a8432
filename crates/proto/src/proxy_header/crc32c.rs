//! CRC-32C (Castagnoli), as `PP2_TYPE_CRC32C` wants it (RFC 4960 appendix B).

/// The polynomial 0x1EDC6F41 with its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut rest = index as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = (rest >> 1) ^ (POLYNOMIAL * (rest & 1));
            bit += 1;
        }
        table[index] = rest;
        index += 1;
    }
    table
}

/// The checksum of all parts in a row.
pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        let [low, ..] = sum.to_le_bytes();
        TABLE[usize::from(low ^ byte)] ^ (sum >> 8)
    };
    !parts.iter().copied().flatten().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    /// RFC 3720 appendix B.4, and the check value of the CRC catalogue.
    #[test]
    fn the_published_values() {
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, sum) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
            (b"", 0),
        ] {
            assert_eq!(checksum(&[bytes]), sum, "{bytes:?}");
            let (first, rest) = bytes.split_at(bytes.len() / 3);
            assert_eq!(checksum(&[first, rest]), sum, "in two parts");
        }
    }
}
