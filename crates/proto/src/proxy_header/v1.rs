//! Version 1: one line of text (section 2.1).

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, Family, Header, HeaderError, Origin, Values, signature};
use crate::progress::Progress;

/// The longest line with its end, in bytes.
pub const MAXIMUM_LENGTH: usize = 107;

/// What every line begins with.
pub(super) const PREFIX: &[u8; 6] = b"PROXY ";

/// Appends the line; at most [`MAXIMUM_LENGTH`] bytes.
pub fn write(out: &mut Vec<u8>, origin: &Origin) {
    // Writing to a Vec cannot fail (std::io::Write for Vec<u8>).
    let _ = match origin {
        Origin::Local | Origin::Unknown | Origin::Unix => out.write_all(b"PROXY UNKNOWN\r\n"),
        Origin::Proxied(addresses) => match addresses.family() {
            Family::V4(client, server) => {
                let ports = (client.port(), server.port());
                let (client, server) = (client.ip(), server.ip());
                write!(
                    out,
                    "PROXY TCP4 {client} {server} {} {}\r\n",
                    ports.0, ports.1
                )
            }
            Family::V6(client, server) => {
                let ports = (client.port(), server.port());
                let (client, server) = (client.ip(), server.ip());
                write!(
                    out,
                    "PROXY TCP6 {client} {server} {} {}\r\n",
                    ports.0, ports.1
                )
            }
        },
    };
}

/// Reads a line that begins with the first byte of [`PREFIX`].
pub(super) fn parse(received: &[u8]) -> Result<Progress<Header<'_>>, HeaderError> {
    if !signature(received, PREFIX)? {
        return Ok(Progress::NeedMore);
    }
    let window = received.get(..MAXIMUM_LENGTH).unwrap_or(received);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if window.len() < MAXIMUM_LENGTH {
            Ok(Progress::NeedMore)
        } else {
            Err(HeaderError::LineTooLong)
        };
    };
    let origin = parse_line(&window[PREFIX.len()..end])?;
    Ok(Progress::Complete(Header {
        origin,
        values: Values::default(),
        length: end + 2,
    }))
}

/// What stands between the prefix and the line end.
fn parse_line(line: &[u8]) -> Result<Origin, HeaderError> {
    let (protocol, fields) = match line.iter().position(|&byte| byte == b' ') {
        Some(space) => (&line[..space], Some(&line[space + 1..])),
        None => (line, None),
    };
    match protocol {
        // "The receiver must ignore anything presented before the CRLF is found."
        b"UNKNOWN" => Ok(Origin::Unknown),
        b"TCP4" => parse_fields::<Ipv4Addr>(fields.unwrap_or_default()),
        b"TCP6" => parse_fields::<Ipv6Addr>(fields.unwrap_or_default()),
        _ => Err(HeaderError::Protocol),
    }
}

/// `CLIENT SERVER CLIENT-PORT SERVER-PORT`, each behind exactly one space.
fn parse_fields<A: FromStr + Into<IpAddr>>(fields: &[u8]) -> Result<Origin, HeaderError> {
    let mut fields = fields.split(|&byte| byte == b' ');
    let mut next = || fields.next().ok_or(HeaderError::Fields);
    let (client, server, client_port, server_port) = (next()?, next()?, next()?, next()?);
    if fields.next().is_some() {
        return Err(HeaderError::Fields);
    }
    Ok(Origin::Proxied(Addresses {
        client: SocketAddr::new(
            address::<A>(client, "client")?,
            port(client_port, "client")?,
        ),
        server: SocketAddr::new(
            address::<A>(server, "server")?,
            port(server_port, "server")?,
        ),
    }))
}

fn address<A: FromStr + Into<IpAddr>>(
    field: &[u8],
    end: &'static str,
) -> Result<IpAddr, HeaderError> {
    let text = std::str::from_utf8(field).ok();
    text.and_then(|text| text.parse::<A>().ok())
        .map(Into::into)
        .ok_or(HeaderError::Address { end })
}

fn port(field: &[u8], end: &'static str) -> Result<u16, HeaderError> {
    // u16::from_str alone would also take a sign and any number of leading zeros.
    let digits = field.len() <= 5 && field.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(field).ok().filter(|_| digits);
    text.and_then(|text| text.parse().ok())
        .ok_or(HeaderError::Port { end })
}
