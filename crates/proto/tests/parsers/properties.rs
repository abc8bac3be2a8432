//! What holds for every byte string. The fuzzing targets and the tests share this file.

use cloister_proto::client_hello::{ClientHello, DEFAULT_LIMIT, HelloError, HelloReader, Progress};
use cloister_proto::proxy_header::{self, MAXIMUM_LENGTH_V1, MAXIMUM_LENGTH_V2, Origin};

/// Feeds prefixes that end at `ends` and then everything; the first decision counts.
pub fn outcome(
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
    limit: usize,
) -> Result<Progress, HelloError> {
    let mut reader = HelloReader::new(limit);
    for end in ends.into_iter().chain([bytes.len()]) {
        let prefix = &bytes[..end.min(bytes.len())];
        let answer = reader.advance(prefix);
        if answer != Ok(Progress::NeedMore) {
            assert_eq!(reader.advance(prefix), answer, "a decision is repeated");
            assert_eq!(
                reader.advance(bytes),
                answer,
                "further bytes change no decision"
            );
            return answer;
        }
    }
    Ok(Progress::NeedMore)
}

/// The outcome is the same however the bytes arrive, and what is right stays right in other
/// records.
pub fn client_hello(bytes: &[u8]) {
    for limit in [DEFAULT_LIMIT, 300] {
        let whole = outcome(bytes, [], limit);
        for step in [1, 2, 3, 7, 64] {
            let ends = (1..=bytes.len()).step_by(step);
            assert_eq!(
                outcome(bytes, ends, limit),
                whole,
                "in steps of {step}, limit {limit}"
            );
        }
        match whole {
            Ok(Progress::Complete(hello)) => complete_hello(bytes, &hello, limit),
            Ok(Progress::NeedMore) => assert!(
                bytes.len() < HelloReader::longest(limit),
                "{} bytes and no decision",
                bytes.len()
            ),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn complete_hello(bytes: &[u8], hello: &ClientHello, limit: usize) {
    assert!(hello.length <= bytes.len() && hello.length <= HelloReader::longest(limit));
    let before = outcome(&bytes[..hello.length - 1], [], limit);
    assert_eq!(
        before,
        Ok(Progress::NeedMore),
        "the length is where the hello ends"
    );
    let content = handshake_content(&bytes[..hello.length]);
    for size in [1, 2, 5, 100, 1 << 14] {
        let other: Vec<u8> = content.chunks(size).flat_map(record).collect();
        let expected = ClientHello {
            length: other.len(),
            ..hello.clone()
        };
        assert_eq!(outcome(&other, [], limit), Ok(Progress::Complete(expected)));
    }
}

/// The contents of whole records.
fn handshake_content(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = bytes {
        let (record, after) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        content.extend_from_slice(record);
        bytes = after;
    }
    content
}

fn record(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len())
        .expect("at most 2^14 bytes")
        .to_be_bytes();
    [&[22, 3, 3], &length[..], content].concat()
}

/// The outcome is certain at one byte and stays, and what was read can be written and read
/// again.
pub fn proxy_header(bytes: &[u8]) {
    use cloister_proto::progress::Progress;

    let whole = proxy_header::parse(bytes);
    let mut decided = None;
    for end in 0..=bytes.len().min(MAXIMUM_LENGTH_V2) {
        let answer = proxy_header::parse(&bytes[..end]);
        if answer != Ok(Progress::NeedMore) {
            decided = Some(end);
            assert_eq!(answer, whole, "decided at byte {end}");
            break;
        }
    }
    let Ok(Progress::Complete(header)) = whole else {
        assert_eq!(
            decided.is_none(),
            whole.is_ok(),
            "an error is found byte by byte too"
        );
        return;
    };
    assert_eq!(
        decided,
        Some(header.length),
        "the length is where the header ends"
    );
    let mut written = Vec::new();
    proxy_header::write_v1(&mut written, &header.origin);
    assert!(written.len() <= MAXIMUM_LENGTH_V1);
    same_origin(&written, &header.origin);
    written.clear();
    proxy_header::write_v2(&mut written, &header.origin, &header.values)
        .expect("what was read is short enough");
    same_origin(&written, &header.origin);
    if let Ok(Progress::Complete(again)) = proxy_header::parse(&written) {
        assert_eq!(again.values, header.values);
    }
}

fn same_origin(written: &[u8], origin: &Origin) {
    use cloister_proto::progress::Progress;

    let again = match proxy_header::parse(written) {
        Ok(Progress::Complete(header)) => header,
        other => panic!("{other:?} for {written:x?}"),
    };
    assert_eq!(again.length, written.len());
    match (origin, again.origin) {
        (Origin::Proxied(expected), Origin::Proxied(found)) => {
            for (expected, found) in [
                (expected.client, found.client),
                (expected.server, found.server),
            ] {
                assert_eq!(expected.ip().to_canonical(), found.ip().to_canonical());
                assert_eq!(expected.port(), found.port());
            }
        }
        // Version 1 has one word for both.
        (
            Origin::Local | Origin::Unknown | Origin::Unix,
            Origin::Local | Origin::Unknown | Origin::Unix,
        ) => {}
        (expected, found) => panic!("{expected:?} became {found:?}"),
    }
}
