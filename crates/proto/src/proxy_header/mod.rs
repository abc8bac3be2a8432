//! The PROXY protocol: how a proxy tells its target who the client is.
//!
//! The source is haproxy's doc/proxy-protocol.txt (version 1: section 2.1, version 2:
//! section 2.2). Both versions are written and read here. Reading is bounded:
//! [`MAXIMUM_LENGTH_V1`] and [`MAXIMUM_LENGTH_V2`].

mod crc32c;
mod error;
mod v1;
mod v2;

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

pub use error::{HeaderError, ValueTooLong};
pub use v1::{MAXIMUM_LENGTH as MAXIMUM_LENGTH_V1, write as write_v1};
pub use v2::{MAXIMUM_LENGTH as MAXIMUM_LENGTH_V2, write as write_v2};

use crate::progress::Progress;

/// The two ends of the connection that the header speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Who connected.
    pub client: SocketAddr,
    /// Where to.
    pub server: SocketAddr,
}

impl Addresses {
    /// Both addresses in one family, as both versions of the header need them. An IPv4
    /// client of a dual-stack listener has an IPv4-mapped address (RFC 4291 section
    /// 2.5.5.2), which is undone; a lone IPv4 address beside an IPv6 one is mapped.
    fn family(&self) -> Family {
        let (client, server) = (
            self.client.ip().to_canonical(),
            self.server.ip().to_canonical(),
        );
        let ports = (self.client.port(), self.server.port());
        match (client, server) {
            (std::net::IpAddr::V4(client), std::net::IpAddr::V4(server)) => Family::V4(
                SocketAddrV4::new(client, ports.0),
                SocketAddrV4::new(server, ports.1),
            ),
            (client, server) => {
                let mapped = |ip| match ip {
                    std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    std::net::IpAddr::V6(ip) => ip,
                };
                Family::V6(
                    SocketAddrV6::new(mapped(client), ports.0, 0, 0),
                    SocketAddrV6::new(mapped(server), ports.1, 0, 0),
                )
            }
        }
    }
}

/// Two addresses of one family: the client's, then the server's.
enum Family {
    V4(SocketAddrV4, SocketAddrV4),
    V6(SocketAddrV6, SocketAddrV6),
}

/// Whom a connection speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The proxy itself, for example a health check. Version 1 cannot say so and writes
    /// `UNKNOWN`.
    Local,
    /// Somebody whose address the header does not carry. The receiver uses the connection's
    /// own addresses.
    Unknown,
    /// A process of the proxy's machine, through a Unix socket. The paths of both ends name
    /// nothing on another machine and are not kept: the receiver uses the connection's own
    /// addresses. Version 1 cannot say so and writes `UNKNOWN`.
    Unix,
    /// A client with an address.
    Proxied(Addresses),
}

/// What version 2 can say beside the addresses (type-length-value, section 2.2).
/// `PP2_TYPE_CRC32C` is verified where it stands and never written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values<'a> {
    /// `PP2_TYPE_ALPN`: the protocol in use over the connection; at most 255 bytes (RFC
    /// 7301 section 3.1). A proxy that does not decrypt knows it only where the client
    /// offers just one.
    pub alpn: Option<&'a [u8]>,
    /// `PP2_TYPE_AUTHORITY`: the server name that the client asked for; at most 255 bytes.
    pub authority: Option<&'a str>,
    /// `PP2_TYPE_UNIQUE_ID`: names the connection across proxies; at most 128 bytes.
    pub unique_id: Option<&'a [u8]>,
}

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Whom the connection speaks for.
    pub origin: Origin,
    /// What version 2 says beside; empty for version 1 and for [`Origin::Local`].
    pub values: Values<'a>,
    /// How many bytes the header takes.
    pub length: usize,
}

/// Reads the header, of either version, that a connection begins with. `received` is all of
/// the connection's bytes so far; a call costs at most the header's length, and a constant
/// while version 2 is incomplete.
///
/// # Errors
///
/// [`HeaderError`], as soon as it is certain, except that a line of version 1 is judged when
/// its end is there, as section 2.1 demands. There is no answer to the peer: the
/// specification has the connection closed.
pub fn parse(received: &[u8]) -> Result<Progress<Header<'_>>, HeaderError> {
    match received.first() {
        None => Ok(Progress::NeedMore),
        Some(&byte) if byte == v1::PREFIX[0] => v1::parse(received),
        Some(&byte) if byte == v2::SIGNATURE[0] => v2::parse(received),
        Some(&found) => Err(HeaderError::Signature { found, offset: 0 }),
    }
}

/// Compares what is there of `expected`; true when all of it is.
fn signature(received: &[u8], expected: &[u8]) -> Result<bool, HeaderError> {
    match received
        .iter()
        .zip(expected)
        .position(|(found, due)| found != due)
    {
        Some(offset) => Err(HeaderError::Signature {
            found: received[offset],
            offset,
        }),
        None => Ok(received.len() >= expected.len()),
    }
}
