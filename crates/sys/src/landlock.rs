//! Landlock: landlock(7). A process gives up access for itself and for all that it starts;
//! nobody's permission is needed, and nothing gives it back.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::returned::checked;

/// `LANDLOCK_CREATE_RULESET_VERSION`, `LANDLOCK_RULE_PATH_BENEATH`, `LANDLOCK_RULE_NET_PORT` and
/// the rights of linux/landlock.h; libc has none of them.
const VERSION: libc::c_uint = 1;
const PATH_BENEATH: libc::c_int = 1;
const NET_PORT: libc::c_int = 2;
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// Removing and making of every kind but devices.
const CHANGE_DIR: u64 = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;
const ABSTRACT_UNIX_SOCKET: u64 = 1;
const SIGNAL: u64 = 1 << 1;

/// The version of the interface by which files are restricted completely, TCP ports too, and
/// signals and abstract sockets too.
pub const FILES: u32 = 5;
/// Likewise for TCP ports.
pub const PORTS: u32 = 4;
/// Likewise for signals and abstract sockets.
pub const SCOPES: u32 = 6;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct RulesetAttributes {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: RawFd,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// What is refused but for the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// Files: reading, writing, executing.
    pub files: bool,
    /// Binding TCP sockets.
    pub bind: bool,
    /// Connecting TCP sockets.
    pub connect: bool,
    /// Connecting to abstract Unix sockets of processes that are not restricted alike.
    pub abstract_sockets: bool,
    /// Signals to processes that are not restricted alike.
    pub signals: bool,
}

/// What may be done to the files below a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Reading files and listing folders.
    pub read: bool,
    /// Writing, making, renaming and removing; never devices.
    pub write: bool,
    /// Executing.
    pub execute: bool,
    /// ioctl(2) on devices.
    pub devices: bool,
}

impl Access {
    fn bits(self) -> u64 {
        [
            (self.read, READ_FILE | READ_DIR),
            (self.write, WRITE_FILE | CHANGE_DIR | REFER | TRUNCATE),
            (self.execute, EXECUTE),
            (self.devices, IOCTL_DEV),
        ]
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .fold(0, |set, (_, bits)| set | bits)
    }
}

/// Which way a TCP port is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// bind(2).
    Bind,
    /// connect(2).
    Connect,
}

