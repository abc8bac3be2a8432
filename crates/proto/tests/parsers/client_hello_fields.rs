//! The fields of a ClientHello by example: one error each.

use cloister_proto::alert::Alert;
use cloister_proto::client_hello::HelloError;

use crate::builder::{Hello, browser, message, records};
use crate::reading::{complete, read, refused};

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
