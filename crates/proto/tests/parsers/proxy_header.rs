//! PROXY headers by example and round trip.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cloister_proto::progress::Progress;
use cloister_proto::proxy_header::{
    Addresses, Header, HeaderError, MAXIMUM_LENGTH_V1, Origin, ValueTooLong, Values, parse,
    write_v1, write_v2,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::properties;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn addresses(client: &str, server: &str) -> Origin {
    let parsed = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Origin::Proxied(Addresses {
        client: parsed(client),
        server: parsed(server),
    })
}

fn line(origin: &Origin) -> String {
    let mut out = Vec::new();
    write_v1(&mut out, origin);
    String::from_utf8(out).expect("ASCII")
}

fn binary(origin: &Origin, values: &Values<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_v2(&mut out, origin, values).expect("short values");
    out
}

fn complete(bytes: &[u8]) -> Header<'_> {
    match parse(bytes) {
        Ok(Progress::Complete(header)) => header,
        other => panic!("{other:?}"),
    }
}

/// Version 2 with these bytes after the signature.
fn v2(rest: &[u8]) -> Vec<u8> {
    [SIGNATURE, rest].concat()
}

#[test]
fn version_1_is_the_specification_s_line() {
    let origin = addresses("192.168.0.1:56324", "192.168.0.11:443");
    assert_eq!(
        line(&origin),
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    );
    let origin = addresses("[2001:db8::1]:1", "[2001:db8::2]:65535");
    assert_eq!(
        line(&origin),
        "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"
    );
    assert_eq!(line(&Origin::Unknown), "PROXY UNKNOWN\r\n");
    assert_eq!(line(&Origin::Local), "PROXY UNKNOWN\r\n");
}

