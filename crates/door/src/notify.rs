//! What the door tells whoever started it: sd_notify(3).
//!
//! The socket is opened once, before the process is confined: a chroot has no
//! /run/systemd, and the filter leaves nobody a way to open one later. Every message is
//! sent without blocking for long: to serve matters more than to have said so.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use cloister_sys::descriptors::take_inherited;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, send, sendmsg, socket_with,
};

/// Names the inherited descriptor through which `keep` is told: the same messages, without
/// a name in any file system.
pub const DESCRIPTOR: &str = "CLOISTER_NOTIFY_FD";

/// How long a full queue of the service manager is waited for.
const PATIENCE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// What is asked for beyond the drain's own deadline, for closing and for the log.
const MARGIN: Duration = Duration::from_secs(5);

/// The way to a service manager, or to nobody. Owns its socket.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<OwnedFd>,
    watchdog: Option<Duration>,
    store: usize,
}

impl Notifier {
    /// What the environment names: [`DESCRIPTOR`], else `NOTIFY_SOCKET`; `WATCHDOG_USEC` and
    /// `WATCHDOG_PID`; and `FDSTORE`, the number of descriptors that systemd (since version
    /// 254) keeps. What cannot be used is said on standard error and left out.
    ///
    /// Call it before the process is confined, first thing where [`DESCRIPTOR`] is used.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let socket = match (variable(DESCRIPTOR), variable("NOTIFY_SOCKET")) {
            (Some(number), _) => number
                .parse()
                .map_err(|_| Errno::INVAL.to_string())
                .and_then(|number| take_inherited(number).map_err(|error| error.to_string()))
                .map_err(|error| format!("{DESCRIPTOR}={number}: {error}")),
            (None, Some(address)) => {
                open(&address).map_err(|error| format!("NOTIFY_SOCKET={address}: {error}"))
            }
            (None, None) => return Self::default(),
        };
        match socket {
            Ok(socket) => Self {
                socket: Some(socket),
                watchdog: watchdog(
                    variable("WATCHDOG_USEC").as_deref(),
                    variable("WATCHDOG_PID").as_deref(),
                    std::process::id(),
                ),
                store: variable("FDSTORE")
                    .and_then(|number| number.parse().ok())
                    .unwrap_or(0),
            },
            Err(error) => {
                eprintln!("cloister-door: the service manager is not told: {error}");
                Self::default()
            }
        }
    }

    /// One that sends through this connected datagram or packet socket; for tests.
    #[must_use]
    pub fn through(socket: OwnedFd, watchdog: Option<Duration>) -> Self {
        Self {
            socket: Some(socket),
            watchdog,
            store: 0,
        }
    }

    /// How often [`Notifier::alive`] is expected: half the time after which the service
    /// manager gives the process up, as sd_watchdog_enabled(3) advises. `None`: never.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|time| time / 2)
    }

    /// It serves, as this process: where a second door was started beside the first, the
    /// service manager is to follow this one from now on.
    pub fn ready(&self) {
        let pid = std::process::id();
        self.say(&format!("READY=1\nMAINPID={pid}\nSTATUS=accepting"));
    }

    /// It accepts no more and ends within `drain`.
    pub fn stopping(&self, drain: Duration, active: u64) {
        let time = drain.saturating_add(MARGIN).as_micros();
        let status = draining(active);
        self.say(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={time}\nSTATUS={status}"
        ));
    }

    /// How many connections a drain still waits for.
    pub fn draining(&self, active: u64) {
        self.say(&format!("STATUS={}", draining(active)));
    }

    /// Every worker has answered.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// Anything else, one `NAME=value` on each line.
    pub fn say(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if send(socket, message.as_bytes(), flags) == Err(Errno::AGAIN) {
            let mut waiting = [PollFd::new(socket, PollFlags::OUT)];
            let _ = poll(&mut waiting, Some(&PATIENCE));
            let _ = send(socket, message.as_bytes(), flags);
        }
    }

    /// Has the service manager keep a listening socket while the service is restarted, where
    /// it offers to keep that many (`FileDescriptorStoreMax=`): it comes back through
    /// `LISTEN_FDS` under the same name. To be called before the process is confined.
    pub fn store(&self, listeners: &[(&str, BorrowedFd<'_>)]) {
        let Some(socket) = &self.socket else { return };
        if listeners.len() > self.store {
            return;
        }
        for (name, descriptor) in listeners {
            if let Err(error) = store(socket, name, *descriptor) {
                eprintln!("cloister-door: {name}: the service manager does not keep it: {error}");
            }
        }
    }
}

fn draining(active: u64) -> String {
    let plural = if active == 1 { "" } else { "s" };
    format!("draining, {active} connection{plural} left")
}

fn open(address: &str) -> Result<OwnedFd, Errno> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        [b'/', ..] => SocketAddrUnix::new(address)?,
        // sd_notify(3) also names vsock:CID:PORT, for a whole virtual machine's own manager.
        _ => return Err(Errno::AFNOSUPPORT),
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    connect(&socket, &address)?;
    Ok(socket)
}

