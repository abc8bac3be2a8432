//! Everything that can be wrong with a PROXY header.

/// Why a connection's first bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Neither version's signature.
    #[error("byte {found:#04x} at {offset} is no part of a PROXY signature")]
    Signature {
        /// The first byte that differs.
        found: u8,
        /// Where it stands.
        offset: usize,
    },
    /// No line end within the 107 bytes of version 1.
    #[error("version 1: no line end within 107 bytes")]
    LineTooLong,
    /// Neither `TCP4`, `TCP6` nor `UNKNOWN`.
    #[error("version 1: unknown protocol")]
    Protocol,
    /// Not exactly four fields after the protocol.
    #[error("version 1: not four fields after the protocol")]
    Fields,
    /// An address that is none of the protocol's family.
    #[error("version 1: the {end} address is none of the protocol's family")]
    Address {
        /// `client` or `server`.
        end: &'static str,
    },
    /// A port that is no decimal number up to 65535.
    #[error("version 1: the {end} port is no decimal number up to 65535")]
    Port {
        /// `client` or `server`.
        end: &'static str,
    },
    /// The high half of the 13th byte is not 2.
    #[error("version 2: version {found} where 2 is due")]
    Version {
        /// The version that was found.
        found: u8,
    },
    /// Neither LOCAL nor PROXY.
    #[error("version 2: unknown command {found}")]
    Command {
        /// The command that was found.
        found: u8,
    },
    /// A family and transport that the specification does not list.
    #[error("version 2: unknown family and transport {found:#04x}")]
    Transport {
        /// The byte that was found.
        found: u8,
    },
    /// The header is longer than [`super::MAXIMUM_LENGTH_V2`].
    #[error("version 2: header of {length} bytes; at most 16384 are accepted")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The header ends before the family's addresses do.
    #[error("version 2: {length} bytes for addresses that take {needed}")]
    TooShort {
        /// The declared length after the first 16 bytes.
        length: usize,
        /// What the family needs.
        needed: usize,
    },
    /// A value runs over the end of the header.
    #[error("version 2: value at byte {offset} runs over the end of the header")]
    ValueTruncated {
        /// Where the value's type stands.
        offset: usize,
    },
    /// A value that may stand once stands twice, and nothing says which one is true.
    #[error("version 2: value type {kind:#04x} stands twice")]
    DuplicateValue {
        /// Its type.
        kind: u8,
    },
    /// A value longer than what its kind may have.
    #[error("version 2: {0}")]
    Value(#[from] ValueTooLong),
    /// The authority is no UTF-8.
    #[error("version 2: the authority is no UTF-8")]
    Authority,
    /// A checksum that is not four bytes long.
    #[error("version 2: a checksum of {length} bytes where 4 are due")]
    ChecksumLength {
        /// Its length.
        length: usize,
    },
    /// The checksum is not that of the header: it was damaged on its way.
    #[error("version 2: checksum {found:#010x}, but the header's is {computed:#010x}")]
    Checksum {
        /// The value in the header.
        found: u32,
        /// What it would have to be.
        computed: u32,
    },
}

/// A value that is longer than its kind may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("value type {kind:#04x} has {length} bytes; at most {limit} are allowed")]
pub struct ValueTooLong {
    /// Its type.
    pub kind: u8,
    /// Its length.
    pub length: usize,
    /// The longest that is allowed.
    pub limit: usize,
}
