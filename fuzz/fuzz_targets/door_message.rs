//! Whatever the supervisor's socket brings: no panic, and a snapshot in force whole or not at
//! all.
#![no_main]

#[path = "../../crates/door/tests/messages/properties.rs"]
#[allow(dead_code)] // one property for each target
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::message(bytes));
