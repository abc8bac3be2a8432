//! Builds ClientHellos like those of browsers and of curl, and wrong ones.

/// Extension types (IANA "TLS ExtensionType Values").
pub const SERVER_NAME: u16 = 0;
pub const ALPN: u16 = 16;
pub const PADDING: u16 = 21;
pub const PRE_SHARED_KEY: u16 = 41;
pub const SUPPORTED_VERSIONS: u16 = 43;
pub const KEY_SHARE: u16 = 51;
pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// A reserved value that clients send so that servers learn to pass over unknown ones (RFC 8701).
pub const GREASE: u16 = 0x8a8a;

/// X25519MLKEM768: the size of a client's post-quantum key share.
pub const POST_QUANTUM_SHARE: usize = 1216;

/// The fields of a ClientHello, each free to be wrong.
#[derive(Clone, Debug)]
pub struct Hello {
    pub message_type: u8,
    pub version: u16,
    pub session_id: Vec<u8>,
    pub cipher_suites: Vec<u8>,
    pub compression: Vec<u8>,
    /// Type and content, in order; `None` leaves the whole block out.
    pub extensions: Option<Vec<(u16, Vec<u8>)>>,
    /// Bytes after everything else.
    pub trailing: Vec<u8>,
}

impl Hello {
    /// What a TLS 1.3 client sends at least.
    pub fn new() -> Self {
        Self {
            message_type: 1,
            version: 0x0303,
            session_id: vec![0x5e; 32],
            cipher_suites: vec![0x13, 0x01, 0x13, 0x02, 0xc0, 0x2f],
            compression: vec![0],
            extensions: Some(vec![(SUPPORTED_VERSIONS, vec![4, 3, 4, 3, 3])]),
            trailing: Vec::new(),
        }
    }

    /// What a TLS 1.0 client sends: no extensions at all.
    pub fn ancient() -> Self {
        let extensions = None;
        Self {
            version: 0x0301,
            session_id: Vec::new(),
            extensions,
            ..Self::new()
        }
    }

    /// Adds an extension at the end.
    pub fn with(mut self, extension: u16, content: impl Into<Vec<u8>>) -> Self {
        self.extensions
            .get_or_insert_default()
            .push((extension, content.into()));
        self
    }

    pub fn server_name(self, name: &[u8]) -> Self {
        self.with(SERVER_NAME, vector16(&host_name(name)))
    }

    pub fn alpn(self, names: &[&[u8]]) -> Self {
        let list: Vec<u8> = names.iter().flat_map(|name| vector8(name)).collect();
        self.with(ALPN, vector16(&list))
    }

    /// One share of `length` bytes, which are not looked at.
    pub fn key_share(self, length: usize) -> Self {
        let mut share = vec![0x11, 0xec];
        share.extend(vector16(&vec![0x4b; length]));
        self.with(KEY_SHARE, vector16(&share))
    }

    pub fn encrypted_client_hello(self, payload: usize) -> Self {
        let mut content = vec![0, 0, 1, 0, 1, 7];
        content.extend(vector16(&[0xec; 32]));
        content.extend(vector16(&vec![0xc1; payload]));
        self.with(ENCRYPTED_CLIENT_HELLO, content)
    }

    pub fn pre_shared_key(self) -> Self {
        let mut identity = vector16(&[0x1d; 120]);
        identity.extend([0, 0, 0, 9]);
        let mut content = vector16(&identity);
        content.extend(vector16(&vector8(&[0xb1; 32])));
        self.with(PRE_SHARED_KEY, content)
    }

    /// The body without the message header.
    pub fn body(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([0x7a; 32]);
        body.extend(vector8(&self.session_id));
        body.extend(vector16(&self.cipher_suites));
        body.extend(vector8(&self.compression));
        if let Some(extensions) = &self.extensions {
            let block = extensions.iter().flat_map(|(extension, content)| {
                let mut bytes = extension.to_be_bytes().to_vec();
                bytes.extend(vector16(content));
                bytes
            });
            body.extend(vector16(&block.collect::<Vec<u8>>()));
        }
        body.extend(&self.trailing);
        body
    }

    /// The handshake message.
    pub fn message(&self) -> Vec<u8> {
        message(self.message_type, &self.body())
    }

    /// The message in as few records as it fits in.
    pub fn bytes(&self) -> Vec<u8> {
        records(&self.message(), &[1 << 14])
    }
}

/// The hello of a browser with everything that is usual now.
pub fn browser() -> Hello {
    Hello::new()
        .with(GREASE, [])
        .server_name(b"one.example")
        .alpn(&[b"h2", b"http/1.1"])
        .key_share(POST_QUANTUM_SHARE)
        .encrypted_client_hello(208)
        .with(PADDING, vec![0; 64])
        .with(0x1a1a, [0])
}

/// One host_name of a server name list, without the list's length.
pub fn host_name(name: &[u8]) -> Vec<u8> {
    let mut entry = vec![0];
    entry.extend(vector16(name));
    entry
}

pub fn vector8(content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("at most 255 bytes");
    [&[length], content].concat()
}

pub fn vector16(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("at most 65535 bytes");
    [&length.to_be_bytes(), content].concat()
}

/// A handshake message.
pub fn message(message_type: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len())
        .expect("a small body")
        .to_be_bytes();
    [&[message_type], &length[1..], body].concat()
}

/// Puts handshake bytes into records of the given sizes, the last of which repeats.
pub fn records(mut content: &[u8], sizes: &[usize]) -> Vec<u8> {
    let last = sizes.last().copied().unwrap_or(1 << 14);
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(last));
    let mut bytes = Vec::new();
    while !content.is_empty() {
        let size = sizes.next().unwrap_or(last).clamp(1, content.len());
        let (taken, rest) = content.split_at(size);
        bytes.extend([22, 3, 1]);
        bytes.extend(vector16(taken));
        content = rest;
    }
    bytes
}
