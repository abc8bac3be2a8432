//! Version 2: a binary header with typed values (section 2.2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::checksum;
use super::{Addresses, Family, Header, HeaderError, Origin, ValueTooLong, Values, signature};
use crate::progress::Progress;

/// The longest header that is read, in bytes. The format allows 65,551; haproxy builds what
/// it sends in a buffer of 16 KiB.
pub const MAXIMUM_LENGTH: usize = 16 * 1024;

/// What every header begins with.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, command, transport and length.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const UDP4: u8 = 0x12;
const TCP6: u8 = 0x21;
const UDP6: u8 = 0x22;
const UNIX_STREAM: u8 = 0x31;
const UNIX_DATAGRAM: u8 = 0x32;

/// Two paths of 108 bytes.
const UNIX_LENGTH: usize = 216;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;

/// The longest value of a kind that is written or read.
const fn value_limit(kind: u8) -> usize {
    if kind == UNIQUE_ID { 128 } else { 255 }
}

/// Appends the header. [`Origin::Local`] is written without `values`, as the specification
/// asks.
///
/// # Errors
///
/// [`ValueTooLong`]; nothing is written then.
pub fn write(out: &mut Vec<u8>, origin: &Origin, values: &Values<'_>) -> Result<(), ValueTooLong> {
    let listed = [
        (ALPN, values.alpn),
        (AUTHORITY, values.authority.map(str::as_bytes)),
        (UNIQUE_ID, values.unique_id),
    ];
    for (kind, value) in listed {
        check_length(kind, value.unwrap_or_default())?;
    }
    let start = out.len();
    out.extend_from_slice(SIGNATURE);
    match origin {
        Origin::Local => {
            out.extend_from_slice(&[LOCAL, UNSPECIFIED, 0, 0]);
            return Ok(());
        }
        Origin::Unknown => out.extend_from_slice(&[PROXY, UNSPECIFIED, 0, 0]),
        Origin::Unix => {
            out.extend_from_slice(&[PROXY, UNIX_STREAM, 0, 0]);
            // Both ends unnamed.
            out.extend_from_slice(&[0; UNIX_LENGTH]);
        }
        Origin::Proxied(addresses) => match addresses.family() {
            Family::V4(client, server) => {
                out.extend_from_slice(&[PROXY, TCP4, 0, 0]);
                out.extend_from_slice(&client.ip().octets());
                out.extend_from_slice(&server.ip().octets());
                out.extend_from_slice(&client.port().to_be_bytes());
                out.extend_from_slice(&server.port().to_be_bytes());
            }
            Family::V6(client, server) => {
                out.extend_from_slice(&[PROXY, TCP6, 0, 0]);
                out.extend_from_slice(&client.ip().octets());
                out.extend_from_slice(&server.ip().octets());
                out.extend_from_slice(&client.port().to_be_bytes());
                out.extend_from_slice(&server.port().to_be_bytes());
            }
        },
    }
    for (kind, value) in listed {
        if let Some(value) = value {
            out.push(kind);
            out.extend_from_slice(&length_bytes(value.len()));
            out.extend_from_slice(value);
        }
    }
    let length = length_bytes(out.len() - start - FIXED);
    out[start + FIXED - 2..start + FIXED].copy_from_slice(&length);
    Ok(())
}

/// Two bytes of length. Every length here was checked against [`value_limit`]: addresses and
/// three values are below 1 KiB.
const fn length_bytes(length: usize) -> [u8; 2] {
    (length as u16).to_be_bytes()
}

fn check_length(kind: u8, value: &[u8]) -> Result<(), ValueTooLong> {
    let limit = value_limit(kind);
    if value.len() > limit {
        return Err(ValueTooLong {
            kind,
            length: value.len(),
            limit,
        });
    }
    Ok(())
}

/// Reads a header that begins with the first byte of [`SIGNATURE`].
pub(super) fn parse(received: &[u8]) -> Result<Progress<Header<'_>>, HeaderError> {
    if !signature(received, SIGNATURE)? {
        return Ok(Progress::NeedMore);
    }
    let mut fixed = received.iter().skip(SIGNATURE.len()).copied();
    let local = match fixed.next() {
        None => return Ok(Progress::NeedMore),
        Some(LOCAL) => true,
        Some(PROXY) => false,
        Some(byte) if byte >> 4 != 2 => return Err(HeaderError::Version { found: byte >> 4 }),
        Some(byte) => return Err(HeaderError::Command { found: byte & 0x0f }),
    };
    let Some(transport) = fixed.next() else {
        return Ok(Progress::NeedMore);
    };
    // The family of a LOCAL header "is ignored".
    let needed = if local { 0 } else { address_length(transport)? };
    let (Some(high), Some(low)) = (fixed.next(), fixed.next()) else {
        return Ok(Progress::NeedMore);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > MAXIMUM_LENGTH {
        return Err(HeaderError::TooLong {
            length: FIXED + length,
        });
    }
    if length < needed {
        return Err(HeaderError::TooShort { length, needed });
    }
    let Some(block) = received.get(FIXED..FIXED + length) else {
        return Ok(Progress::NeedMore);
    };
    let (origin, values) = if local {
        (Origin::Local, Values::default())
    } else {
        (
            parse_addresses(transport, &block[..needed]),
            parse_values(&received[..FIXED + length], FIXED + needed)?,
        )
    };
    Ok(Progress::Complete(Header {
        origin,
        values,
        length: FIXED + length,
    }))
}

