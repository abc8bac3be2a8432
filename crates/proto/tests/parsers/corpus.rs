//! The committed fuzzing corpus: every file holds to the properties, and the seeds are those
//! that are listed here.
//!
//! Fuzzing starts from the seeds; what it finds beyond them is committed beside them when it
//! once broke a property. `CLOISTER_WRITE_SEEDS=1 cargo test -p cloister-proto corpus` writes
//! the seeds anew.

use std::fs;
use std::path::{Path, PathBuf};

use cloister_proto::proxy_header::{Addresses, Origin, Values, write_v1, write_v2};

use crate::builder::{GREASE, Hello, SERVER_NAME, browser, host_name, records, vector16};
use crate::properties;

fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target)
}

fn client_hello_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let small = Hello::new()
        .with(GREASE, [])
        .server_name(b"a.example")
        .alpn(&[b"h2"]);
    let message = small.message();
    let mut interrupted = records(&message[..20], &[20]);
    interrupted.extend([20, 3, 3, 0, 1, 1]);
    let mut two_messages = message.clone();
    two_messages.extend(&message);
    let two_names = vector16(&[host_name(b"a.example"), host_name(b"b.example")].concat());
    vec![
        ("seed-ancient", Hello::ancient().bytes()),
        ("seed-browser", browser().bytes()),
        ("seed-small", small.bytes()),
        ("seed-records-of-one-byte", records(&message, &[1])),
        ("seed-records-mixed", records(&message, &[5, 1, 40, 3])),
        ("seed-interrupted", interrupted),
        ("seed-two-messages", records(&two_messages, &[1 << 14])),
        (
            "seed-two-names",
            Hello::new().with(SERVER_NAME, two_names).bytes(),
        ),
        (
            "seed-duplicate-extension",
            small.clone().with(GREASE, []).bytes(),
        ),
        ("seed-resumed", small.clone().pre_shared_key().bytes()),
        (
            "seed-resumed-not-last",
            small.clone().pre_shared_key().with(GREASE, []).bytes(),
        ),
        ("seed-encrypted", small.encrypted_client_hello(40).bytes()),
        (
            "seed-http",
            b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(),
        ),
    ]
}

fn proxy_header_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let address = |text: &str| text.parse().expect("an address");
    let v4 = Origin::Proxied(Addresses {
        client: address("192.0.2.1:4711"),
        server: address("192.0.2.2:443"),
    });
    let v6 = Origin::Proxied(Addresses {
        client: address("[2001:db8::1]:4711"),
        server: address("[2001:db8::2]:443"),
    });
    let values = Values {
        alpn: Some(b"h2"),
        authority: Some("a.example"),
        unique_id: Some(b"\x01\x02"),
    };
    let text = |origin| {
        let mut out = Vec::new();
        write_v1(&mut out, &origin);
        out
    };
    let binary = |origin, values| {
        let mut out = Vec::new();
        write_v2(&mut out, &origin, &values).expect("short values");
        out
    };
    let none = Values::default();
    vec![
        ("seed-v1-tcp4", text(v4)),
        ("seed-v1-tcp6", text(v6)),
        ("seed-v1-unknown", text(Origin::Unknown)),
        ("seed-v2-tcp4", binary(v4, none)),
        ("seed-v2-tcp6-values", binary(v6, values)),
        ("seed-v2-unknown-values", binary(Origin::Unknown, values)),
        ("seed-v2-local", binary(Origin::Local, none)),
    ]
}

fn check(target: &str, seeds: Vec<(&str, Vec<u8>)>, property: fn(&[u8])) {
    let directory = directory(target);
    if std::env::var_os("CLOISTER_WRITE_SEEDS").is_some() {
        fs::create_dir_all(&directory).expect("the corpus directory");
        for (name, bytes) in &seeds {
            fs::write(directory.join(name), bytes).expect("a seed");
        }
    }
    for (name, bytes) in &seeds {
        let found = fs::read(directory.join(name)).unwrap_or_default();
        assert!(
            found == *bytes,
            "{target}/{name} is not what the test lists; write it anew"
        );
    }
    let mut count = 0;
    for entry in fs::read_dir(&directory).expect("the corpus directory") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let listed = seeds.iter().any(|(seed, _)| *seed == name);
        assert!(
            listed || !name.starts_with("seed-"),
            "{target}/{name} is listed nowhere"
        );
        property(&fs::read(&path).expect("a readable file"));
        count += 1;
    }
    assert!(count >= seeds.len());
}

#[test]
fn client_hello_corpus_holds_to_the_properties() {
    check(
        "client_hello",
        client_hello_seeds(),
        properties::client_hello,
    );
}

#[test]
fn proxy_header_corpus_holds_to_the_properties() {
    check(
        "proxy_header",
        proxy_header_seeds(),
        properties::proxy_header,
    );
}
