//! Messages that came, or could have come, over the supervisor's socket hold to their
//! properties: those of the contract and those that fuzzing once found.

mod properties;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn every_known_message_holds_to_the_properties() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for folder in ["tests/contract/door", "fuzz/corpus/door_message"] {
        for entry in fs::read_dir(root.join(folder)).expect("the folder") {
            let known = fs::read(entry.expect("an entry").path()).expect("readable");
            properties::message(&known);
            for seed in 1..50 {
                properties::message(&mutated(&known, seed));
            }
            count += 1;
        }
    }
    assert!(count > 20, "the messages of the contract are missing");
}

#[test]
fn every_known_order_to_the_holder_holds_to_the_properties() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for folder in ["tests/contract/holder", "fuzz/corpus/holder_message"] {
        for entry in fs::read_dir(root.join(folder)).expect("the folder") {
            let known = fs::read(entry.expect("an entry").path()).expect("readable");
            properties::holder_message(&known);
            for seed in 1..50 {
                properties::holder_message(&mutated(&known, seed));
            }
            count += 1;
        }
    }
    assert!(count > 5, "the messages of the contract are missing");
    properties::holder_message(b"");
}

/// Without it, a seed that the schema has left behind would teach the fuzzer nothing, in silence.
#[test]
fn seeds_are_snapshots_of_todays_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/door_message");
    let mut judged = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        if name.starts_with("seed-") {
            let bytes = fs::read(entry.path()).expect("readable");
            let snapshot = serde_json::from_slice(&bytes);
            let snapshot = snapshot.unwrap_or_else(|error| panic!("{name}: {error}"));
            judged.insert(name, properties::build(&snapshot));
        }
    }
    let refused = judged.remove("seed-one-socket-twice").expect("the seed");
    let reason = refused.expect_err("one socket has one listener");
    assert!(reason.contains("used elsewhere already"), "{reason}");
    let taken = BTreeMap::from([("seed-two-listeners".to_owned(), Ok(()))]);
    assert_eq!(judged, taken);
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
