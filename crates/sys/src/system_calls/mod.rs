//! The names and numbers of system calls: syscalls(2).

/// A processor architecture whose calls are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit Intel and AMD.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Architecture {
    /// That of this program; `None` where the table has no column for it.
    #[must_use]
    pub fn native() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Its number on the architecture.
    Here(u32),
    /// Only other architectures have it.
    Elsewhere,
}

const TABLE: &str = include_str!("table.txt");

/// The highest number that the table knows, on either architecture: a call beyond it is newer
/// than this program.
pub const NEWEST: u32 = 469;

/// Every name with its number.
pub fn all(architecture: Architecture) -> impl Iterator<Item = (&'static str, Number)> {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(move |line| {
            let mut words = line.split(' ');
            let (name, intel, arm) = (words.next()?, words.next()?, words.next()?);
            let number = match architecture {
                Architecture::X86_64 => intel,
                Architecture::Aarch64 => arm,
            };
            Some((name, number.parse().map_or(Number::Elsewhere, Number::Here)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn numbers(architecture: Architecture) -> BTreeMap<&'static str, u32> {
        all(architecture)
            .filter_map(|(name, number)| match number {
                Number::Here(number) => Some((name, number)),
                Number::Elsewhere => None,
            })
            .collect()
    }

    #[test]
    fn each_line_is_read_and_each_number_stands_once() {
        for (architecture, count) in [(Architecture::X86_64, 381), (Architecture::Aarch64, 325)] {
            assert_eq!(all(architecture).count(), 381);
            let numbers = numbers(architecture);
            assert_eq!(numbers.len(), count);
            let mut once: Vec<_> = numbers.values().copied().collect();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), count);
            assert_eq!(once.last(), Some(&NEWEST));
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_c_library() {
        let architecture = Architecture::native().expect("a known architecture");
        let numbers = numbers(architecture);
        for (name, number) in [
            ("read", libc::SYS_read),
            ("clone", libc::SYS_clone),
            ("ioctl", libc::SYS_ioctl),
            ("execve", libc::SYS_execve),
            ("socket", libc::SYS_socket),
            ("openat", libc::SYS_openat),
            ("getrandom", libc::SYS_getrandom),
            ("clone3", libc::SYS_clone3),
            ("keyctl", libc::SYS_keyctl),
            ("ptrace", libc::SYS_ptrace),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("prlimit64", libc::SYS_prlimit64),
        ] {
            assert_eq!(
                numbers.get(name).copied().map(i64::from),
                Some(number),
                "{name}"
            );
        }
    }

    #[test]
    fn the_two_architectures_share_every_call_from_pidfd_send_signal_on() {
        // Linux 5.1 began to give new calls one number everywhere.
        let intel = numbers(Architecture::X86_64);
        let arm = numbers(Architecture::Aarch64);
        for (name, number) in intel.iter().filter(|(_, number)| **number >= 424) {
            assert_eq!(arm.get(name), Some(number), "{name}");
        }
        assert_eq!((intel["openat"], arm["openat"]), (257, 56));
        assert_eq!(arm.get("open"), None);
    }
}
