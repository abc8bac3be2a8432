//! Names for a root that has its own /etc/hosts: a private file with both covers it.

use std::os::fd::OwnedFd;

use cloister_proto::messages::cell::{HostName, Hosts};
use rustix::fs::{FileType, Mode, fstat};
use rustix::io::Errno;

use crate::failure::{AtPath, Problem};
use crate::mounts;
use crate::root::Root;

/// Where names are looked up (hosts(5)), by every C library.
pub const PATH: &str = "/etc/hosts";
/// The most that is read of a file, in bytes.
pub const LIMIT: usize = 1024 * 1024;

/// Covers /etc/hosts of the root by a file that has the names too. It is looked for inside the
/// root, and made in memory where it is missing.
///
/// # Errors
///
/// `EACCES` where not everybody may read it: a link must not lead the application to what its
/// user may not read. `EFBIG` where it is too long, `EISDIR` where it is no file; else those of
/// `mounts::cover_file`.
pub fn cover(root: &mut Root, hosts: &Hosts) -> Result<(), Problem> {
    let content = match root.read(PATH) {
        Ok(file) => merged(&hosts.names, &read(&file).at(PATH)?),
        Err(Errno::NOENT) => merged(&hosts.names, hosts.otherwise.as_bytes()),
        Err(error) => return Err(Problem::from(error).at(PATH)),
    };
    mounts::cover_file(root, PATH, &content)
}

fn read(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let found = fstat(file)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Errno::ISDIR);
    }
    if !Mode::from_raw_mode(found.st_mode).contains(Mode::ROTH) {
        return Err(Errno::ACCESS);
    }
    let mut content = vec![0; LIMIT + 1];
    let mut length = 0;
    while length <= LIMIT {
        match rustix::io::read(file, &mut content[length..])? {
            0 => {
                content.truncate(length);
                return Ok(content);
            }
            count => length += count,
        }
    }
    Err(Errno::FBIG)
}

/// The names, then the text without what it says of them: whoever takes the first line, and
/// whoever takes all, finds the same.
#[must_use]
pub fn merged(names: &[HostName], text: &[u8]) -> Vec<u8> {
    let mut merged = Vec::with_capacity(text.len() + 64 * names.len());
    for one in names {
        merged.extend_from_slice(format!("{} {}\n", one.address, one.name).as_bytes());
    }
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        append(names, line, &mut merged);
    }
    if merged.last().is_some_and(|&byte| byte != b'\n') {
        merged.push(b'\n');
    }
    merged
}

fn append(names: &[HostName], line: &[u8], merged: &mut Vec<u8>) {
    let said = line.split(|&byte| byte == b'#').next().unwrap_or_default();
    let mut words = said
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let address = words.next().unwrap_or_default();
    let (ours, others): (Vec<_>, Vec<_>) = words.partition(|word| is_one_of(names, word));
    if ours.is_empty() {
        merged.extend_from_slice(line);
    } else if !others.is_empty() {
        merged.extend_from_slice(address);
        for other in others {
            merged.push(b' ');
            merged.extend_from_slice(other);
        }
        merged.push(b'\n');
    }
}

fn is_one_of(names: &[HostName], word: &[u8]) -> bool {
    let word = word.strip_suffix(b".").unwrap_or(word);
    names
        .iter()
        .any(|one| one.name.as_bytes().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<HostName> {
        all.iter()
            .map(|name| HostName {
                address: [127, 0, 1, 1].into(),
                name: (*name).into(),
            })
            .collect()
    }

    fn text(all: &[&str], before: &str) -> String {
        String::from_utf8(merged(&names(all), before.as_bytes())).expect("text")
    }

    #[test]
    fn names_come_first_and_the_rest_stays_as_it_is() {
        let before = "# of the image\n127.0.0.1\tlocalhost  here # here\n\n::1 localhost\n";
        assert_eq!(text(&["db"], before), format!("127.0.1.1 db\n{before}"));
        assert_eq!(text(&["db"], ""), "127.0.1.1 db\n");
        assert_eq!(text(&["db"], "::1 a"), "127.0.1.1 db\n::1 a\n");
    }

    #[test]
    fn what_was_said_of_the_same_names_goes() {
        let before = "10.0.0.1 db\n10.0.0.2 a DB. b # db\n 10.0.0.3\tdb\r\n# db\n10.0.0.4 dbs\n";
        assert_eq!(
            text(&["db"], before),
            "127.0.1.1 db\n10.0.0.2 a b\n# db\n10.0.0.4 dbs\n"
        );
    }

    #[test]
    fn any_bytes_have_an_answer() {
        for before in [
            &b"\0\xff db\n"[..],
            b"db",
            b"\n\n#",
            b"db db db",
            b"1 db\xff",
        ] {
            let found = merged(&names(&["db"]), before);
            assert!(found.starts_with(b"127.0.1.1 db\n"));
            assert!(found.ends_with(b"\n"));
        }
    }
}
