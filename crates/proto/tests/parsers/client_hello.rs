//! The ClientHello reader by example: records, bounds, and what a hello says.

use cloister_proto::alert::Alert;
use cloister_proto::client_hello::{ClientHello, DEFAULT_LIMIT, HelloError, HelloReader, Progress};

use crate::builder::{Hello, PADDING, browser, message, records};
use crate::reading::{complete, name_of, read};

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
    let one = [browser().message(), vec![0]].concat();
    let expected = HelloError::RecordBoundary { length: 1 };
    assert_eq!(read(&records(&one, &[one.len()])), Err(expected));
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