#[test]
fn mapped_addresses_are_unmapped_and_mixed_ones_mapped() {
    let dual = addresses("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2");
    assert_eq!(line(&dual), "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    let mixed = addresses("192.0.2.1:1", "[2001:db8::2]:2");
    assert_eq!(
        line(&mixed),
        "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"
    );
    assert_eq!(binary(&dual, &Values::default())[13], 0x11);
    assert_eq!(binary(&mixed, &Values::default())[13], 0x21);
}

#[test]
fn the_longest_line_fits() {
    let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    let text = line(&addresses(longest, longest));
    assert_eq!(text.len(), 104, "the specification's own sum");
    assert!(text.len() <= MAXIMUM_LENGTH_V1);
}

#[test]
fn version_2_is_the_specification_s_bytes() {
    let origin = addresses("192.0.2.1:4660", "192.0.2.2:443");
    let values = Values {
        alpn: Some(b"h2"),
        authority: Some("a.example"),
        unique_id: Some(&[7]),
    };
    let expected = v2(&[
        &[0x21, 0x11, 0, 12 + 5 + 12 + 4][..],
        &[192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 1, 0xbb],
        &[1, 0, 2, b'h', b'2'],
        b"\x02\0\x09a.example",
        &[5, 0, 1, 7],
    ]
    .concat());
    assert_eq!(binary(&origin, &values), expected);
    let header = complete(&expected);
    assert_eq!(
        (header.origin, header.values, header.length),
        (origin, values, expected.len())
    );
}

#[test]
fn local_and_unknown_carry_no_address() {
    let values = Values {
        authority: Some("a.example"),
        ..Values::default()
    };
    assert_eq!(binary(&Origin::Local, &values), v2(&[0x20, 0, 0, 0]));
    let unknown = binary(&Origin::Unknown, &values);
    assert_eq!(unknown[..16], v2(&[0x21, 0, 0, 12]));
    let header = complete(&unknown);
    assert_eq!((header.origin, header.values), (Origin::Unknown, values));
}

#[test]
fn writers_append() {
    let mut out = b"before".to_vec();
    write_v2(
        &mut out,
        &addresses("[::1]:1", "[::2]:2"),
        &Values::default(),
    )
    .expect("no values");
    assert_eq!(complete(&out[6..]).length, out.len() - 6);
    write_v1(&mut out, &Origin::Unknown);
    assert!(out.starts_with(b"before\r\n\r\n\0"));
    assert!(out.ends_with(b"PROXY UNKNOWN\r\n"));
}

#[test]
fn values_that_are_too_long_write_nothing() {
    let long = [b'x'; 256];
    for (values, kind, limit) in [
        (
            Values {
                alpn: Some(&long),
                ..Values::default()
            },
            1,
            255,
        ),
        (
            Values {
                authority: std::str::from_utf8(&long).ok(),
                ..Values::default()
            },
            2,
            255,
        ),
        (
            Values {
                unique_id: Some(&long[..129]),
                ..Values::default()
            },
            5,
            128,
        ),
    ] {
        let mut out = Vec::new();
        let length = if limit == 128 { 129 } else { 256 };
        let expected = ValueTooLong {
            kind,
            length,
            limit,
        };
        assert_eq!(write_v2(&mut out, &Origin::Unknown, &values), Err(expected));
        assert!(out.is_empty());
    }
}

#[test]
fn version_1_leaves_the_rest_alone() {
    let header = complete(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /");
    assert_eq!(header.origin, addresses("192.0.2.1:1", "192.0.2.2:2"));
    assert_eq!(header.length, 36);
    assert_eq!(
        complete(b"PROXY UNKNOWN ffff::1 whatever\r\n").origin,
        Origin::Unknown
    );
}

#[test]
fn version_1_errors_are_precise() {
    for (text, expected) in [
        (
            &b"X"[..],
            HeaderError::Signature {
                found: b'X',
                offset: 0,
            },
        ),
        (
            b"PROXX",
            HeaderError::Signature {
                found: b'X',
                offset: 4,
            },
        ),
        (
            b"PROXY\r\n",
            HeaderError::Signature {
                found: b'\r',
                offset: 5,
            },
        ),
        (b"PROXY \r\n", HeaderError::Protocol),
        (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", HeaderError::Protocol),
        (b"PROXY UNKNOWNS\r\n", HeaderError::Protocol),
        (b"PROXY TCP4\r\n", HeaderError::Fields),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", HeaderError::Fields),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", HeaderError::Fields),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", HeaderError::Fields),
        (
            b"PROXY TCP4  1.2.3.4 1.2.3.4 1\r\n",
            HeaderError::Address { end: "client" },
        ),
        (
            b"PROXY TCP4 ::1 1.2.3.4 1 2\r\n",
            HeaderError::Address { end: "client" },
        ),
        (
            b"PROXY TCP4 1.2.3.4 01.2.3.4 1 2\r\n",
            HeaderError::Address { end: "server" },
        ),
        (
            b"PROXY TCP6 ::1 1.2.3.4 1 2\r\n",
            HeaderError::Address { end: "server" },
        ),
        (
            b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
            HeaderError::Port { end: "client" },
        ),
        (
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            HeaderError::Port { end: "client" },
        ),
        (
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 000002\r\n",
            HeaderError::Port { end: "server" },
        ),
        (
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n",
            HeaderError::Port { end: "server" },
        ),
    ] {
        assert_eq!(
            parse(text),
            Err(expected),
            "{}",
            String::from_utf8_lossy(text)
        );
        properties::proxy_header(text);
    }
}

#[test]
fn version_1_ends_within_107_bytes() {
    let line = |length: usize| [b"PROXY UNKNOWN ", &vec![b'x'; length - 16][..], b"\r\n"].concat();
    assert_eq!(complete(&line(107)).length, 107);
    assert_eq!(parse(&line(107)[..106]), Ok(Progress::NeedMore));
    assert_eq!(parse(&line(108)[..106]), Ok(Progress::NeedMore));
    assert_eq!(parse(&line(108)[..107]), Err(HeaderError::LineTooLong));
    assert_eq!(parse(&line(108)), Err(HeaderError::LineTooLong));
}

#[test]
fn version_2_errors_are_precise() {
    let with = |values: &[u8]| {
        let length = u8::try_from(12 + values.len()).expect("short");
        v2(&[&[0x21, 0x11, 0, length][..], &[1; 12], values].concat())
    };
    for (bytes, expected) in [
        (
            b"\r\n\r\n\0\r\nQUIX".to_vec(),
            HeaderError::Signature {
                found: b'X',
                offset: 10,
            },
        ),
        (v2(&[0x11]), HeaderError::Version { found: 1 }),
        (v2(&[0x22]), HeaderError::Command { found: 2 }),
        (v2(&[0x21, 0x13]), HeaderError::Transport { found: 0x13 }),
        (v2(&[0x21, 0x41]), HeaderError::Transport { found: 0x41 }),
        (
            v2(&[0x21, 0x11, 0, 11]),
            HeaderError::TooShort {
                length: 11,
                needed: 12,
            },
        ),
        (
            v2(&[0x21, 0x22, 0, 35]),
            HeaderError::TooShort {
                length: 35,
                needed: 36,
            },
        ),
        (
            v2(&[0x21, 0x31, 0, 215]),
            HeaderError::TooShort {
                length: 215,
                needed: 216,
            },
        ),
        (
            v2(&[0x21, 0x11, 0x3f, 0xf1]),
            HeaderError::TooLong { length: 16385 },
        ),
        (
            v2(&[0x20, 0, 0xff, 0xff]),
            HeaderError::TooLong { length: 65551 },
        ),
        (with(&[4]), HeaderError::ValueTruncated { offset: 28 }),
        (
            with(&[4, 0, 0, 4, 0, 1]),
            HeaderError::ValueTruncated { offset: 31 },
        ),
        (
            with(&[1, 0, 0, 1, 0, 0]),
            HeaderError::DuplicateValue { kind: 1 },
        ),
        (with(&[2, 0, 1, 0xff]), HeaderError::Authority),
        (
            with(&[&[5, 0, 129][..], &[0; 129]].concat()),
            HeaderError::Value(ValueTooLong {
                kind: 5,
                length: 129,
                limit: 128,
            }),
        ),
    ] {
        assert_eq!(parse(&bytes), Err(expected), "{bytes:x?}");
        assert_eq!(
            parse(&bytes[..bytes.len() - 1]),
            Ok(Progress::NeedMore),
            "{bytes:x?}"
        );
        properties::proxy_header(&bytes);
    }
}

#[test]
fn version_2_passes_over_what_it_need_not_know() {
    let unix = v2(&[&[0x21, 0x31, 0, 219][..], &[b'/'; 216], &[2, 0, 0]].concat());
    let header = complete(&unix);
    assert_eq!(
        (header.origin, header.values.authority),
        (Origin::Unix, Some(""))
    );
    let local = v2(&[0x20, 0x99, 0, 3, 0xff, 0xff, 0xff]);
    let header = complete(&local);
    assert_eq!((header.origin, header.length), (Origin::Local, 19));
    let unknown_kinds = v2(&[0x21, 0x00, 0, 8, 4, 0, 0, 0xee, 0, 2, 1, 1]);
    assert_eq!(complete(&unknown_kinds).values, Values::default());
    let datagram = v2(&[
        &[0x21, 0x12, 0, 12][..],
        &[192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2],
    ]
    .concat());
    assert_eq!(
        complete(&datagram).origin,
        addresses("192.0.2.1:1", "192.0.2.2:2")
    );
}

#[test]
fn a_unix_origin_stays_one_in_version_2() {
    let bytes = binary(&Origin::Unix, &Values::default());
    assert_eq!(bytes.len(), 16 + 216);
    assert_eq!(complete(&bytes).origin, Origin::Unix);
    assert_eq!(line(&Origin::Unix), "PROXY UNKNOWN\r\n");
    properties::proxy_header(&bytes);
}

#[test]
fn a_checksum_is_verified_where_one_stands() {
    // The sum over these bytes, computed by an implementation that is not ours.
    let fixed = [0x21, 0x11, 0, 24, 192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2];
    let checked = [3, 0, 4, 0xca, 0x5c, 0x80, 0x35, 2, 0, 2, b'a', b'b'];
    let right = v2(&[&fixed[..], &checked].concat());
    let header = complete(&right);
    assert_eq!(header.origin, addresses("192.0.2.1:1", "192.0.2.2:2"));
    assert_eq!(header.values.authority, Some("ab"));
    properties::proxy_header(&right);
    for place in 16..right.len() {
        let mut wrong = right.clone();
        wrong[place] ^= 1;
        assert!(parse(&wrong).is_err(), "byte {place} changed unnoticed");
        properties::proxy_header(&wrong);
    }
    let short = v2(&[0x21, 0, 0, 6, 3, 0, 3, 0, 0, 0]);
    assert_eq!(
        parse(&short),
        Err(HeaderError::ChecksumLength { length: 3 })
    );
}

fn socket_address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| IpAddr::from(Ipv4Addr::from(octets))),
        any::<[u8; 16]>().prop_map(|octets| IpAddr::from(Ipv6Addr::from(octets))),
        any::<[u8; 4]>().prop_map(|octets| IpAddr::from(Ipv4Addr::from(octets).to_ipv6_mapped())),
    ];
    (ip, any::<u16>()).prop_map(SocketAddr::from)
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        1 => Just(Origin::Local),
        1 => Just(Origin::Unknown),
        1 => Just(Origin::Unix),
        6 => (socket_address(), socket_address())
            .prop_map(|(client, server)| Origin::Proxied(Addresses { client, server })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(
        origin in origin(),
        alpn in proptest::option::of(vec(any::<u8>(), 0..=255)),
        authority in proptest::option::of("[a-zü.]{0,60}"),
        unique_id in proptest::option::of(vec(any::<u8>(), 0..=128)),
        after in vec(any::<u8>(), 0..20),
    ) {
        let values = Values {
            alpn: alpn.as_deref(),
            authority: authority.as_deref(),
            unique_id: unique_id.as_deref(),
        };
        let mut bytes = binary(&origin, &values);
        let length = bytes.len();
        bytes.extend(after);
        properties::proxy_header(&bytes);
        let header = complete(&bytes);
        prop_assert_eq!(header.length, length);
        if origin == Origin::Local {
            prop_assert_eq!(header.values, Values::default());
        } else {
            prop_assert_eq!(header.values, values);
        }
        properties::proxy_header(line(&origin).as_bytes());
    }

    #[test]
    fn changed_headers_are_read_the_same_byte_by_byte(
        origin in origin(),
        text in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let values = Values { authority: Some("a.example"), ..Values::default() };
        let mut bytes = if text { line(&origin).into_bytes() } else { binary(&origin, &values) };
        *at.get_mut(&mut bytes) = byte;
        properties::proxy_header(&bytes);
    }
}
