//! Specifications of the contract, and those that fuzzing once found, hold to their
//! properties.

mod properties;

use std::fs;
use std::path::Path;

#[test]
fn every_known_specification_holds_to_the_properties() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for folder in ["tests/contract/cell", "fuzz/corpus/cell_specification"] {
        for entry in fs::read_dir(root.join(folder)).expect("the folder") {
            let known = fs::read(entry.expect("an entry").path()).expect("readable");
            properties::specification(&known);
            for seed in 1..50 {
                properties::specification(&mutated(&known, seed));
            }
            count += 1;
        }
    }
    assert!(count > 4, "the specifications of the contract are missing");
}

/// The text with one word of it in the place of another, so that most of it still is what the
/// parser expects. The same for the same seed.
fn mutated(text: &[u8], seed: usize) -> Vec<u8> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_\"".contains(byte);
    let mut words: Vec<&[u8]> = text.chunk_by(|a, b| is_word(a) && is_word(b)).collect();
    // Knuth's multiplier spreads small seeds over all places.
    let place =
        |round: usize| seed.wrapping_mul(2_654_435_761).wrapping_add(round * 7919) % words.len();
    let (from, to) = (place(1), place(2));
    words[to] = words[from];
    words.concat()
}
