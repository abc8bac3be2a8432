//! The hosts directory: one folder per hostname, looked up for each connection.
//!
//! `docs/hosts-directory.md` has the complete rules. The folder is opened below the directory
//! with openat2(2): `RESOLVE_IN_ROOT` keeps every name inside the directory,
//! `RESOLVE_NO_SYMLINKS` tells the plain case from the one that takes care (`walk.rs`).
//! The socket is connected to by its name relative to the working directory, which is the
//! folder: no path is ever built, so the 108 bytes of an address (unix(7)) never matter. That
//! takes a thread with a working directory of its own.
//!
//! The plain case, a folder with a socket that was looked into before and is kept open, takes
//! five system calls: statx, fchdir, socket, connect, getsockopt; the second not for clients of
//! one host in a row, the last not in a folder that is root's alone.

mod kept;
mod known;
mod reach;
mod state;
mod walk;

use std::os::fd::OwnedFd;

use cloister_proto::alpn;
use cloister_proto::hashed_name::hashed_name;
use cloister_proto::hostname::Hostname;
use cloister_proto::messages::door::SendProxy;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketType};

use self::kept::KeptFolder;
use self::known::{Known, Look};
use self::reach::{Reach, expect_listener};
use self::state::State;
use self::walk::{Place, walk};
use crate::target::{ConnectError, connect_unix};
use crate::working_directory::{go, go_to_kept};

/// The socket in a host's folder that connections are relayed to.
pub const SOCKET: &str = "tls-socket";

/// The socket that connections themselves are passed to.
pub const HANDOFF_SOCKET: &str = "handoff-socket";

/// Holds one folder for each protocol that is served apart.
const PROTOCOLS: &str = "alpn";

/// The folder for every other name, and for clients that name none.
pub const DEFAULT: &str = "_default";

/// Asks for PROXY protocol version 1 by being there.
const SEND_PROXY_V1: &str = "send-proxy-v1";

/// Asks for version 2, which says more: it wins where both are there.
const SEND_PROXY_V2: &str = "send-proxy-v2";

/// How a connection is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its bytes go to the socket.
    Relay,
    /// It goes itself, through the socket.
    Handoff {
        /// Whether there is a socket to relay to where that fails.
        fallback: bool,
    },
}

/// Which kinds are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Handing over where the folder has a socket for it, else relaying.
    Any,
    /// Relaying only.
    Relay,
}

/// A host's socket, connected.
#[derive(Debug)]
pub struct Found {
    /// The connection, which is not blocking.
    pub socket: OwnedFd,
    /// What it is for.
    pub kind: Kind,
    /// The header that the host asks for.
    pub send_proxy: SendProxy,
}

/// An open hosts directory. Owns its descriptor.
#[derive(Debug)]
pub struct HostsDirectory {
    /// Its path, for messages only.
    pub path: String,
    root: OwnedFd,
    hashed: bool,
    reach: Reach,
    known: Known,
    relay: SocketAddrUnix,
    handoff: SocketAddrUnix,
}

/// What one connection asks for.
#[derive(Clone, Copy)]
struct Request<'a> {
    /// The name of the folder for its protocol.
    protocol: Option<&'a str>,
    wanted: Wanted,
}

/// A folder's state, and a moment before it was asked for.
#[derive(Clone, Copy)]
struct Seen {
    at: i64,
    folder: State,
}

impl HostsDirectory {
    /// Takes a directory that was opened, `O_PATH` suffices. Where `hashed`, the folders are
    /// called by [`hashed_name`].
    ///
    /// # Errors
    ///
    /// None that depend on the directory: the sockets' names fit an address.
    pub fn new(path: &str, root: OwnedFd, hashed: bool) -> Result<Self, Errno> {
        Ok(Self {
            path: path.trim_end_matches('/').to_owned(),
            root,
            hashed,
            reach: Reach::new(),
            known: Known::new(),
            relay: SocketAddrUnix::new(SOCKET)?,
            handoff: SocketAddrUnix::new(HANDOFF_SOCKET)?,
        })
    }

