//! The ClientHello's own structure (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).
//!
//! Every length is checked to the last byte. What a value means for the negotiation is the
//! target's business: a hello is refused here only when no server of any TLS version may
//! accept it.

use super::HelloError;
use super::cursor::Cursor;
use super::extensions::{self, Extensions};

/// The first version of which anything is left: what is older is another protocol, and a
/// newer one is for the server to negotiate down from (RFC 5246 appendix E.1).
const SSL_3_0: u16 = 0x0300;

/// Validates the body of a ClientHello, without its message header.
pub(super) fn parse(body: &[u8]) -> Result<Extensions, HelloError> {
    let mut cursor = Cursor::new(body);
    let version = cursor.u16("legacy_version")?;
    if version < SSL_3_0 {
        return Err(HelloError::LegacyVersion { version });
    }
    cursor.bytes(32, "random")?;
    let session_id = cursor.vector8("legacy_session_id")?;
    if session_id.len() > 32 {
        return Err(HelloError::Length {
            field: "legacy_session_id",
            length: session_id.len(),
        });
    }
    let cipher_suites = cursor.vector16("cipher_suites")?;
    if cipher_suites.is_empty() || cipher_suites.len() % 2 != 0 {
        return Err(HelloError::Length {
            field: "cipher_suites",
            length: cipher_suites.len(),
        });
    }
    let compression = cursor.vector8("legacy_compression_methods")?;
    if compression.is_empty() {
        return Err(HelloError::Length {
            field: "legacy_compression_methods",
            length: 0,
        });
    }
    // RFC 5246 section 7.4.1.2: the vector "MUST contain" null; TLS 1.3 allows nothing else.
    if !compression.contains(&0) {
        return Err(HelloError::Compression);
    }
    // Before TLS 1.3 a hello may end here (RFC 5246 section 7.4.1.2).
    if cursor.is_empty() {
        return Ok(Extensions::default());
    }
    let block = cursor.vector16("extensions")?;
    cursor.end("client_hello")?;
    extensions::parse(block)
}
