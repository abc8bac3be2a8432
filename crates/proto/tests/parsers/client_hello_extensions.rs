//! The extensions of a ClientHello by example: one error each.

use cloister_proto::alert::Alert;
use cloister_proto::client_hello::HelloError;
use cloister_proto::hostname::HostnameError;

use crate::builder::{
    ALPN, ENCRYPTED_CLIENT_HELLO, GREASE, Hello, PADDING, SERVER_NAME, SUPPORTED_VERSIONS, browser,
    host_name, vector8, vector16,
};
use crate::reading::{complete, name_of, refused};

#[test]
fn no_extension_stands_twice() {
    for extension in [SERVER_NAME, ALPN, GREASE, 0xffff] {
        let content = match extension {
            SERVER_NAME => vector16(&host_name(b"a.example")),
            ALPN => vector16(&vector8(b"h2")),
            _ => Vec::new(),
        };
        let twice = Hello::new()
            .with(extension, content.clone())
            .with(35, [])
            .with(extension, content);
        refused(
            &twice,
            HelloError::DuplicateExtension { extension },
            Alert::IllegalParameter,
        );
    }
}

#[test]
fn thousands_of_extensions_are_read_in_one_go() {
    let mut hello = Hello {
        extensions: None,
        ..Hello::new()
    };
    for extension in 100..4100 {
        hello = hello.with(extension, []);
    }
    complete(&hello.bytes());
    refused(
        &hello.with(100, []),
        HelloError::DuplicateExtension { extension: 100 },
        Alert::IllegalParameter,
    );
}

#[test]
fn pre_shared_key_is_last() {
    complete(&browser().pre_shared_key().bytes());
    refused(
        &browser().pre_shared_key().with(PADDING, [0]),
        HelloError::PreSharedKeyNotLast,
        Alert::IllegalParameter,
    );
}

#[test]
fn server_name_lists_are_exact() {
    let list = |content: &[u8]| Hello::new().with(SERVER_NAME, content);
    let truncated = |field| HelloError::Truncated { field };
    let decode = Alert::DecodeError;
    refused(&list(&[]), truncated("server_name_list"), decode);
    refused(&list(&[0, 5, 0]), truncated("server_name_list"), decode);
    refused(
        &list(&[0, 0]),
        HelloError::Length {
            field: "server_name_list",
            length: 0,
        },
        decode,
    );
    refused(&list(&[0, 2, 0, 0]), truncated("host_name"), decode);
    refused(
        &list(&[0, 4, 0, 0, 2, b'a']),
        truncated("host_name"),
        decode,
    );
    refused(
        &list(&[0, 3, 0, 0, 0]),
        HelloError::Length {
            field: "host_name",
            length: 0,
        },
        decode,
    );
    let trailing = [vector16(&host_name(b"a.example")), vec![0]].concat();
    refused(
        &list(&trailing),
        HelloError::Trailing {
            field: "server_name",
            length: 1,
        },
        decode,
    );
    let two = vector16(&[host_name(b"a.example"), host_name(b"b.example")].concat());
    refused(
        &list(&two),
        HelloError::DuplicateServerName { name_type: 0 },
        Alert::IllegalParameter,
    );
}

#[test]
fn server_names_of_other_types_are_passed_over() {
    let other = [&[7][..], &vector16(b"opaque")].concat();
    let both = vector16(&[other.clone(), host_name(b"a.example")].concat());
    assert_eq!(
        name_of(&Hello::new().with(SERVER_NAME, both).bytes()).unwrap(),
        "a.example"
    );
    let alone = Hello::new().with(SERVER_NAME, vector16(&other));
    assert_eq!(name_of(&alone.bytes()), None);
    refused(
        &Hello::new().with(SERVER_NAME, vector16(&[other.clone(), other].concat())),
        HelloError::DuplicateServerName { name_type: 7 },
        Alert::IllegalParameter,
    );
}