    /// Another descriptor of the directory, for another [`HostsDirectory`].
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub fn duplicate(&self) -> std::io::Result<OwnedFd> {
        self.root.try_clone()
    }

    /// The folder that is a name's own; that of all other names for none.
    #[must_use]
    pub fn folder_name(&self, name: Option<&str>) -> String {
        match name {
            Some(name) if self.hashed => hashed_name(name),
            Some(name) => name.to_owned(),
            None => DEFAULT.to_owned(),
        }
    }

    /// Whether the host of this name probably takes connections over: a guess by what was seen
    /// last, without a system call. [`HostsDirectory::connect`] tells.
    #[must_use]
    pub fn probably_hands_off(&self, name: Option<&Hostname>) -> bool {
        if !self.known.any_hands_off() {
            return false;
        }
        let known = |name: Option<&str>| self.known.hands_off(&self.folder_name(name));
        let Some(name) = name else {
            return known(None);
        };
        let parent = || name.parent().map(|parent| format!("*.{parent}"));
        known(Some(name.as_str())) || parent().is_some_and(|name| known(Some(&name))) || known(None)
    }

    /// Connects to the socket of a host: of its own folder, else of `*.parent`, else of
    /// `_default`; without a name, of `_default`. A folder that is there and does not serve
    /// is an error: its clients go to no other.
    ///
    /// `offered` are the client's protocols in its order. The calling thread must have a
    /// working directory of its own; it is left anywhere.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NoHost`] where there is no folder that the door may enter,
    /// [`ConnectError::Link`] where a link leads to what its owner does not own, the others
    /// where the folder's socket takes no connection.
    pub fn connect(
        &self,
        name: Option<&Hostname>,
        offered: &[Vec<u8>],
        wanted: Wanted,
    ) -> Result<Found, ConnectError> {
        let protocol = alpn::preferred(offered).and_then(alpn::file_name);
        let request = Request {
            protocol: protocol.as_deref(),
            wanted,
        };
        if let Some(name) = name {
            let found = if self.hashed {
                self.own(&hashed_name(name.as_str()), request)?
            } else {
                self.own(name.as_str(), request)?
            };
            if let Some(found) = found {
                return Ok(found);
            }
            if let Some(parent) = name.parent() {
                let folder = self.folder_name(Some(&format!("*.{parent}")));
                if let Some(found) = self.shared(&folder, request)? {
                    return Ok(found);
                }
            }
        }
        self.shared(DEFAULT, request)?
            .ok_or(ConnectError::NoHost(Errno::NOENT))
    }

    /// A name's own folder; `None` where there is none.
    fn own(&self, entry: &str, request: Request<'_>) -> Result<Option<Found>, ConnectError> {
        let found = self.own_folder(entry, request)?;
        self.note(entry, found.as_ref(), request);
        Ok(found)
    }

    /// For the guess of [`HostsDirectory::probably_hands_off`].
    fn note(&self, entry: &str, found: Option<&Found>, request: Request<'_>) {
        if let (Some(found), Wanted::Any) = (found, request.wanted) {
            self.known.note(entry, found.kind != Kind::Relay);
        }
    }