/// How many bytes of addresses the transport has. Nothing is said of what an unspecified
/// one carries; haproxy writes no address there and goes on with values, so that is what is
/// read.
const fn address_length(transport: u8) -> Result<usize, HeaderError> {
    match transport {
        UNSPECIFIED => Ok(0),
        TCP4 | UDP4 => Ok(12),
        TCP6 | UDP6 => Ok(36),
        UNIX_STREAM | UNIX_DATAGRAM => Ok(UNIX_LENGTH),
        found => Err(HeaderError::Transport { found }),
    }
}

/// The addresses in a block of [`address_length`] bytes.
fn parse_addresses(transport: u8, block: &[u8]) -> Origin {
    let addresses = match transport {
        TCP4 | UDP4 => split::<4>(block),
        TCP6 | UDP6 => split::<16>(block),
        UNIX_STREAM | UNIX_DATAGRAM => return Origin::Unix,
        _ => None,
    };
    addresses.map_or(Origin::Unknown, Origin::Proxied)
}

/// Two addresses of `N` bytes, then two ports; `None` only for a block of another length.
fn split<const N: usize>(block: &[u8]) -> Option<Addresses>
where
    Octets<N>: Into<std::net::IpAddr>,
{
    let (client, rest) = block.split_first_chunk::<N>()?;
    let (server, rest) = rest.split_first_chunk::<N>()?;
    let (client_port, rest) = rest.split_first_chunk::<2>()?;
    let (server_port, _) = rest.split_first_chunk::<2>()?;
    Some(Addresses {
        client: SocketAddr::new(Octets(*client).into(), u16::from_be_bytes(*client_port)),
        server: SocketAddr::new(Octets(*server).into(), u16::from_be_bytes(*server_port)),
    })
}

/// The bytes of one address.
struct Octets<const N: usize>([u8; N]);

impl From<Octets<4>> for std::net::IpAddr {
    fn from(octets: Octets<4>) -> Self {
        Ipv4Addr::from(octets.0).into()
    }
}

impl From<Octets<16>> for std::net::IpAddr {
    fn from(octets: Octets<16>) -> Self {
        Ipv6Addr::from(octets.0).into()
    }
}

/// The values of a complete header; `offset` is where they begin. Kinds that mean nothing
/// here are passed over.
fn parse_values(header: &[u8], mut offset: usize) -> Result<Values<'_>, HeaderError> {
    let mut values = Values::default();
    let mut checked = false;
    while let Some(rest) = header.get(offset..).filter(|rest| !rest.is_empty()) {
        let truncated = HeaderError::ValueTruncated { offset };
        let (&[kind, high, low], after) = rest.split_first_chunk().ok_or(truncated)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = after.get(..length).ok_or(truncated)?;
        let start = offset + 3;
        let twice = match kind {
            ALPN => values.alpn.replace(value).is_some(),
            AUTHORITY => {
                let text = std::str::from_utf8(value).map_err(|_| HeaderError::Authority)?;
                values.authority.replace(text).is_some()
            }
            UNIQUE_ID => values.unique_id.replace(value).is_some(),
            CRC32C => {
                verify(header, start, value)?;
                std::mem::replace(&mut checked, true)
            }
            _ => false,
        };
        if twice {
            return Err(HeaderError::DuplicateValue { kind });
        }
        if matches!(kind, ALPN | AUTHORITY | UNIQUE_ID) {
            check_length(kind, value)?;
        }
        offset = start + length;
    }
    Ok(values)
}

/// Compares the checksum at `start` with that of the whole header in which its own four
/// bytes are zero.
fn verify(header: &[u8], start: usize, value: &[u8]) -> Result<(), HeaderError> {
    let length = value.len();
    let found = <[u8; 4]>::try_from(value).map_err(|_| HeaderError::ChecksumLength { length })?;
    let found = u32::from_be_bytes(found);
    let (before, after) = (&header[..start], &header[start + length..]);
    let computed = checksum(&[before, &[0; 4], after]);
    if found == computed {
        Ok(())
    } else {
        Err(HeaderError::Checksum { found, computed })
    }
}
