//! The extensions of a ClientHello (RFC 8446 section 4.2).
//!
//! The block is read to its end before anything is concluded. Contents are checked of those
//! extensions that decide or describe a route; the others are opaque with a checked length.

use super::HelloError;
use super::cursor::Cursor;
use crate::hostname::Hostname;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// What the extensions say.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) server_name: Option<Hostname>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) encrypted_client_hello: bool,
}

/// Validates an extension block.
pub(super) fn parse(block: &[u8]) -> Result<Extensions, HelloError> {
    let mut cursor = Cursor::new(block);
    let mut found = Extensions::default();
    // Browsers send about 16; the length of the hello bounds the number to 4096.
    let mut types: Vec<u16> = Vec::with_capacity(24);
    while !cursor.is_empty() {
        if types.last() == Some(&PRE_SHARED_KEY) {
            return Err(HelloError::PreSharedKeyNotLast);
        }
        let extension = cursor.u16("extension_type")?;
        let data = cursor.vector16("extension_data")?;
        types.push(extension);
        match extension {
            SERVER_NAME => found.server_name = server_name(data)?,
            ALPN => found.alpn = protocol_names(data)?,
            SUPPORTED_VERSIONS => supported_versions(data)?,
            ENCRYPTED_CLIENT_HELLO => found.encrypted_client_hello = encrypted_outer(data)?,
            _ => {}
        }
    }
    // Sorted, because comparing each with each would let one hello of 4096 empty extensions
    // cost eight million comparisons.
    types.sort_unstable();
    match types.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(HelloError::DuplicateExtension { extension: pair[0] }),
        None => Ok(found),
    }
}

/// server_name (RFC 6066 section 3): a non-empty list with at most one name of each type.
///
/// Names of other types than host_name are passed over: the RFC promises that each begins with
/// a length of two bytes. A list without a host_name leaves the hello without a server name.
fn server_name(data: &[u8]) -> Result<Option<Hostname>, HelloError> {
    const HOST_NAME: u8 = 0;
    let mut cursor = Cursor::new(data);
    let list = cursor.vector16("server_name_list")?;
    cursor.end("server_name")?;
    if list.is_empty() {
        return Err(HelloError::Length {
            field: "server_name_list",
            length: 0,
        });
    }
    let mut cursor = Cursor::new(list);
    let mut seen = [false; 256];
    let mut host_name = None;
    while !cursor.is_empty() {
        let name_type = cursor.u8("name_type")?;
        if std::mem::replace(&mut seen[usize::from(name_type)], true) {
            return Err(HelloError::DuplicateServerName { name_type });
        }
        if name_type == HOST_NAME {
            let name = cursor.vector16("host_name")?;
            if name.is_empty() {
                return Err(HelloError::Length {
                    field: "host_name",
                    length: 0,
                });
            }
            host_name = Some(name);
        } else {
            cursor.vector16("server_name_list")?;
        }
    }
    // Last, so that a list that is malformed as TLS is answered as such whatever the name is.
    host_name
        .map(Hostname::parse)
        .transpose()
        .map_err(HelloError::ServerName)
}

/// application_layer_protocol_negotiation (RFC 7301 section 3.1): a non-empty list of
/// non-empty names.
fn protocol_names(data: &[u8]) -> Result<Vec<Vec<u8>>, HelloError> {
    let mut cursor = Cursor::new(data);
    let list = cursor.vector16("protocol_name_list")?;
    cursor.end("application_layer_protocol_negotiation")?;
    if list.is_empty() {
        return Err(HelloError::Length {
            field: "protocol_name_list",
            length: 0,
        });
    }
    let mut cursor = Cursor::new(list);
    let mut names = Vec::new();
    while !cursor.is_empty() {
        let name = cursor.vector8("protocol_name")?;
        if name.is_empty() {
            return Err(HelloError::Length {
                field: "protocol_name",
                length: 0,
            });
        }
        names.push(name.to_vec());
    }
    Ok(names)
}

/// supported_versions (RFC 8446 section 4.2.1): 2 to 254 bytes, two for each version.
fn supported_versions(data: &[u8]) -> Result<(), HelloError> {
    let mut cursor = Cursor::new(data);
    let versions = cursor.vector8("supported_versions")?;
    cursor.end("supported_versions")?;
    if versions.is_empty() || versions.len() % 2 != 0 {
        return Err(HelloError::Length {
            field: "supported_versions",
            length: versions.len(),
        });
    }
    Ok(())
}

/// encrypted_client_hello (RFC 9849 section 5): whether it is an outer hello. A client that
/// only pretends (GREASE, section 6.2) looks the same, by design. An inner one, which is
/// empty, comes from a proxy that has decrypted the hello already.
fn encrypted_outer(data: &[u8]) -> Result<bool, HelloError> {
    const OUTER: u8 = 0;
    const INNER: u8 = 1;
    let mut cursor = Cursor::new(data);
    match cursor.u8("encrypted_client_hello")? {
        OUTER => {
            cursor.bytes(4, "cipher_suite")?;
            cursor.u8("config_id")?;
            cursor.vector16("enc")?;
            let payload = cursor.vector16("payload")?;
            if payload.is_empty() {
                return Err(HelloError::Length {
                    field: "payload",
                    length: 0,
                });
            }
            cursor.end("encrypted_client_hello")?;
            Ok(true)
        }
        INNER => cursor.end("encrypted_client_hello").map(|()| false),
        found => Err(HelloError::EncryptedClientHelloType { found }),
    }
}
