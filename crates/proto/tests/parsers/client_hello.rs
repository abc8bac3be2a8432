//! The ClientHello reader by example: one error each, and what real clients send.

use cloister_proto::alert::Alert;
use cloister_proto::client_hello::{ClientHello, DEFAULT_LIMIT, HelloError, HelloReader, Progress};
use cloister_proto::hostname::HostnameError;

use crate::builder::{
    ALPN, ENCRYPTED_CLIENT_HELLO, GREASE, Hello, PADDING, SERVER_NAME, SUPPORTED_VERSIONS, browser,
    host_name, message, records, vector8, vector16,
};

fn read(bytes: &[u8]) -> Result<Progress, HelloError> {
    HelloReader::new(DEFAULT_LIMIT).advance(bytes)
}

fn complete(bytes: &[u8]) -> ClientHello {
    match read(bytes) {
        Ok(Progress::Complete(hello)) => hello,
        other => panic!("{other:?}"),
    }
}

fn refused(hello: &Hello, expected: HelloError, alert: Alert) {
    assert_eq!(read(&hello.bytes()), Err(expected));
    assert_eq!(expected.alert(), alert, "{expected}");
}

fn name_of(bytes: &[u8]) -> Option<String> {
    complete(bytes).server_name.map(|name| name.to_string())
}

#[test]
fn a_browser_says_its_name_protocols_and_encrypted_hello() {
    let bytes = browser().bytes();
    assert!(
        bytes.len() > 1600,
        "larger than one segment of a usual network"
    );
    let hello = complete(&bytes);
    assert_eq!(hello.server_name.unwrap().as_str(), "one.example");
    assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert!(hello.encrypted_client_hello);
    assert_eq!(hello.length, bytes.len());
}

#[test]
fn a_hello_without_extensions_has_no_name() {
    let hello = complete(&Hello::ancient().bytes());
    assert_eq!(hello.server_name, None);
    assert!(hello.alpn.is_empty());
    assert!(!hello.encrypted_client_hello);
}

#[test]
fn an_empty_extension_block_has_no_name() {
    let hello = Hello {
        extensions: Some(Vec::new()),
        ..Hello::ancient()
    };
    assert_eq!(name_of(&hello.bytes()), None);
}

#[test]
fn an_upper_case_name_is_lowered() {
    assert_eq!(
        name_of(&Hello::new().server_name(b"One.EXAMPLE").bytes()).unwrap(),
        "one.example"
    );
}

#[test]
fn every_cut_into_two_records_reads_the_same() {
    let message = browser().message();
    let expected = complete(&records(&message, &[message.len()]));
    for cut in 1..message.len() {
        let bytes = records(&message, &[cut, message.len() - cut]);
        let hello = complete(&bytes);
        assert_eq!(
            hello,
            ClientHello {
                length: bytes.len(),
                ..expected.clone()
            },
            "cut at {cut}"
        );
    }
}

#[test]
fn records_of_one_byte_arriving_byte_by_byte() {
    let bytes = records(&browser().message(), &[1]);
    let mut reader = HelloReader::new(DEFAULT_LIMIT);
    for end in 0..bytes.len() {
        assert_eq!(
            reader.advance(&bytes[..end]),
            Ok(Progress::NeedMore),
            "at {end}"
        );
    }
    assert_eq!(
        reader.advance(&bytes),
        Ok(Progress::Complete(complete(&bytes)))
    );
}

#[test]
fn bytes_after_the_last_record_are_left_alone() {
    let mut bytes = browser().bytes();
    let length = bytes.len();
    // Early data: a change_cipher_spec for old middleboxes, then application data.
    bytes.extend([20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 3, 9, 9, 9]);
    assert_eq!(complete(&bytes).length, length);
}

#[test]
fn any_minor_record_version_is_taken() {
    for minor in [0, 1, 2, 3, 4, 255] {
        let mut bytes = browser().bytes();
        bytes[2] = minor;
        complete(&bytes);
    }
}

#[test]
fn other_protocols_are_refused_at_their_first_byte() {
    for first in [b'G', 0x80, 0x00, b'S', 21, 20, 23, 24] {
        let expected = HelloError::RecordType { found: first };
        assert_eq!(read(&[first]), Err(expected));
        assert_eq!(expected.alert(), Alert::UnexpectedMessage);
    }
    assert_eq!(
        read(b"GET / HTTP/1.1\r\n\r\n"),
        Err(HelloError::RecordType { found: b'G' })
    );
}

#[test]
fn a_wrong_record_header_is_refused_at_the_byte_that_is_wrong() {
    for (bytes, expected, alert) in [
        (
            &[22, 2][..],
            HelloError::RecordVersion { major: 2 },
            Alert::ProtocolVersion,
        ),
        (
            &[22, 3, 1, 0, 0],
            HelloError::EmptyRecord,
            Alert::DecodeError,
        ),
        (
            &[22, 3, 1, 0x40, 1],
            HelloError::RecordOverflow { length: 16385 },
            Alert::RecordOverflow,
        ),
        (
            &[22, 3, 1, 0x40, 0, 2],
            HelloError::MessageType { found: 2 },
            Alert::UnexpectedMessage,
        ),
    ] {
        assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(Progress::NeedMore));
        assert_eq!(read(bytes), Err(expected));
        assert_eq!(expected.alert(), alert);
    }
}

#[test]
fn another_record_inside_the_hello_is_refused() {
    let message = browser().message();
    for foreign in [
        [20, 3, 3, 0, 1, 1],
        [21, 3, 3, 0, 2, 2],
        [23, 3, 3, 0, 1, 0],
    ] {
        let mut bytes = records(&message[..100], &[100]);
        bytes.extend(foreign);
        bytes.extend(records(&message[100..], &[message.len()]));
        assert_eq!(
            read(&bytes),
            Err(HelloError::RecordType { found: foreign[0] })
        );
    }
}