    fn own_folder(&self, entry: &str, request: Request<'_>) -> Result<Option<Found>, ConnectError> {
        if let Some(found) = self.kept(entry, request)? {
            return Ok(Some(found));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        match retry(|| openat2(&self.root, entry, flags, Mode::empty(), resolve)) {
            Ok(folder) => {
                let seen = Seen {
                    at: state::now(),
                    folder: State::of(&folder).map_err(ConnectError::at_target)?,
                };
                self.serve(entry, Place::below(folder), seen, request)
                    .map(Some)
            }
            Err(Errno::NOENT) => Ok(None),
            // Where fs.protected_symlinks is set (proc_sys_fs(5)), a link of a tenant's in a
            // sticky directory is denied before it is told to be a link. The walk follows
            // none by the kernel's hand, and asks more about its owner than the kernel does.
            Err(Errno::LOOP | Errno::ACCESS) => match walk(&self.root, Place::default(), entry)? {
                Some(reached) => self.look(None, &reached.into_folder()?, request).map(Some),
                None => Ok(None),
            },
            Err(error) => Err(at_folder(error)),
        }
    }

    /// A folder that was looked into before and is still open, where the name still stands for
    /// it and nothing in it has changed; `None` for every other.
    fn kept(&self, entry: &str, request: Request<'_>) -> Result<Option<Found>, ConnectError> {
        let now = state::now();
        let usable = |look: &Look| applies(look, now, request);
        let Some(look) = self.known.get(entry).filter(usable) else {
            return Ok(None);
        };
        let Some(folder) = &look.kept else {
            return Ok(None);
        };
        let state = State::of_entry(&self.root, entry).map_err(at_folder)?;
        if state != Some(look.folder) {
            return Ok(None);
        }
        go_to_kept(folder).map_err(at_folder)?;
        match self.again(&look) {
            // Who listens has changed, or what is listened on: looked at with care. Nobody takes
            // connections over: perhaps there is a socket to relay to.
            Err(ConnectError::Listener { .. }) => Ok(None),
            Err(_) if look.handoff == Some(true) => Ok(None),
            other => other.map(Some),
        }
    }

    /// A folder that serves other names than its own; `None` where there is none, or only one
    /// of somebody who may not take other people's names.
    fn shared(&self, entry: &str, request: Request<'_>) -> Result<Option<Found>, ConnectError> {
        let entitled = |owner| -> Result<bool, ConnectError> {
            let directory = State::of(&self.root).map_err(ConnectError::at_target)?;
            Ok(owner == 0 || owner == directory.owner)
        };
        let at = state::now();
        match State::of_entry(&self.root, entry).map_err(at_folder)? {
            Some(state) if entitled(state.owner)? => {}
            _ => return Ok(None),
        }
        let Some(reached) = walk(&self.root, Place::default(), entry)? else {
            return Ok(None);
        };
        // Asked again of the very file: by now the name may be another's.
        if !entitled(reached.link.unwrap_or(reached.state.owner))? {
            return Ok(None);
        }
        let (folder, linked) = (reached.state, reached.link.is_some());
        let place = reached.into_folder()?;
        let found = if linked {
            self.look(None, &place, request)
        } else {
            self.serve(entry, place, Seen { at, folder }, request)
        };
        let found = Some(found?);
        self.note(entry, found.as_ref(), request);
        Ok(found)
    }

    /// Serves from a folder that no link led to.
    fn serve(
        &self,
        entry: &str,
        place: Place,
        seen: Seen,
        request: Request<'_>,
    ) -> Result<Found, ConnectError> {
        match self.known.get(entry) {
            Some(look) if look.folder == seen.folder && applies(&look, seen.at, request) => {
                go(place.folder(&self.root)).map_err(at_folder)?;
                match self.again(&look) {
                    // Who listens has changed, or what is listened on: looked at with care.
                    Err(ConnectError::Listener { .. }) => self.look(None, &place, request),
                    Err(refused) if look.handoff == Some(true) => {
                        self.instead(refused, &place, request)
                    }
                    other => other,
                }
            }
            _ => self.look(Some((entry, seen)), &place, request),
        }
    }

    /// Connects to a socket that was looked at before, in the working directory.
    fn again(&self, look: &Look) -> Result<Found, ConnectError> {
        let (address, kind, socket_type) = match look.handoff {
            Some(fallback) => (&self.handoff, Kind::Handoff { fallback }, HANDOFF_TYPE),
            None => (&self.relay, Kind::Relay, SocketType::STREAM),
        };
        let socket = connect_unix(address, socket_type)?;
        // The name could be another's since the folder was looked at; a user cannot.
        if !look.folder.is_roots_alone() {
            expect_listener(&socket, look.owner)?;
        }
        Ok(Found {
            socket,
            kind,
            send_proxy: look.send_proxy,
        })
    }

    /// Looks into a folder, and remembers what is there where `remember` names the folder.
    fn look(
        &self,
        remember: Option<(&str, Seen)>,
        place: &Place,
        request: Request<'_>,
    ) -> Result<Found, ConnectError> {
        let folder = place.folder(&self.root);
        let holds = |name| {
            let entry = State::of_entry(folder, name).map_err(ConnectError::at_target)?;
            Ok::<bool, ConnectError>(entry.is_some())
        };
        let alpn = holds(PROTOCOLS)?;
        if let (true, Some(protocol)) = (alpn, request.protocol)
            && let Some(place) = self.protocol(place, protocol)?
        {
            let plain = Request {
                protocol: None,
                ..request
            };
            return self.look(None, &place, plain);
        }
        let handoff = if holds(HANDOFF_SOCKET)? {
            Some(holds(SOCKET)?)
        } else {
            None
        };
        let send_proxy = if holds(SEND_PROXY_V2)? {
            SendProxy::V2
        } else if holds(SEND_PROXY_V1)? {
            SendProxy::V1
        } else {
            SendProxy::None
        };
        let (name, kind, socket_type) = match handoff.filter(|_| request.wanted == Wanted::Any) {
            Some(fallback) => (HANDOFF_SOCKET, Kind::Handoff { fallback }, HANDOFF_TYPE),
            None => (SOCKET, Kind::Relay, SocketType::STREAM),
        };
        let connected = walk(&self.root, place.clone(), name).and_then(|reached| {
            let reached = reached.ok_or(ConnectError::NoTarget(Errno::NOENT))?;
            let socket = self.reach.connect(&self.root, &reached, socket_type)?;
            Ok((reached, socket))
        });
        let (reached, socket) = match connected {
            Err(refused) if kind == (Kind::Handoff { fallback: true }) => {
                return self.instead(refused, place, request);
            }
            other => other?,
        };
        let usual = request.wanted == Wanted::Any || handoff.is_none();
        if let (Some((entry, seen)), None, true) = (remember, reached.link, usual) {
            let look = Look {
                folder: seen.folder,
                owner: reached.state.owner,
                handoff,
                alpn,
                send_proxy,
                taken: seen.at,
                kept: None,
            };
            self.remember(entry, place, look, &socket);
        }
        Ok(Found {
            socket,
            kind,
            send_proxy,
        })
    }

    /// Relays where a socket for handing over takes nothing; `refused` says why.
    fn instead(
        &self,
        refused: ConnectError,
        place: &Place,
        request: Request<'_>,
    ) -> Result<Found, ConnectError> {
        let wanted = Wanted::Relay;
        self.look(None, place, Request { wanted, ..request })
            .map_err(|_| refused)
    }

    /// Remembers a look where it will be certain that nothing has changed since.
    fn remember(&self, entry: &str, place: &Place, mut look: Look, socket: &OwnedFd) {
        let certain = look.folder.is_settled(look.taken)
            && state::has_trusted_times(place.folder(&self.root))
            && (look.folder.is_roots_alone() || expect_listener(socket, look.owner).is_ok());
        if certain {
            look.kept = KeptFolder::new(place.folder(&self.root));
        }
        self.known.put(entry, certain.then_some(look));
    }

    /// The folder for one protocol; `None` where it has none of its own.
    fn protocol(&self, host: &Place, protocol: &str) -> Result<Option<Place>, ConnectError> {
        let Some(protocols) = walk(&self.root, host.clone(), PROTOCOLS)? else {
            return Ok(None);
        };
        match walk(&self.root, protocols.into_folder()?, protocol)? {
            Some(reached) => reached.into_folder().map(Some),
            None => Ok(None),
        }
    }
}

/// How the socket that takes connections over is spoken to.
const HANDOFF_TYPE: SocketType = SocketType::SEQPACKET;

/// Whether a remembered look answers a request.
fn applies(look: &Look, now: i64, request: Request<'_>) -> bool {
    let served = match request.wanted {
        Wanted::Any => true,
        Wanted::Relay => look.handoff.is_none(),
    };
    served && !(look.alpn && request.protocol.is_some()) && !look.has_expired(now)
}

fn at_folder(error: Errno) -> ConnectError {
    match ConnectError::at_target(error) {
        ConnectError::NoTarget(error) => ConnectError::NoHost(error),
        // openat2(2) says EAGAIN when a rename raced with `..` or a link; once more, later.
        other => other,
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests;
