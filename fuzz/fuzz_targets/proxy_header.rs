//! Whatever arrives: no panic, a decision at one certain byte, and what was read can be
//! written and read again.
#![no_main]

#[path = "../../crates/proto/tests/parsers/properties.rs"]
#[allow(dead_code)] // one property for each target
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::proxy_header(bytes));
