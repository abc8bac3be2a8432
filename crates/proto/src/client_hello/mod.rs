//! The ClientHello: the only message of a TLS connection that the door reads.
//!
//! [`HelloReader`] takes the first bytes of a connection and says which server the client
//! wants. The outcome is a pure function of the bytes: how they were split into segments by
//! the network does not matter, and how they were split into records matters only to
//! [`ClientHello::length`]. An error is reported at the first byte that makes it certain, or,
//! for what is inside the hello, at the hello's last byte.
//!
//! RFC 8446 section 5.1 fixes how a hello may be cut: into handshake records of 1 to 2^14
//! bytes, with no other record between them. It also says that a ClientHello ends where a
//! record ends, because a change of keys can follow it; so further handshake bytes in its last
//! record are refused. Records after the hello, such as early data, are not looked at.

mod cursor;
mod error;
mod extensions;
mod hello;

pub use error::HelloError;

use crate::hostname::Hostname;

/// The default bound of a hello in bytes, message header included. The largest hellos of
/// browsers, with post-quantum key shares, are below 2 KiB; with session tickets below 4 KiB.
pub const DEFAULT_LIMIT: usize = 16 * 1024;

/// Content type, two bytes of version, two of length (RFC 8446 section 5.1).
const RECORD_HEADER: usize = 5;

/// The longest content of a record (RFC 8446 section 5.1).
const RECORD_LIMIT: u16 = 1 << 14;

/// Message type and three bytes of length (RFC 8446 section 4).
const MESSAGE_HEADER: usize = 4;

/// What a reader knows of a hello so far.
pub type Progress = crate::progress::Progress<ClientHello>;

/// What a complete and valid ClientHello says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The server name (RFC 6066 section 3) in canonical form.
    pub server_name: Option<Hostname>,
    /// The application protocols that the client offers (RFC 7301), in its order.
    pub alpn: Vec<Vec<u8>>,
    /// Whether the hello carries another, encrypted one (RFC 9849), or pretends to. Then
    /// `server_name` is the public name of whoever can decrypt it.
    pub encrypted_client_hello: bool,
    /// How many of the connection's bytes the hello takes, record headers included.
    pub length: usize,
}

/// Reads one ClientHello from a growing prefix of a connection's bytes.
///
/// The reader keeps at most `limit` bytes, and none of its own for a hello in one record. It
/// asks for at most [`HelloReader::longest`] bytes. The work over all calls is linear in the
/// bytes and in the number of calls.
#[derive(Clone, Debug)]
pub struct HelloReader {
    limit: usize,
    /// Where the record begins that is being read.
    position: usize,
    /// The contents of the records before `position`.
    handshake: Vec<u8>,
}

impl HelloReader {
    /// A reader that refuses hellos of more than `limit` bytes, message header included.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            position: 0,
            handshake: Vec::new(),
        }
    }

    /// The most bytes that a reader with this limit ever needs to see: each byte of the hello
    /// in a record of its own.
    #[must_use]
    pub const fn longest(limit: usize) -> usize {
        limit.saturating_mul(RECORD_HEADER + 1)
    }

    /// Goes on with `received`: all bytes of the connection so far, which is the slice of the
    /// call before with new bytes at its end. After the end of the hello, or after an error,
    /// a further call gives the same answer.
    ///
    /// # Errors
    ///
    /// [`HelloError`], whose [`HelloError::alert`] answers the client.
    pub fn advance(&mut self, received: &[u8]) -> Result<Progress, HelloError> {
        loop {
            if self.message_length(&[])? == Some(self.handshake.len()) {
                return complete(&self.handshake, self.position);
            }
            let Some(rest) = received.get(self.position..) else {
                return Ok(Progress::NeedMore);
            };
            let Some(record_length) = record_length(rest)? else {
                return Ok(Progress::NeedMore);
            };
            let content = &rest[RECORD_HEADER..];
            let content = content.get(..record_length).unwrap_or(content);
            if let Some(length) = self.message_length(content)? {
                let end = self.handshake.len() + record_length;
                if end > length {
                    return Err(HelloError::RecordBoundary {
                        length: end - length,
                    });
                }
            }
            if content.len() < record_length {
                return Ok(Progress::NeedMore);
            }
            let next = self.position + RECORD_HEADER + record_length;
            if self.handshake.is_empty() && self.message_length(content)? == Some(record_length) {
                return complete(content, next);
            }
            self.handshake.extend_from_slice(content);
            self.position = next;
        }
    }

    /// The hello's whole length from its message header, which may go on in `content`; `None`
    /// where the header is not all there. Its type is checked as soon as that is there.
    fn message_length(&self, content: &[u8]) -> Result<Option<usize>, HelloError> {
        const CLIENT_HELLO: u8 = 1;
        let mut bytes = self.handshake.iter().chain(content).copied();
        match bytes.next() {
            None => return Ok(None),
            Some(CLIENT_HELLO) => {}
            Some(found) => return Err(HelloError::MessageType { found }),
        }
        let (Some(high), Some(middle), Some(low)) = (bytes.next(), bytes.next(), bytes.next())
        else {
            return Ok(None);
        };
        let body = u32::from_be_bytes([0, high, middle, low]);
        // At most 2^24: a usize holds it on every system that runs this.
        let length = MESSAGE_HEADER + body as usize;
        if length > self.limit {
            return Err(HelloError::MessageTooLong {
                length,
                limit: self.limit,
            });
        }
        Ok(Some(length))
    }
}

/// The length of the record that `bytes` begin with; `None` where its header is not all
/// there. Each field is checked as soon as it is there.
fn record_length(bytes: &[u8]) -> Result<Option<usize>, HelloError> {
    const HANDSHAKE: u8 = 22;
    const MAJOR_VERSION: u8 = 3;
    match bytes.first() {
        None => return Ok(None),
        Some(&HANDSHAKE) => {}
        Some(&found) => return Err(HelloError::RecordType { found }),
    }
    match bytes.get(1) {
        None => return Ok(None),
        Some(&MAJOR_VERSION) => {}
        Some(&major) => return Err(HelloError::RecordVersion { major }),
    }
    // The minor version is ignored for all purposes (RFC 8446 section 5.1).
    let Some(&[high, low]) = bytes.get(3..RECORD_HEADER).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    match u16::from_be_bytes([high, low]) {
        // RFC 8446 section 5.1 forbids empty handshake records; they would be endless.
        0 => Err(HelloError::EmptyRecord),
        length if length > RECORD_LIMIT => Err(HelloError::RecordOverflow { length }),
        length => Ok(Some(usize::from(length))),
    }
}

/// The outcome of a hello that is all there.
fn complete(message: &[u8], length: usize) -> Result<Progress, HelloError> {
    let body = message.get(MESSAGE_HEADER..).unwrap_or_default();
    let extensions = hello::parse(body)?;
    Ok(Progress::Complete(ClientHello {
        server_name: extensions.server_name,
        alpn: extensions.alpn,
        encrypted_client_hello: extensions.encrypted_client_hello,
        length,
    }))
}
