//! Whatever a supervisor's connection to the holder brings: no panic, an order is obeyed, and
//! what is none loses nothing that is kept.
#![no_main]

#[path = "../../crates/door/tests/messages/properties.rs"]
#[allow(dead_code)] // one property for each target
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::holder_message(bytes));