/// sd_watchdog_enabled(3): the time, where it is meant for this process.
fn watchdog(time: Option<&str>, owner: Option<&str>, process: u32) -> Option<Duration> {
    if owner.is_some_and(|owner| owner.parse() != Ok(process)) {
        return None;
    }
    let time = time?.parse().ok().filter(|time| *time > 0)?;
    Some(Duration::from_micros(time))
}

fn store(socket: impl AsFd, name: &str, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    let message = format!("FDSTORE=1\nFDNAME={name}");
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let pieces = [IoSlice::new(message.as_bytes())];
    sendmsg(socket, &pieces, &mut control, SendFlags::NOSIGNAL).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn pair(watchdog: Option<Duration>) -> (Notifier, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().expect("sockets");
        theirs.set_nonblocking(true).expect("a socket");
        (Notifier::through(ours.into(), watchdog), theirs)
    }

    fn next(from: &UnixDatagram) -> String {
        let mut bytes = [0; 1024];
        let count = from.recv(&mut bytes).expect("a message");
        String::from_utf8(bytes[..count].to_vec()).expect("text")
    }

    #[test]
    fn messages_are_those_of_sd_notify() {
        let (notifier, manager) = pair(None);
        notifier.ready();
        let pid = std::process::id();
        assert_eq!(
            next(&manager),
            format!("READY=1\nMAINPID={pid}\nSTATUS=accepting")
        );
        notifier.stopping(Duration::from_secs(10), 1);
        assert_eq!(
            next(&manager),
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\nSTATUS=draining, 1 connection left"
        );
        notifier.draining(12);
        assert_eq!(next(&manager), "STATUS=draining, 12 connections left");
        notifier.alive();
        assert_eq!(next(&manager), "WATCHDOG=1");
    }

    #[test]
    fn a_full_queue_and_a_gone_manager_hold_nobody_up() {
        let (notifier, manager) = pair(None);
        for _ in 0..100 {
            let sent = std::time::Instant::now();
            notifier.alive();
            if sent.elapsed() > Duration::from_millis(500) {
                break; // Its queue is full (unix(7) net.unix.max_dgram_qlen).
            }
        }
        drop(manager);
        notifier.alive();
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let time = Some(Duration::from_secs(3));
        assert_eq!(watchdog(Some("3000000"), None, 7), time);
        assert_eq!(watchdog(Some("3000000"), Some("7"), 7), time);
        assert_eq!(watchdog(Some("3000000"), Some("8"), 7), None);
        assert_eq!(watchdog(Some("3000000"), Some("x"), 7), None);
        for nothing in [Some("0"), Some("-1"), Some(""), None] {
            assert_eq!(watchdog(nothing, None, 7), None, "{nothing:?}");
        }
        assert_eq!(pair(time).0.watchdog(), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn only_addresses_of_sd_notify_are_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let _manager = UnixDatagram::bind(&path).expect("bound");
        open(path.to_str().expect("text")).expect("it is there");
        assert_eq!(open("vsock:2:1").expect_err("no Unix"), Errno::AFNOSUPPORT);
        assert_eq!(
            open("@no-such-manager").expect_err("nobody"),
            Errno::CONNREFUSED
        );
    }
}
