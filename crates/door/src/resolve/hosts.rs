//! The hosts file (hosts(5)), and the names that no server is asked for (RFC 6761).

use std::io::{self, BufRead, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ADDRESSES;

/// What is read of the file at most; lists of blocked names have some megabytes.
const LONGEST: u64 = 64 << 20;

/// What is read of one line at most.
const LONGEST_LINE: u64 = 8 << 10;

/// The addresses of a name in the file, in its order and without doubles. `name` may have a
/// trailing dot and any case. The file is not kept: it is read again for each question, as the
/// C library does.
///
/// # Errors
///
/// Those of reading.
pub fn find(file: impl Read, name: &str) -> io::Result<Vec<IpAddr>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut reader = io::BufReader::new(file.take(LONGEST));
    let mut found = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(found);
        }
        if let Some(address) = address_of(&line, name)
            && found.len() < ADDRESSES
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
}

/// The address of a line that has this name.
fn address_of(line: &[u8], name: &str) -> Option<IpAddr> {
    let line = line.split(|byte| *byte == b'#').next()?;
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let address = words.next()?;
    let mut names = words.map(|word| word.strip_suffix(b".").unwrap_or(word));
    if !names.any(|word| word.eq_ignore_ascii_case(name.as_bytes())) {
        return None;
    }
    std::str::from_utf8(address).ok()?.parse().ok()
}

/// `localhost` and all names below it are this machine (RFC 6761 section 6.3), whatever a
/// search domain or a server makes of them.
#[must_use]
pub fn localhost(name: &str) -> Option<[IpAddr; 2]> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    let both = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
    last.eq_ignore_ascii_case("localhost").then_some(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"# comment\n127.0.0.1 localhost\n\n10.0.0.1\tdb.example Db # spare\n\
        ::5 db.example\nnonsense db.example\n10.0.0.1 db.example\n10.0.0.2 other #db.example";

    fn addresses(name: &str) -> Vec<String> {
        let found = find(FILE, name).expect("a slice is read").into_iter();
        found.map(|address| address.to_string()).collect()
    }

    #[test]
    fn names_and_aliases_in_any_case() {
        assert_eq!(addresses("db.example"), ["10.0.0.1", "::5"]);
        assert_eq!(addresses("DB.example."), ["10.0.0.1", "::5"]);
        assert_eq!(addresses("db"), ["10.0.0.1"]);
        assert_eq!(addresses("spare"), [""; 0]);
        assert_eq!(addresses("example"), [""; 0]);
        assert_eq!(addresses("10.0.0.1"), [""; 0]);
    }

    #[test]
    fn a_hostile_file_is_bounded() {
        let many: String = (0..70_000)
            .map(|i| format!("10.{}.{}.1 n\n", i / 256, i % 256))
            .collect();
        assert_eq!(find(many.as_bytes(), "n").expect("read").len(), ADDRESSES);
        let long = format!("10.0.0.1 {} n", "x ".repeat(20_000));
        assert!(find(long.as_bytes(), "n").expect("read").is_empty());
    }

    #[test]
    fn localhost_is_this_machine() {
        assert!(localhost("localhost").is_some() && localhost("a.LocalHost.").is_some());
        assert!(localhost("localhost.example").is_none() && localhost("notlocalhost").is_none());
    }
}