/// The version of the kernel's interface; 0 where it has none, or it is switched off.
#[must_use]
pub fn version() -> u32 {
    // SAFETY: with this flag the pointer must be null and the size 0; no memory is touched.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttributes>(),
            0_usize,
            VERSION,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

/// Rules that are being put together.
#[derive(Debug)]
pub struct Ruleset {
    descriptor: OwnedFd,
    files: u64,
}

impl Ruleset {
    /// An empty set of rules: what is handled is refused. What this kernel's version cannot
    /// handle is left out.
    ///
    /// # Errors
    ///
    /// `ENOSYS` and `EOPNOTSUPP` where there is no Landlock; `ENOMSG` where nothing is left
    /// to be handled.
    pub fn new(handled: Handled, version: u32) -> io::Result<Self> {
        let mut files = if handled.files {
            // All of the first version; no rule gives the making of devices back.
            ((1 << 13) - 1) | REFER | TRUNCATE | IOCTL_DEV
        } else {
            0
        };
        for (since, right) in [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)] {
            if version < since {
                files &= !right;
            }
        }
        let either = |condition: bool, bit: u64, since: u32| {
            if condition && version >= since {
                bit
            } else {
                0
            }
        };
        let attributes = RulesetAttributes {
            files,
            network: either(handled.bind, BIND_TCP, PORTS)
                | either(handled.connect, CONNECT_TCP, PORTS),
            scoped: either(handled.abstract_sockets, ABSTRACT_UNIX_SOCKET, SCOPES)
                | either(handled.signals, SIGNAL, SCOPES),
        };
        // SAFETY: pointer and size describe the one local value, which is only read. What an
        // older kernel does not know of it is zero, which it accepts (E2BIG otherwise).
        let descriptor = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const attributes,
                size_of::<RulesetAttributes>(),
                0,
            )
        };
        let descriptor = RawFd::try_from(descriptor)
            .ok()
            .filter(|number| *number >= 0)
            .ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made this descriptor for nobody else.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { descriptor, files })
    }

    /// Allows `access` to everything below `place`, or to it alone where it is no folder.
    /// `place` may be opened `O_PATH`.
    ///
    /// # Errors
    ///
    /// Those of landlock_add_rule(2).
    pub fn allow_files(
        &self,
        place: BorrowedFd<'_>,
        folder: bool,
        access: Access,
    ) -> io::Result<()> {
        let whole = access.bits() & self.files;
        let rule = PathBeneath {
            allowed: if folder {
                whole
            } else {
                whole & (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)
            },
            parent: place.as_raw_fd(),
        };
        if rule.allowed == 0 {
            return Ok(());
        }
        self.add(PATH_BENEATH, (&raw const rule).cast())
    }

    /// Allows one TCP port.
    ///
    /// # Errors
    ///
    /// Those of landlock_add_rule(2).
    pub fn allow_port(&self, direction: Direction, port: u16) -> io::Result<()> {
        let rule = NetPort {
            allowed: match direction {
                Direction::Bind => BIND_TCP,
                Direction::Connect => CONNECT_TCP,
            },
            port: port.into(),
        };
        self.add(NET_PORT, (&raw const rule).cast())
    }

    fn add(&self, kind: libc::c_int, rule: *const libc::c_void) -> io::Result<()> {
        // SAFETY: the callers pass the structure that belongs to the kind, which is only read.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.descriptor.as_fd().as_raw_fd(),
                kind,
                rule,
                0,
            )
        };
        checked(result)
    }

    /// Restricts the calling thread and all that it starts.
    ///
    /// # Errors
    ///
    /// `EPERM` without no_new_privs, `E2BIG` below 16 others.
    pub fn restrict_self(&self) -> io::Result<()> {
        // SAFETY: a descriptor and no flags; no memory is touched.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_restrict_self,
                self.descriptor.as_raw_fd(),
                0,
            )
        };
        checked(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::net::{TcpListener, TcpStream};

    /// Restricts the calling thread.
    fn restrict(handled: Handled, add: impl FnOnce(&Ruleset)) {
        let rules = Ruleset::new(handled, version()).expect("a set of rules");
        add(&rules);
        rustix::thread::set_no_new_privs(true).expect("set");
        rules.restrict_self().expect("restricted");
    }

    #[test]
    fn files_are_read_where_a_rule_says_so() {
        let thread = std::thread::spawn(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let inside = folder.path().join("inside");
            std::fs::write(&inside, "x").expect("written");
            let outside = tempfile::NamedTempFile::new().expect("a file");
            let place = File::open(folder.path()).expect("a folder");
            let handled = Handled {
                files: true,
                ..Handled::default()
            };
            restrict(handled, |rules| {
                let read = Access {
                    read: true,
                    ..Access::default()
                };
                rules
                    .allow_files(place.as_fd(), true, read)
                    .expect("a rule");
            });
            File::open(&inside).expect("allowed");
            for denied in [
                File::open(outside.path()).map(drop),
                std::fs::write(&inside, "y"),
                std::fs::write(folder.path().join("new"), "y"),
                std::fs::remove_file(&inside),
            ] {
                let number = denied.expect_err("denied").raw_os_error();
                assert_eq!(number, Some(libc::EACCES));
            }
        });
        thread.join().expect("the thread ends");
    }

    #[test]
    fn a_port_is_used_one_way() {
        if version() < PORTS {
            return;
        }
        let thread = std::thread::spawn(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
            let address = listener.local_addr().expect("bound");
            let other = TcpListener::bind("127.0.0.1:0").expect("bound");
            let denied = other.local_addr().expect("bound");
            let handled = Handled {
                bind: true,
                connect: true,
                ..Handled::default()
            };
            restrict(handled, |rules| {
                rules
                    .allow_port(Direction::Connect, address.port())
                    .expect("a rule");
            });
            TcpStream::connect(address).expect("allowed");
            let number = TcpStream::connect(denied)
                .expect_err("denied")
                .raw_os_error();
            assert_eq!(number, Some(libc::EACCES));
            assert!(TcpListener::bind("127.0.0.1:0").is_err());
        });
        thread.join().expect("the thread ends");
    }

    #[test]
    fn an_older_version_handles_less_and_nothing_at_all_is_an_error() {
        let scopes = Handled {
            signals: true,
            ..Handled::default()
        };
        assert!(Ruleset::new(scopes, SCOPES - 1).is_err());
        let all = Handled {
            files: true,
            bind: true,
            connect: true,
            abstract_sockets: true,
            signals: true,
        };
        let rules = Ruleset::new(all, 1).expect("a set of rules");
        assert_eq!(rules.files, (1 << 13) - 1);
    }
}
