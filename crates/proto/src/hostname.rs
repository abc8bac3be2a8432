//! Host names in their one canonical form.
//!
//! The canonical form decides which folder of a hosts directory and which route serves a
//! connection. One name has exactly one form, so two people cannot claim the same name under
//! two spellings, and no form can leave the directory it is looked up in.

use std::borrow::Borrow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The longest host name in bytes: RFC 1035 section 2.3.4 allows 255 on the wire, which is
/// 253 in text without the trailing dot.
pub const MAXIMUM_LENGTH: usize = 253;

/// The longest label in bytes (RFC 1035 section 2.3.4).
pub const MAXIMUM_LABEL_LENGTH: usize = 63;

/// A host name: lower-case ASCII labels of letters, digits and inner hyphens (RFC 5890
/// section 2.3.1), joined by single dots, without a trailing dot. Never an IP address.
///
/// It holds no `/`, no NUL, no `..` and does not begin with `.` or `-`: as a path component it
/// names an entry of the directory that it is looked up in, and as an argument it is no option.
///
/// Underscores are refused although the DNS carries them (`_dmarc.example`): they are no part
/// of a host name (RFC 952, RFC 1123 section 2.1), no certificate authority has been allowed
/// to certify them since 2019, and they stay free for names of our own beside the host names
/// in a hosts directory, such as `_default`, which no client may ask for.
///
/// A-labels (`xn--…`) are taken as they are: whether one decodes to a permitted Unicode label
/// matters when a person writes a name, not when a client names what it was told to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(Box<str>);

impl Hostname {
    /// Parses the bytes of a server name (RFC 6066 section 3). Upper case becomes lower case;
    /// nothing else is repaired.
    ///
    /// # Errors
    ///
    /// [`HostnameError`] says which rule is broken and at which byte, counted from 0.
    pub fn parse(name: &[u8]) -> Result<Self, HostnameError> {
        if name.is_empty() {
            return Err(HostnameError::Empty);
        }
        if name.len() > MAXIMUM_LENGTH {
            return Err(HostnameError::TooLong { length: name.len() });
        }
        let mut offset = 0;
        let mut last_label: &[u8] = &[];
        for label in name.split(|&byte| byte == b'.') {
            check_label(name, label, offset)?;
            offset += label.len() + 1;
            last_label = label;
        }
        if is_number(last_label) {
            return Err(HostnameError::Address);
        }
        let text = name
            .iter()
            .map(|byte| char::from(byte.to_ascii_lowercase()));
        Ok(Self(text.collect::<String>().into_boxed_str()))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its first label, under which a wildcard route `*.parent` stands;
    /// `None` for a name of one label.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }
}

/// Checks one label of `name` that begins at byte `offset`.
fn check_label(name: &[u8], label: &[u8], offset: usize) -> Result<(), HostnameError> {
    if label.is_empty() {
        return Err(if offset == name.len() {
            HostnameError::TrailingDot
        } else {
            HostnameError::EmptyLabel { offset }
        });
    }
    let foreign = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'-';
    if let Some(position) = label.iter().position(foreign) {
        let byte = label[position];
        return Err(if is_ipv6(name) {
            HostnameError::Address
        } else {
            HostnameError::Character {
                byte,
                offset: offset + position,
            }
        });
    }
    if label.len() > MAXIMUM_LABEL_LENGTH {
        return Err(HostnameError::LabelTooLong {
            length: label.len(),
            offset,
        });
    }
    if label.starts_with(b"-") || label.ends_with(b"-") {
        return Err(HostnameError::OuterHyphen { offset });
    }
    Ok(())
}

/// Whether a name that ends in this label is an IPv4 address to somebody: RFC 1123 section 2.1
/// tells addresses from names by their last label, and inet_aton(3) and the URL standard's
/// IPv4 parser also take `127.1`, `2130706433` and `0x7f000001`.
fn is_number(label: &[u8]) -> bool {
    let hexadecimal = match label {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        _ => false,
    };
    hexadecimal || label.iter().all(u8::is_ascii_digit)
}

/// Whether the text is an IPv6 address, with or without the brackets of a URL.
fn is_ipv6(name: &[u8]) -> bool {
    let text = match name {
        [b'[', inner @ .., b']'] => inner,
        _ => name,
    };
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name.as_bytes())
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<str> for Hostname {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Lets a map with [`Hostname`] keys be asked with a `&str`; `Hash`, `Eq` and `Ord` agree.
impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Why a text is no canonical host name. Offsets are in bytes from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// There is no byte.
    #[error("the host name is empty")]
    Empty,
    /// Longer than [`MAXIMUM_LENGTH`].
    #[error("the host name has {length} bytes; at most 253 are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A label longer than [`MAXIMUM_LABEL_LENGTH`].
    #[error("the label at byte {offset} has {length} bytes; at most 63 are allowed")]
    LabelTooLong {
        /// The label's length in bytes.
        length: usize,
        /// Where the label begins.
        offset: usize,
    },
    /// The name begins with a dot or holds two in a row.
    #[error("the label at byte {offset} is empty")]
    EmptyLabel {
        /// Where the label would begin.
        offset: usize,
    },
    /// The name ends with a dot.
    #[error("the host name ends with a dot")]
    TrailingDot,
    /// Neither a letter, a digit, a hyphen nor a dot.
    #[error("the byte {byte:#04x} at {offset} is no letter, digit, hyphen or dot")]
    Character {
        /// The byte.
        byte: u8,
        /// Where it stands.
        offset: usize,
    },
    /// A label begins or ends with a hyphen.
    #[error("the label at byte {offset} begins or ends with a hyphen")]
    OuterHyphen {
        /// Where the label begins.
        offset: usize,
    },
    /// An IPv4 or IPv6 address; RFC 6066 section 3 permits none as a server name.
    #[error("the text is an IP address, not a host name")]
    Address,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Hostname, HostnameError};

