//! Whatever arrives: no panic, and an outcome that does not depend on how it was split.
#![no_main]

#[path = "../../crates/proto/tests/parsers/properties.rs"]
#[allow(dead_code)] // one property for each target
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::client_hello(bytes));
