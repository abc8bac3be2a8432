//! Pipes for splice(2), pooled and few.
//!
//! A pipe of 1 MiB counts 256 pages against its user's `pipe-user-pages-soft` (pipe(7)):
//! about 64 of them and an unprivileged user's further pipes have one page. So a process
//! keeps at most [`LIMIT`] and a connection holds one only while it moves bulk data. Without
//! one the bytes are copied.
//!
//! A Unix socket's send buffer holds 208 KiB by default (socket(7), `wmem_default`), a fifth
//! of a pipe: emptying one would take five turns, each with a wake-up of the peer and of this
//! worker. So the sink of a bulk flow gets a wider buffer, which halves the CPU time of an
//! upload. That is kernel memory which a stalled peer can hold: as many flows as pipes get it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// The most pipes of one process.
pub const LIMIT: usize = 32;

/// What a pipe is asked to hold. Best effort: `pipe-max-size` and the user's budget bound it.
const CAPACITY: usize = 1 << 20;

/// What the kernel is asked for as a sink's send buffer. It doubles the number for its own
/// bookkeeping (socket(7)), so that a full pipe fits; `wmem_max` bounds it.
const SEND_BUFFER: usize = CAPACITY / 2;

/// A pipe and how many bytes are in it. Owns both ends.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    length: usize,
}

impl Pipe {
    fn open() -> Result<Self, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller pipe works as well, with more calls.
        let _ = fcntl_setpipe_size(&write, CAPACITY);
        Ok(Self {
            read,
            write,
            length: 0,
        })
    }

    /// The bytes inside.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is inside.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Moves what the socket has, up to the pipe's capacity, into the empty pipe. 0 is the
    /// end of the stream. Never blocks: sockets and pipes here are non-blocking.
    pub fn fill(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = splice(socket, None, self.write.as_fd(), None, CAPACITY, flags)?;
        self.length += count;
        Ok(count)
    }

    /// Moves bytes from the pipe to the socket and returns their number. Never blocks.
    pub fn drain(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let count = splice(self.read.as_fd(), None, socket, None, self.length, flags)?;
        self.length -= count;
        Ok(count)
    }
}

/// A worker's share of the process's pipes.
#[derive(Debug)]
pub struct PipePool {
    free: Vec<Pipe>,
    lent: usize,
    wide: usize,
    limit: usize,
}

impl PipePool {
    /// A pool that never lends more than `limit` pipes at once; none is opened yet.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            free: Vec::new(),
            lent: 0,
            wide: 0,
            limit,
        }
    }

    /// Lends an empty pipe; `None` at the limit or where the system gives none.
    pub fn lend(&mut self) -> Option<Box<Pipe>> {
        if self.lent >= self.limit {
            return None;
        }
        let pipe = match self.free.pop() {
            Some(pipe) => pipe,
            None => Pipe::open().ok()?,
        };
        self.lent += 1;
        Some(Box::new(pipe))
    }

    /// Takes a pipe back. One that is not empty is closed: its bytes belong to a connection
    /// that is gone, and must never reach another.
    pub fn give_back(&mut self, pipe: Pipe) {
        self.lent -= 1;
        if pipe.is_empty() {
            self.free.push(pipe);
        }
    }

    /// Widens the send buffer of a flow's sink, where it is a Unix socket (TCP sizes its own)
    /// and the limit is not reached. True: call [`PipePool::narrow`] when the flow is over.
    pub fn widen(&mut self, sink: BorrowedFd<'_>) -> bool {
        let widened = self.wide < self.limit
            && sockopt::socket_domain(sink) == Ok(AddressFamily::UNIX)
            && sockopt::set_socket_send_buffer_size(sink, SEND_BUFFER).is_ok();
        self.wide += usize::from(widened);
        widened
    }

    /// Counts a widened flow out. Its socket stays as it is, so it should be done with.
    pub const fn narrow(&mut self) {
        self.wide -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_pipe_with_foreign_bytes_is_never_lent_again() {
        let mut pool = PipePool::new(1);
        let (mut writer, reader) = UnixStream::pair().expect("a pair");
        writer.write_all(b"secret").expect("room");
        let mut pipe = pool.lend().expect("the first");
        assert_eq!(pipe.fill(reader.as_fd()).expect("bytes"), 6);
        pool.give_back(*pipe);
        assert!(pool.free.is_empty());
        let mut pipe = pool.lend().expect("the limit counts lent pipes only");
        let (sender, mut receiver) = UnixStream::pair().expect("a pair");
        writer.write_all(b"next").expect("room");
        pipe.fill(reader.as_fd()).expect("bytes");
        pipe.drain(sender.as_fd()).expect("room");
        drop(sender);
        let mut received = Vec::new();
        receiver.read_to_end(&mut received).expect("the end");
        assert_eq!(received, b"next");
    }

    #[test]
    fn as_many_sinks_as_pipes_are_widened() {
        let mut pool = PipePool::new(1);
        let (first, second) = UnixStream::pair().expect("a pair");
        let size = |socket: &UnixStream| sockopt::socket_send_buffer_size(socket).expect("a size");
        let default = size(&first);
        assert!(pool.widen(first.as_fd()));
        assert!(size(&first) > default);
        assert!(!pool.widen(second.as_fd()));
        assert_eq!(size(&second), default);
        pool.narrow();
        assert!(pool.widen(second.as_fd()));
    }

    #[test]
    fn tcp_sizes_its_own_buffers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let stream = std::net::TcpStream::connect(address).expect("connected");
        assert!(!PipePool::new(1).widen(stream.as_fd()));
    }

    #[test]
    fn the_limit_holds() {
        let mut pool = PipePool::new(2);
        let first = pool.lend().expect("the first");
        let _second = pool.lend().expect("the second");
        assert!(pool.lend().is_none());
        pool.give_back(*first);
        assert!(pool.lend().is_some());
    }
}
