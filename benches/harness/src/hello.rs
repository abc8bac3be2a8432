//! The ClientHello that every measured connection begins with (RFC 8446, section 4.1.2).
//!
//! It is a valid hello with a server name, so that proxies route by it, and always
//! [`HELLO_LENGTH`] bytes long, the size of a usual browser's. What the backend shall do is
//! told in the hello's random, which no proxy reads.

use anyhow::{Result, bail, ensure};

/// Bytes of the record with the hello.
pub const HELLO_LENGTH: usize = 517;
/// Where the 32 bytes of random begin: record header 5, handshake header 4, version 2.
const RANDOM: usize = 11;

/// What the backend does after the hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sends a short reply and closes.
    Reply,
    /// Sends so many bytes of the pattern and closes.
    Send(u64),
    /// Reads so many bytes of the pattern, answers with one byte and closes.
    Receive(u64),
    /// Sends back whatever comes, until the end of the stream.
    Echo,
    /// Answers with one byte and waits for the end of the stream.
    Idle,
}

impl Mode {
    fn tag(self) -> (u8, u64) {
        match self {
            Self::Reply => (b'r', 0),
            Self::Send(bytes) => (b's', bytes),
            Self::Receive(bytes) => (b'v', bytes),
            Self::Echo => (b'e', 0),
            Self::Idle => (b'i', 0),
        }
    }

    /// Reads the mode out of a whole hello.
    ///
    /// # Errors
    /// The bytes are no hello of [`encode`]: a proxy changed or lost some.
    pub fn decode(hello: &[u8; HELLO_LENGTH]) -> Result<Self> {
        ensure!(
            hello[..3] == [0x16, 0x03, 0x01],
            "the first bytes are no TLS record: {:02x?}",
            &hello[..5]
        );
        let mut size = [0; 8];
        size.copy_from_slice(&hello[RANDOM + 1..RANDOM + 9]);
        let size = u64::from_be_bytes(size);
        Ok(match hello[RANDOM] {
            b'r' => Self::Reply,
            b's' => Self::Send(size),
            b'v' => Self::Receive(size),
            b'e' => Self::Echo,
            b'i' => Self::Idle,
            other => bail!("the hello asks for the unknown mode {other:#04x}"),
        })
    }
}

fn vector16(body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend_from_slice(&vector16(body));
    out
}

/// The hello that asks the backend behind `name` for `mode`.
///
/// # Errors
/// `name` is too long to fit.
pub fn encode(name: &str, mode: Mode) -> Result<[u8; HELLO_LENGTH]> {
    let (tag, size) = mode.tag();
    let mut body = vec![0x03, 0x03, tag];
    body.extend_from_slice(&size.to_be_bytes());
    body.extend_from_slice(&[0x5a; 23]);
    body.push(32);
    body.extend_from_slice(&[0xa5; 32]);
    // TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256,
    // ECDHE-ECDSA and ECDHE-RSA with AES-128-GCM.
    body.extend_from_slice(&vector16(&[
        0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2f,
    ]));
    body.extend_from_slice(&[1, 0]);

    let mut host = vec![0];
    host.extend_from_slice(&vector16(name.as_bytes()));
    let mut share = vec![0x00, 0x1d];
    share.extend_from_slice(&vector16(&[0x77; 32]));
    let mut extensions = extension(0, &vector16(&host));
    extensions.extend(extension(10, &vector16(&[0x00, 0x1d, 0x00, 0x17])));
    extensions.extend(extension(
        13,
        &vector16(&[0x04, 0x03, 0x08, 0x04, 0x04, 0x01]),
    ));
    extensions.extend(extension(16, &vector16(b"\x02h2\x08http/1.1")));
    extensions.extend(extension(43, &[4, 0x03, 0x04, 0x03, 0x03]));
    extensions.extend(extension(45, &[1, 1]));
    extensions.extend(extension(51, &vector16(&share)));
    // RFC 7685: the padding extension brings the record to its length.
    let used = 5 + 4 + body.len() + 2 + extensions.len() + 4;
    ensure!(
        used <= HELLO_LENGTH,
        "the server name {name:?} is too long for {HELLO_LENGTH} bytes"
    );
    extensions.extend(extension(21, &vec![0; HELLO_LENGTH - used]));
    body.extend_from_slice(&vector16(&extensions));

    let mut record = vec![0x16, 0x03, 0x01];
    record.extend_from_slice(&((body.len() + 4) as u16).to_be_bytes());
    record.extend_from_slice(&[1, 0]);
    record.extend_from_slice(&vector16(&body));
    record
        .as_slice()
        .try_into()
        .map_err(|_| anyhow::anyhow!("the hello has {} bytes", record.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_tells_its_mode_whatever_the_length_of_the_name() {
        for name in ["a.example", "a-longer-name.of-the-bench.example"] {
            for mode in [
                Mode::Reply,
                Mode::Send(1 << 30),
                Mode::Receive(7),
                Mode::Echo,
                Mode::Idle,
            ] {
                let hello = encode(name, mode).expect("it fits");
                assert_eq!(Mode::decode(&hello).expect("it is whole"), mode);
            }
        }
    }

    #[test]
    fn bytes_that_were_changed_are_no_hello() {
        let mut hello = encode("a.example", Mode::Echo).expect("it fits");
        hello[0] = 0x15;
        assert!(Mode::decode(&hello).is_err());
        assert!(encode(&"a".repeat(400), Mode::Echo).is_err());
    }
}
