//! Protocol identifiers (RFC 7301) as names of files.

/// The longest name of a file on Linux, in bytes (`NAME_MAX`, limits.h).
const LONGEST_FILE_NAME: usize = 255;

/// What RFC 9110 section 5.6.2 allows in a token, beside letters and digits, without the
/// per cent sign.
const TOKEN_MARKS: &[u8] = b"!#$&'*+-.^_`|~";

/// The one identifier that decides where a connection goes: the client's first, which is the
/// one that it prefers (RFC 7301 section 3.1). Reserved identifiers that stand for nothing
/// (RFC 8701) are passed over.
#[must_use]
pub fn preferred(offered: &[Vec<u8>]) -> Option<&[u8]> {
    let mut offered = offered.iter().map(Vec::as_slice);
    offered.find(|identifier| !is_reserved(identifier))
}

/// Whether an identifier is one of the sixteen that RFC 8701 section 2 reserves.
fn is_reserved(identifier: &[u8]) -> bool {
    matches!(identifier, [first, second] if first == second && first & 0x0f == 0x0a)
}

/// An identifier as the name of one file: in the form of RFC 7639 section 2.1, where `/` is
/// `%2F`, with a leading dot as `%2E`, so that none is `.` or `..` or hidden. Two identifiers
/// never have the same name. `None` where no file can have that name.
#[must_use]
pub fn file_name(identifier: &[u8]) -> Option<String> {
    let mut name = String::with_capacity(identifier.len());
    for (index, &byte) in identifier.iter().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || TOKEN_MARKS.contains(&byte);
        if plain && (index, byte) != (0, b'.') {
            name.push(char::from(byte));
        } else {
            name.push('%');
            name.extend([byte >> 4, byte & 0x0f].map(hexadecimal));
        }
    }
    (!name.is_empty() && name.len() <= LONGEST_FILE_NAME).then_some(name)
}

fn hexadecimal(digit: u8) -> char {
    char::from_digit(digit.into(), 16)
        .unwrap_or('0')
        .to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(identifier: &[u8]) -> Option<String> {
        file_name(identifier)
    }

    #[test]
    fn what_is_no_token_is_written_in_hexadecimal() {
        for (identifier, expected) in [
            (b"h2".as_slice(), "h2"),
            (b"acme-tls/1", "acme-tls%2F1"),
            (b"http/1.1", "http%2F1.1"),
            // The examples of RFC 7639 section 2.1.
            (b"w=x:y#z", "w%3Dx%3Ay#z"),
            (b"x%y", "x%25y"),
            (b".", "%2E"),
            (b"..", "%2E."),
            (b"../../etc", "%2E.%2F..%2Fetc"),
            (b"a\0b", "a%00b"),
            (b"\xff\x0a", "%FF%0A"),
        ] {
            assert_eq!(name(identifier).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_can_be_no_file_has_no_name() {
        assert_eq!(name(b""), None);
        assert_eq!(name(&[b'a'; 255]), Some("a".repeat(255)));
        assert_eq!(name(&[b'/'; 255]), None);
        assert_eq!(name(&[0; 86]), None);
        assert!(name(&[0; 85]).is_some());
    }

    #[test]
    fn the_first_identifier_that_means_something_decides() {
        let offer = |identifiers: &[&[u8]]| -> Vec<Vec<u8>> {
            identifiers.iter().map(|each| each.to_vec()).collect()
        };
        assert_eq!(preferred(&offer(&[])), None);
        assert_eq!(preferred(&offer(&[b"h2", b"http/1.1"])), Some(&b"h2"[..]));
        let reserved = offer(&[b"\x0a\x0a", b"\xfa\xfa", b"h2"]);
        assert_eq!(preferred(&reserved), Some(&b"h2"[..]));
        assert_eq!(preferred(&offer(&[b"\x0a\x1a"])), Some(&b"\x0a\x1a"[..]));
    }
}