#[test]
fn handshake_bytes_after_the_hello_in_its_record_are_refused() {
    let mut content = browser().message();
    content.extend([1, 0, 0]);
    let expected = HelloError::RecordBoundary { length: 3 };
    assert_eq!(read(&records(&content, &[content.len()])), Err(expected));
    assert_eq!(
        read(&records(&content, &[10, content.len()])),
        Err(expected)
    );
    assert_eq!(expected.alert(), Alert::UnexpectedMessage);
    // As soon as the header of the record is there, not when its content is.
    let bytes = records(&content, &[content.len() - 5, 5]);
    assert_eq!(read(&bytes[..bytes.len() - 6]), Ok(Progress::NeedMore));
    assert_eq!(read(&bytes[..bytes.len() - 5]), Err(expected));
}

#[test]
fn a_hello_over_the_limit_is_refused_at_its_header() {
    let header = |length: u32| [&[22, 3, 1, 0, 100, 1][..], &length.to_be_bytes()[1..]].concat();
    let expected = HelloError::MessageTooLong {
        length: 16385,
        limit: 16384,
    };
    assert_eq!(read(&header(16381)), Err(expected));
    assert_eq!(expected.alert(), Alert::IllegalParameter);
    assert_eq!(read(&header(16380)), Ok(Progress::NeedMore));
    assert_eq!(
        read(&header(0x00ff_ffff)),
        Err(HelloError::MessageTooLong {
            length: 0x0100_0003,
            limit: 16384
        })
    );
    let padding = DEFAULT_LIMIT - Hello::new().message().len() - 4;
    let largest = Hello::new().with(PADDING, vec![0; padding]);
    assert_eq!(largest.message().len(), DEFAULT_LIMIT);
    complete(&largest.bytes());
}

#[test]
fn endless_records_end_at_the_longest_hello() {
    let bytes = records(&vec![1; 20_000], &[1]);
    assert!(matches!(
        read(&bytes),
        Err(HelloError::MessageTooLong {
            length: 0x01_0105,
            ..
        })
    ));
    let longest = records(&message(1, &[0; DEFAULT_LIMIT - 4]), &[1]);
    assert_eq!(longest.len(), HelloReader::longest(DEFAULT_LIMIT));
    assert_eq!(read(&longest[..longest.len() - 1]), Ok(Progress::NeedMore));
    assert_eq!(
        read(&longest),
        Err(HelloError::LegacyVersion { version: 0 })
    );
}

#[test]
fn a_call_with_fewer_bytes_than_before_asks_for_more() {
    let bytes = records(&browser().message(), &[100]);
    let mut reader = HelloReader::new(DEFAULT_LIMIT);
    assert_eq!(reader.advance(&bytes[..500]), Ok(Progress::NeedMore));
    assert_eq!(reader.advance(&bytes[..50]), Ok(Progress::NeedMore));
    assert_eq!(
        reader.advance(&bytes),
        Ok(Progress::Complete(complete(&bytes)))
    );
}

#[test]
fn every_truncation_of_the_message_is_a_decode_error() {
    let hello = browser().pre_shared_key();
    let body = hello.body();
    let without_extensions = Hello {
        extensions: None,
        ..hello
    }
    .body()
    .len();
    for length in 0..body.len() {
        let bytes = records(&message(1, &body[..length]), &[1 << 14]);
        // A hello may end where the extension block would begin.
        if length == without_extensions {
            complete(&bytes);
            continue;
        }
        let error = read(&bytes).expect_err("a refusal");
        assert!(
            matches!(error, HelloError::Truncated { .. }),
            "{length}: {error}"
        );
        assert_eq!(error.alert(), Alert::DecodeError);
    }
}

#[test]
fn fields_have_their_ranges() {
    let length = |field, length| HelloError::Length { field, length };
    let decode = Alert::DecodeError;
    let hello = Hello::new();
    refused(
        &Hello {
            session_id: vec![0; 33],
            ..hello.clone()
        },
        length("legacy_session_id", 33),
        decode,
    );
    refused(
        &Hello {
            cipher_suites: vec![],
            ..hello.clone()
        },
        length("cipher_suites", 0),
        decode,
    );
    refused(
        &Hello {
            cipher_suites: vec![0x13, 1, 0x13],
            ..hello.clone()
        },
        length("cipher_suites", 3),
        decode,
    );
    refused(
        &Hello {
            compression: vec![],
            ..hello.clone()
        },
        length("legacy_compression_methods", 0),
        decode,
    );
    refused(
        &Hello {
            compression: vec![1],
            ..hello.clone()
        },
        HelloError::Compression,
        Alert::IllegalParameter,
    );
    refused(
        &Hello {
            version: 0x02ff,
            ..hello.clone()
        },
        HelloError::LegacyVersion { version: 0x02ff },
        Alert::ProtocolVersion,
    );
    refused(
        &Hello {
            trailing: vec![0; 2],
            ..hello.clone()
        },
        HelloError::Trailing {
            field: "client_hello",
            length: 2,
        },
        decode,
    );
    refused(
        &Hello {
            message_type: 2,
            ..hello
        },
        HelloError::MessageType { found: 2 },
        Alert::UnexpectedMessage,
    );
    for version in [0x0300, 0x0301, 0x0303, 0x0304, 0x0400] {
        complete(
            &Hello {
                version,
                ..Hello::new()
            }
            .bytes(),
        );
    }
}

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
        &Hello::new().with(ENCRYPTED_CLIENT_HELLO, []),
        HelloError::Truncated {
            field: "encrypted_client_hello",
        },
        Alert::DecodeError,
    );
}
