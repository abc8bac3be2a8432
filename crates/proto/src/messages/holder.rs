//! Supervisor ↔ `cloister-door hold`: one JSON message per `SOCK_SEQPACKET` packet.
//!
//! Orders are obeyed one after the other and not answered, except [`Order::List`].

use serde::{Deserialize, Serialize};

/// What the supervisor wants of the holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Keeps the packet's descriptors, in their order, in the place of what had this name.
    Store {
        /// Of the whole entry.
        name: String,
        /// Whatever the supervisor wants to know of it; the holder does not look at it.
        record: String,
    },
    /// Closes what was stored under a name; nothing where there is none.
    Forget {
        /// Of the whole entry.
        name: String,
    },
    // In braces: of a variant without them serde takes any surplus field.
    /// Asks for everything. Answered by [`Answer::Kept`] for each entry, in the order of
    /// names, then by [`Answer::Listed`].
    List {},
    /// Closes everything and ends: the supervisor has stopped.
    End {},
}

/// What the holder answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// One entry; copies of its descriptors are in the packet.
    Kept {
        /// As stored.
        name: String,
        /// As stored.
        record: String,
    },
    /// There are no more.
    Listed {
        /// How many there are.
        count: u32,
    },
}
