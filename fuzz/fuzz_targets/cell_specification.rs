//! Whatever a specification says: no panic, and no plan that makes a host root.
#![no_main]

#[path = "../../crates/cell/tests/specifications/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::specification(bytes));
