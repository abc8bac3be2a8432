//! Hellos recorded from real clients, kept in the fuzzing corpus as `captured-*`.

use std::fs;
use std::path::Path;

use crate::reading::complete;

const HTTP: &[&str] = &["h2", "http/1.1"];

/// File, server name, protocols.
const CAPTURED: &[(&str, Option<&str>, &[&str])] = &[
    ("captured-curl", Some("one.example"), HTTP),
    ("captured-node", Some("node.example"), &["h2"]),
    ("captured-openssl-3.0", Some("one.example"), HTTP),
    ("captured-openssl-3.0-resumed", Some("one.example"), &[]),
    ("captured-openssl-3.0-tls-1.2", Some("two.example"), &[]),
    ("captured-openssl-3.0-without-name", None, &[]),
    ("captured-wget-gnutls", Some("localhost"), &[]),
];

#[test]
fn real_clients_say_whom_they_want() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/client_hello");
    for (file, name, protocols) in CAPTURED {
        let bytes = fs::read(directory.join(file)).expect("a captured hello");
        let hello = complete(&bytes);
        assert_eq!(
            hello.server_name.as_ref().map(AsRef::as_ref),
            *name,
            "{file}"
        );
        let expected: Vec<&[u8]> = protocols.iter().map(|name| name.as_bytes()).collect();
        assert_eq!(hello.alpn, expected, "{file}");
        assert!(!hello.encrypted_client_hello, "{file}");
        assert_eq!(hello.length, bytes.len(), "{file}");
    }
}
