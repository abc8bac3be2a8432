//! Everything that can be wrong with a ClientHello, and the alert that answers it.

use crate::alert::Alert;
use crate::hostname::HostnameError;

/// Why the first bytes of a connection are no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The connection begins with another record type than handshake, which is what HTTP,
    /// SSL 2.0 and garbage look like; or another type interrupts the hello.
    #[error("record type {found:#04x} where a handshake record (0x16) is due")]
    RecordType {
        /// The type that was found.
        found: u8,
    },
    /// The record's major version is not 3.
    #[error("record version major {major}; TLS has 3")]
    RecordVersion {
        /// The major version that was found.
        major: u8,
    },
    /// A handshake record without content.
    #[error("empty handshake record")]
    EmptyRecord,
    /// A record of more than 2^14 bytes.
    #[error("record of {length} bytes; at most 16384 are allowed")]
    RecordOverflow {
        /// Its declared length.
        length: u16,
    },
    /// The first handshake message is no ClientHello.
    #[error("handshake message type {found} where a client_hello (1) is due")]
    MessageType {
        /// The type that was found.
        found: u8,
    },
    /// The hello declares more bytes than the reader's limit.
    #[error("hello of {length} bytes; at most {limit} are accepted")]
    MessageTooLong {
        /// Its length with the message header.
        length: usize,
        /// The reader's limit.
        limit: usize,
    },
    /// Further handshake bytes stand in the record in which the hello ends.
    #[error("{length} bytes follow the hello in its last record")]
    RecordBoundary {
        /// How many.
        length: usize,
    },
    /// A field runs over the end of what it stands in.
    #[error("{field} runs over its end")]
    Truncated {
        /// The field, as the RFC names it.
        field: &'static str,
    },
    /// Bytes are left after the last element of a field.
    #[error("{length} bytes too many in {field}")]
    Trailing {
        /// The field, as the RFC names it.
        field: &'static str,
        /// How many bytes are left.
        length: usize,
    },
    /// A vector's length is outside its range or no multiple of its elements.
    #[error("{field} has an impossible length of {length}")]
    Length {
        /// The field, as the RFC names it.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// `legacy_version` is older than SSL 3.0.
    #[error("legacy_version {version:#06x} is older than SSL 3.0")]
    LegacyVersion {
        /// The version that was found.
        version: u16,
    },
    /// The null compression method is not offered.
    #[error("legacy_compression_methods offers no null compression")]
    Compression,
    /// One extension type stands twice.
    #[error("extension {extension} stands twice")]
    DuplicateExtension {
        /// The extension type.
        extension: u16,
    },
    /// An extension follows pre_shared_key.
    #[error("pre_shared_key is not the last extension")]
    PreSharedKeyNotLast,
    /// Two server names of one type.
    #[error("two server names of type {name_type}")]
    DuplicateServerName {
        /// The name type; 0 is host_name.
        name_type: u8,
    },
    /// The server name is no host name.
    #[error("server_name: {0}")]
    ServerName(#[source] HostnameError),
    /// encrypted_client_hello is neither an outer nor an inner one.
    #[error("encrypted_client_hello of unknown type {found}")]
    EncryptedClientHelloType {
        /// The type that was found.
        found: u8,
    },
}

impl HelloError {
    /// The alert that answers the error.
    #[must_use]
    pub const fn alert(&self) -> Alert {
        match self {
            // RFC 8446 section 5: "an unexpected record type" ends in unexpected_message. The
            // same holds for a message out of order (section 4) and for a ClientHello that
            // does not end with its record (section 5.1).
            Self::RecordType { .. } | Self::MessageType { .. } | Self::RecordBoundary { .. } => {
                Alert::UnexpectedMessage
            }
            // RFC 5246 appendix E.1: a server takes any version {03,XX} in the record of a
            // ClientHello; RFC 8446 section 6.2: protocol_version for all others.
            Self::RecordVersion { .. } | Self::LegacyVersion { .. } => Alert::ProtocolVersion,
            // RFC 8446 section 5.1.
            Self::RecordOverflow { .. } => Alert::RecordOverflow,
            // RFC 8446 section 6.2: "some field was out of the specified range or the length
            // of the message was incorrect".
            Self::EmptyRecord
            | Self::Truncated { .. }
            | Self::Trailing { .. }
            | Self::Length { .. } => Alert::DecodeError,
            // RFC 8446 sections 4.1.2 (compression) and 4.2.11 (pre_shared_key), RFC 9849
            // section 7 (type). No RFC names an alert for duplicates and for a hello that is
            // well-formed but larger than a server takes; OpenSSL sends this one for both.
            Self::MessageTooLong { .. }
            | Self::Compression
            | Self::DuplicateExtension { .. }
            | Self::PreSharedKeyNotLast
            | Self::DuplicateServerName { .. }
            | Self::EncryptedClientHelloType { .. } => Alert::IllegalParameter,
            // RFC 6066 section 3.
            Self::ServerName(_) => Alert::UnrecognizedName,
        }
    }
}