#[test]
fn names_that_are_no_host_names_are_unrecognized() {
    let name = |text: &[u8]| Hello::new().server_name(text);
    for (text, reason) in [
        (&b"../etc"[..], HostnameError::EmptyLabel { offset: 0 }),
        (
            b"a/b",
            HostnameError::Character {
                byte: b'/',
                offset: 1,
            },
        ),
        (
            b"a\0.example",
            HostnameError::Character { byte: 0, offset: 1 },
        ),
        (b"a.example.", HostnameError::TrailingDot),
        (b"192.0.2.1", HostnameError::Address),
        (b"2001:db8::1", HostnameError::Address),
        (
            b"_default",
            HostnameError::Character {
                byte: b'_',
                offset: 0,
            },
        ),
    ] {
        refused(
            &name(text),
            HelloError::ServerName(reason),
            Alert::UnrecognizedName,
        );
    }
    for length in [254, 255, 16_000] {
        let reason = HostnameError::TooLong { length };
        refused(
            &name(&vec![b'a'; length]),
            HelloError::ServerName(reason),
            Alert::UnrecognizedName,
        );
    }
}

#[test]
fn a_hello_that_is_broken_elsewhere_is_answered_for_that() {
    let hello = Hello {
        trailing: vec![0],
        ..Hello::new().server_name(b"..")
    };
    refused(
        &hello,
        HelloError::Trailing {
            field: "client_hello",
            length: 1,
        },
        Alert::DecodeError,
    );
}

#[test]
fn protocol_name_lists_are_exact() {
    let list = |content: &[u8]| Hello::new().with(ALPN, content);
    let decode = Alert::DecodeError;
    refused(
        &list(&[0, 0]),
        HelloError::Length {
            field: "protocol_name_list",
            length: 0,
        },
        decode,
    );
    refused(
        &list(&[0, 1, 0]),
        HelloError::Length {
            field: "protocol_name",
            length: 0,
        },
        decode,
    );
    refused(
        &list(&[0, 2, 2, b'h']),
        HelloError::Truncated {
            field: "protocol_name",
        },
        decode,
    );
    refused(
        &list(&[0, 9, 2, b'h']),
        HelloError::Truncated {
            field: "protocol_name_list",
        },
        decode,
    );
    refused(
        &list(&[0, 3, 2, b'h', b'2', 0]),
        HelloError::Trailing {
            field: "application_layer_protocol_negotiation",
            length: 1,
        },
        decode,
    );
    let longest = [b'x'; 255];
    let hello = complete(&Hello::new().alpn(&[&longest, b"\0"]).bytes());
    assert_eq!(hello.alpn, [longest.to_vec(), vec![0]]);
}

#[test]
fn supported_versions_are_exact() {
    let versions = |content: &[u8]| {
        Hello {
            extensions: None,
            ..Hello::new()
        }
        .with(SUPPORTED_VERSIONS, content)
    };
    let length = |length| HelloError::Length {
        field: "supported_versions",
        length,
    };
    refused(&versions(&[0]), length(0), Alert::DecodeError);
    refused(&versions(&[3, 3, 4, 3]), length(3), Alert::DecodeError);
    refused(
        &versions(&[2, 3, 4, 3]),
        HelloError::Trailing {
            field: "supported_versions",
            length: 1,
        },
        Alert::DecodeError,
    );
}

#[test]
fn encrypted_hellos_are_told_apart() {
    let inner = Hello::new().with(ENCRYPTED_CLIENT_HELLO, [1]);
    assert!(!complete(&inner.bytes()).encrypted_client_hello);
    refused(
        &Hello::new().with(ENCRYPTED_CLIENT_HELLO, [2]),
        HelloError::EncryptedClientHelloType { found: 2 },
        Alert::IllegalParameter,
    );
    refused(
        &Hello::new().encrypted_client_hello(0),
        HelloError::Length {
            field: "payload",
            length: 0,
        },
        Alert::DecodeError,
    );
    refused(
        &Hello::new().with(ENCRYPTED_CLIENT_HELLO, [1, 0]),
        HelloError::Trailing {
            field: "encrypted_client_hello",
            length: 1,
        },
        Alert::DecodeError,
    );
    let mut longer = Hello::new().encrypted_client_hello(8);
    let (_, content) = longer.extensions.as_mut().unwrap().last_mut().unwrap();
    content.push(0);
    refused(
        &longer,
        HelloError::Trailing {
            field: "encrypted_client_hello",
            length: 1,
        },
        Alert::DecodeError,
    );
    refused(
        &Hello::new().with(ENCRYPTED_CLIENT_HELLO, []),
        HelloError::Truncated {
            field: "encrypted_client_hello",
        },
        Alert::DecodeError,
    );
}
