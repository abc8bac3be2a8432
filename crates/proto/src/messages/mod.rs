//! The messages between the Python supervisor and the two programs.
//!
//! The Python side of the same schema is `cloister.door.messages` and
//! `cloister.cells.spec`, `cloister.cells.quotas.messages` and `cloister.apps.holder`;
//! `tests/contract/` holds messages that both sides read and write.

pub mod cell;
pub mod disk;
pub mod door;
pub mod holder;