    fn error(name: &[u8]) -> HostnameError {
        Hostname::parse(name).expect_err("a refusal")
    }

    #[test]
    fn takes_canonical_names_as_they_are() {
        for name in [
            "example.org",
            "localhost",
            "xn--sr8hvo.ws",
            "r3---sn-4g5e.example",
            "3com.example",
            "a.1.example",
            "0x.example",
        ] {
            assert_eq!(
                Hostname::parse(name.as_bytes()).map(|n| n.to_string()),
                Ok(name.to_owned())
            );
        }
    }

    #[test]
    fn lowers_upper_case() {
        assert_eq!(
            Hostname::parse(b"WwW.EXAMPLE.org").unwrap().as_str(),
            "www.example.org"
        );
    }

    #[test]
    fn bounds_names_and_labels() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(Hostname::parse(longest.as_bytes()).is_ok());
        for length in [254, 255, 256, 70_000] {
            let name = "a.".repeat(length)[..length].to_owned();
            assert_eq!(error(name.as_bytes()), HostnameError::TooLong { length });
        }
        let long_label = format!("x.{}.org", "a".repeat(64));
        assert_eq!(
            error(long_label.as_bytes()),
            HostnameError::LabelTooLong {
                length: 64,
                offset: 2
            }
        );
    }

    #[test]
    fn refuses_whatever_could_leave_a_directory() {
        assert_eq!(error(b""), HostnameError::Empty);
        assert_eq!(error(b"."), HostnameError::EmptyLabel { offset: 0 });
        assert_eq!(error(b".."), HostnameError::EmptyLabel { offset: 0 });
        assert_eq!(error(b".hidden"), HostnameError::EmptyLabel { offset: 0 });
        assert_eq!(error(b"a..b"), HostnameError::EmptyLabel { offset: 2 });
        assert_eq!(error(b"example.org."), HostnameError::TrailingDot);
        assert_eq!(
            error(b"a/../b"),
            HostnameError::Character {
                byte: b'/',
                offset: 1
            }
        );
        assert_eq!(error(b"../etc"), HostnameError::EmptyLabel { offset: 0 });
        assert_eq!(
            error(b"a\0b"),
            HostnameError::Character { byte: 0, offset: 1 }
        );
        assert_eq!(
            error(b"a b"),
            HostnameError::Character {
                byte: b' ',
                offset: 1
            }
        );
        assert_eq!(
            error(b"*.example.org"),
            HostnameError::Character {
                byte: b'*',
                offset: 0
            }
        );
        assert_eq!(
            error(b"_default"),
            HostnameError::Character {
                byte: b'_',
                offset: 0
            }
        );
        assert_eq!(
            error("bücher.example".as_bytes()),
            HostnameError::Character {
                byte: 0xc3,
                offset: 1
            }
        );
    }

    #[test]
    fn refuses_outer_hyphens() {
        assert_eq!(error(b"-rf"), HostnameError::OuterHyphen { offset: 0 });
        assert_eq!(error(b"a.-b.org"), HostnameError::OuterHyphen { offset: 2 });
        assert_eq!(error(b"a.b-.org"), HostnameError::OuterHyphen { offset: 2 });
    }

    #[test]
    fn refuses_addresses() {
        for name in [
            "192.0.2.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "a.0X7F",
            "0x",
            "::1",
            "2001:db8::1",
            "[2001:db8::1]",
            "::ffff:192.0.2.1",
        ] {
            assert_eq!(error(name.as_bytes()), HostnameError::Address, "{name}");
        }
        assert_eq!(
            error(b"example.org:443"),
            HostnameError::Character {
                byte: b':',
                offset: 11
            }
        );
    }

    #[test]
    fn parent_is_what_follows_the_first_label() {
        assert_eq!(
            Hostname::parse(b"a.b.example").unwrap().parent(),
            Some("b.example")
        );
        assert_eq!(Hostname::parse(b"localhost").unwrap().parent(), None);
    }

    #[test]
    fn a_map_is_asked_with_text() {
        let map = HashMap::from([(Hostname::parse(b"A.example").unwrap(), 1)]);
        assert_eq!(map.get("a.example"), Some(&1));
    }
}
