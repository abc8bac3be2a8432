//! What travels between the programs and over the network, as values.
//!
//! Architecture invariant: nothing in this crate performs I/O, reads a clock or uses
//! `unsafe`. A parser is given bytes and answers with a value, with "more bytes are
//! needed", or with a precise error.
#![forbid(unsafe_code)]

pub mod alert;
pub mod alpn;
mod blake2s;
pub mod client_hello;
pub mod handoff;
pub mod hashed_name;
pub mod hostname;
pub mod messages;
pub mod network;
pub mod progress;
pub mod proxy_header;
