//! The server behind the proxies: one thread, any number of connections, on a Unix socket
//! and, for the rows without a proxy, on TCP; and, where asked for, on a Unix socket over which
//! connections are handed off (docs/handoff.md).

use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, accept_with};

use crate::handoff;
use crate::hello::{HELLO_LENGTH, Mode};
use crate::pattern::{CHUNK, Pattern};
use crate::poll::Poll;

/// Bytes of the short reply: a TLS server's first flight without its certificate.
pub const REPLY_LENGTH: u64 = 1536;
/// The byte that tells the client that everything before it has arrived intact.
pub const INTACT: u8 = b'+';
/// What it sends instead where bytes were changed on the way.
pub const CORRUPT: u8 = b'!';

/// The numbers of the listeners in the set; connections come after them.
const LISTENERS: usize = 3;

/// The number of the one over which connections are handed off.
const HANDOFF: usize = 2;

enum State {
    Hello {
        received: usize,
        bytes: Box<[u8; HELLO_LENGTH]>,
    },
    Sending {
        position: u64,
        end: u64,
        waits: bool,
    },
    Receiving {
        position: u64,
        end: u64,
        intact: bool,
    },
    Echo,
    Idle,
}

struct Connection {
    socket: OwnedFd,
    state: State,
}

/// Whether the connection goes on.
enum Next {
    Wait,
    Close,
}

/// Serves until it is killed. Prints the TCP address on one line when it listens on both.
///
/// # Errors
/// A socket could not be made, or a client sent what is no hello.
pub fn serve(path: &Path, handoff: Option<&Path>) -> Result<()> {
    let unix =
        UnixListener::bind(path).with_context(|| format!("cannot bind {}", path.display()))?;
    // Proxies that drop their privileges connect too.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    let unix = OwnedFd::from(unix);
    // The standard library's backlog of 128 fits 64 parallel connections, not 2,000 at once.
    rustix::net::listen(&unix, 4096)?;
    unix_nonblocking(&unix)?;
    let tcp = TcpListener::bind(("127.0.0.1", 0))?;
    let address = tcp.local_addr()?;
    let tcp = OwnedFd::from(tcp);
    rustix::net::listen(&tcp, 4096)?;
    unix_nonblocking(&tcp)?;

    let mut server = Server {
        poll: Poll::new()?,
        connections: Vec::new(),
        free: Vec::new(),
        buffer: vec![0; CHUNK],
        pattern: Pattern::new(),
    };
    let mut listeners = vec![unix, tcp];
    if let Some(path) = handoff {
        listeners.push(handoff::listen(path)?);
    }
    for (number, listener) in listeners.iter().enumerate() {
        server.poll.add(listener, number, EventFlags::IN)?;
    }
    println!("{address}");
    let mut ready = Vec::new();
    loop {
        server.poll.wait(None, &mut ready)?;
        for &number in &ready {
            if number < LISTENERS {
                server.accept(&listeners[number], number)?;
            } else {
                server.advance(number - LISTENERS);
            }
        }
    }
}

/// Has accept(2) and its kind never wait.
///
/// # Errors
/// As ioctl(2).
pub fn unix_nonblocking(socket: &OwnedFd) -> Result<()> {
    Ok(rustix::io::ioctl_fionbio(socket, true)?)
}

struct Server {
    poll: Poll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
    pattern: Pattern,
}

impl Server {
    fn accept(&mut self, listener: &OwnedFd, number: usize) -> Result<()> {
        loop {
            let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error).context("accept"),
            };
            if number == HANDOFF {
                for client in handoff::receive(&socket)? {
                    self.begin(client, true)?;
                }
            } else {
                self.begin(socket, number > 0)?;
            }
        }
    }

    fn begin(&mut self, socket: OwnedFd, tcp: bool) -> Result<()> {
        if tcp {
            debug_assert_eq!(
                rustix::net::sockopt::socket_domain(&socket)?,
                AddressFamily::INET
            );
            rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
        }
        let state = State::Hello {
            received: 0,
            bytes: Box::new([0; HELLO_LENGTH]),
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.poll.add(&socket, number + LISTENERS, EventFlags::IN)?;
        self.connections[number] = Some(Connection { socket, state });
        self.advance(number);
        Ok(())
    }

    fn advance(&mut self, number: usize) {
        let Some(connection) = &mut self.connections[number] else {
            return;
        };
        let outcome = connection.advance(number, &self.poll, &mut self.buffer, &self.pattern);
        match outcome {
            Ok(Next::Wait) => return,
            Ok(Next::Close) => {}
            // One broken connection is the client's to report: it misses its bytes.
            Err(error) => eprintln!("backend: {error:#}"),
        }
        self.connections[number] = None;
        self.free.push(number);
    }
}

