//! What is said beside a connection that is handed off.
//!
//! The message is a header of the PROXY protocol, version 2 (haproxy's doc/proxy-protocol.txt
//! section 2.2): whoever can read that can read this. Its addresses are the client's and the
//! server's as the door saw them, or as a PROXY header that the door accepted named them.
//! Beside `PP2_TYPE_AUTHORITY` and, for a lone offer, `PP2_TYPE_ALPN` it carries two values of
//! the range that the specification leaves to applications. Several connections that go to one
//! target together have one message with a header for each, one behind the other, in the order
//! of the descriptors. docs/handoff.md is the whole protocol.

use crate::proxy_header::{Origin, ValueTooLong, Values, write_v2};

/// No message is longer, in bytes; a receiver's buffer of this size takes every one.
pub const MAXIMUM_LENGTH: usize = 4096;

/// No message tells of more connections.
pub const MAXIMUM_CONNECTIONS: usize = 16;

/// The listener's name in the door's configuration: UTF-8, at most 255 bytes.
pub const LISTENER: u8 = 0xe0;

/// The protocols that the client offered, in its order, each behind a byte of length: the
/// inside of RFC 7301's `ProtocolNameList`.
pub const OFFERED_PROTOCOLS: u8 = 0xe1;

/// Longer offers are left out: the receiver has the hello itself.
const OFFERED_LIMIT: usize = 1024;

const LISTENER_LIMIT: usize = 255;

/// Where version 2 keeps the length of what follows its fixed part, and where that ends.
const LENGTH_AT: usize = 14;
const FIXED: usize = 16;

/// What the receiver is told.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Whose connection it is.
    pub origin: Origin,
    /// The server name in canonical form, where the hello had one.
    pub server_name: Option<&'a str>,
    /// The protocols that the client offers, in its order.
    pub offered: &'a [Vec<u8>],
    /// Which listener took it.
    pub listener: &'a str,
}

impl Message<'_> {
    /// The header of one connection, at most [`MAXIMUM_LENGTH`] bytes: its message, where it
    /// goes alone.
    ///
    /// # Errors
    ///
    /// [`ValueTooLong`] for what no hello and no configuration holds.
    pub fn write(&self) -> Result<Vec<u8>, ValueTooLong> {
        let values = Values {
            // Which of several offers the receiver will take is not known.
            alpn: match self.offered {
                [only] => Some(only),
                _ => None,
            },
            authority: self.server_name,
            unique_id: None,
        };
        let mut bytes = Vec::with_capacity(256);
        write_v2(&mut bytes, &self.origin, &values)?;
        let listener = cut(self.listener, LISTENER_LIMIT);
        append(&mut bytes, LISTENER, listener.as_bytes());
        let offered = protocol_names(self.offered);
        if (1..=OFFERED_LIMIT).contains(&offered.len()) {
            append(&mut bytes, OFFERED_PROTOCOLS, &offered);
        }
        // Bounded by the limits above and those of `write_v2`.
        let length = (bytes.len() - FIXED) as u16;
        bytes[LENGTH_AT..FIXED].copy_from_slice(&length.to_be_bytes());
        Ok(bytes)
    }
}

/// The longest beginning of at most `limit` bytes that is text.
fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rfind(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

fn append(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
}

fn protocol_names(offered: &[Vec<u8>]) -> Vec<u8> {
    let mut names = Vec::new();
    for name in offered {
        // RFC 7301 section 3.1: 1 to 255 bytes, which the hello's reader has checked.
        names.push(name.len() as u8);
        names.extend_from_slice(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;
    use crate::proxy_header::{Addresses, parse};

    fn origin(client: &str, server: &str) -> Origin {
        Origin::Proxied(Addresses {
            client: client.parse().expect("an address"),
            server: server.parse().expect("an address"),
        })
    }

    fn offers(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    fn values(bytes: &[u8], addresses: usize) -> Vec<(u8, Vec<u8>)> {
        let mut rest = &bytes[FIXED + addresses..];
        let mut found = Vec::new();
        while let [kind, high, low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            found.push((*kind, after[..length].to_vec()));
            rest = &after[length..];
        }
        found
    }

    #[test]
    fn a_message_is_a_proxy_header_with_two_values_more() {
        let offered = offers(&["h2", "http/1.1"]);
        let origin = origin("192.0.2.1:4711", "198.51.100.1:443");
        let message = Message {
            origin,
            server_name: Some("one.example"),
            offered: &offered,
            listener: "https",
        };
        let bytes = message.write().expect("short");
        let Ok(Progress::Complete(header)) = parse(&bytes) else {
            panic!("no header: {bytes:?}");
        };
        assert_eq!(header.origin, origin);
        assert_eq!(header.values.authority, Some("one.example"));
        assert_eq!(header.values.alpn, None, "several offers");
        assert_eq!(header.length, bytes.len());
        assert_eq!(
            values(&bytes, 12),
            [
                (0x02, b"one.example".to_vec()),
                (LISTENER, b"https".to_vec()),
                (OFFERED_PROTOCOLS, b"\x02h2\x08http/1.1".to_vec()),
            ]
        );
    }

    #[test]
    fn a_lone_offer_is_the_standards_own_value_too() {
        let offered = offers(&["h2"]);
        let message = Message {
            origin: Origin::Unknown,
            server_name: None,
            offered: &offered,
            listener: "",
        };
        let bytes = message.write().expect("short");
        assert_eq!(
            values(&bytes, 0),
            [
                (0x01, b"h2".to_vec()),
                (LISTENER, Vec::new()),
                (OFFERED_PROTOCOLS, b"\x02h2".to_vec()),
            ]
        );
    }

    #[test]
    fn the_longest_message_fits_the_bound() {
        let long = "p".repeat(255);
        let name = "n".repeat(255);
        let offered = offers(&[&long]);
        let message = Message {
            origin: origin("[2001:db8::1]:1", "[2001:db8::2]:2"),
            server_name: Some(&name),
            offered: &offered,
            listener: &"l".repeat(1000),
        };
        let bytes = message.write().expect("short");
        assert!(bytes.len() <= MAXIMUM_LENGTH);
        assert_eq!(values(&bytes, 36)[2], (LISTENER, vec![b'l'; 255]));
        let offered = offers(&[long.as_str(); 5]);
        let message = Message {
            offered: &offered,
            ..message
        };
        let bytes = message.write().expect("short");
        assert!(
            values(&bytes, 36)
                .iter()
                .all(|(kind, _)| *kind != OFFERED_PROTOCOLS)
        );
    }
}
