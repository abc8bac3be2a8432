//! The hashes that Python and Rust agree on: `tests/contract/hashed-names.json`.
//!
//! `tests/unit/hosts/test_hashed.py` reads the same file.

use std::collections::BTreeMap;
use std::path::Path;

use cloister_proto::hashed_name::hashed_name;

#[test]
fn hashes_are_those_of_python() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/contract/hashed-names.json");
    let text = std::fs::read_to_string(&path).expect("tests/contract/hashed-names.json");
    let names: BTreeMap<String, String> = serde_json::from_str(&text).expect("names and hashes");
    assert!(names.len() > 5);
    for (name, hash) in names {
        assert_eq!(hashed_name(&name), hash, "{name}");
    }
}