impl Connection {
    fn advance(
        &mut self,
        number: usize,
        poll: &Poll,
        buffer: &mut [u8],
        pattern: &Pattern,
    ) -> Result<Next> {
        loop {
            match &mut self.state {
                State::Hello { received, bytes } => {
                    let Some(count) = receive(&self.socket, &mut bytes[*received..])? else {
                        return Ok(Next::Wait);
                    };
                    // A proxy that looks whether its backend lives connects and says nothing.
                    ensure!(
                        count > 0 || *received == 0,
                        "the hello ends after {received} bytes"
                    );
                    if count == 0 {
                        return Ok(Next::Close);
                    }
                    *received += count;
                    if *received == HELLO_LENGTH {
                        self.state = match Mode::decode(bytes)? {
                            Mode::Reply => State::Sending {
                                position: 0,
                                end: REPLY_LENGTH,
                                waits: false,
                            },
                            Mode::Send(end) => State::Sending {
                                position: 0,
                                end,
                                waits: false,
                            },
                            Mode::Receive(end) => State::Receiving {
                                position: 0,
                                end,
                                intact: true,
                            },
                            Mode::Echo => State::Echo,
                            Mode::Idle => {
                                send(&self.socket, &[INTACT])?;
                                State::Idle
                            }
                        };
                    }
                }
                State::Sending {
                    position,
                    end,
                    waits,
                } => {
                    while position < end {
                        let Some(count) =
                            send(&self.socket, pattern.at(*position, *end - *position))?
                        else {
                            if !*waits {
                                *waits = true;
                                poll.change(&self.socket, number + LISTENERS, EventFlags::OUT)?;
                            }
                            return Ok(Next::Wait);
                        };
                        *position += count as u64;
                    }
                    return Ok(Next::Close);
                }
                State::Receiving {
                    position,
                    end,
                    intact,
                } => {
                    let Some(count) = receive(&self.socket, buffer)? else {
                        return Ok(Next::Wait);
                    };
                    ensure!(count > 0, "the upload ends after {position} of {end} bytes");
                    *intact &= pattern.matches(*position, &buffer[..count]);
                    *position += count as u64;
                    if position >= end {
                        *intact &= position == end;
                        send(&self.socket, &[if *intact { INTACT } else { CORRUPT }])?;
                        return Ok(Next::Close);
                    }
                }
                State::Echo => {
                    let Some(count) = receive(&self.socket, buffer)? else {
                        return Ok(Next::Wait);
                    };
                    if count == 0 {
                        return Ok(Next::Close);
                    }
                    let sent = send(&self.socket, &buffer[..count])?;
                    ensure!(sent == Some(count), "the client does not read its echo");
                }
                State::Idle => {
                    let Some(count) = receive(&self.socket, buffer)? else {
                        return Ok(Next::Wait);
                    };
                    ensure!(count == 0, "an idle connection brought {count} bytes");
                    return Ok(Next::Close);
                }
            }
        }
    }
}

/// Bytes received, 0 at the end of the stream, `None` where there is nothing yet.
///
/// # Errors
/// As recv(2).
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<usize>> {
    match rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT) {
        Ok((count, _)) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error).context("receive"),
    }
}

/// Bytes sent, `None` where there is no room.
///
/// # Errors
/// As send(2).
pub fn send(socket: impl AsFd, bytes: &[u8]) -> Result<Option<usize>> {
    match rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error).context("send"),
    }
}
