//! One direction of a relayed connection.
//!
//! Under edge-triggered epoll a wake-up comes once per arrival, so a pump must read until
//! the source is empty. It knows that by `EAGAIN`, or more cheaply by a read shorter than it
//! asked for: what arrives after such a read raises the next edge. The end of the stream is
//! different: its edge may be the one being served, so after a hang-up only a read of 0 or an
//! error counts.
//!
//! Where the end was announced, what is read is sent with `MSG_MORE` (send(2)): the shutdown
//! that follows then carries the last bytes and the FIN in one segment, which is one pass
//! through the network stack less. It delays nothing for good: an acknowledgement, the next
//! send and the kernel's own timer send the bytes as well.
//!
//! Nothing is read while the sink is blocked: one direction holds at most one thread buffer
//! or one pipe of a stalled peer's bytes, and the source's own window closes.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::pipes::{Pipe, PipePool};

/// The bytes of one thread buffer.
pub const BUFFER: usize = 256 * 1024;

/// More than this in one burst is bulk, which is spliced where that pays.
const BULK: usize = 64 * 1024;

/// After this many bytes a pump yields, so that one fast pair of peers starves nobody.
const BUDGET: usize = 1 << 20;

/// What every connection of one worker shares to move bytes.
#[derive(Debug)]
pub struct Tools {
    /// The thread buffer of [`BUFFER`] bytes.
    pub buffer: Box<[u8]>,
    /// The worker's pipes.
    pub pipes: PipePool,
}

/// Bytes that were read and that the sink did not take yet.
#[derive(Debug, Default)]
enum Pending {
    #[default]
    Nothing,
    Bytes(Box<Leftover>),
    Pipe(Box<Pipe>),
}

#[derive(Debug)]
struct Leftover {
    bytes: Box<[u8]>,
    sent: usize,
}

/// How a pump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// The source has no more for now.
    Drained,
    /// The sink takes no more for now; ask for its `EPOLLOUT`.
    Blocked,
    /// The budget is used up; pump again after the others.
    More,
    /// The source ended and the sink has taken everything.
    Ended,
    /// Reading failed: the source's connection is broken.
    SourceFailed(Errno),
    /// Writing failed: the sink's connection is broken.
    SinkFailed(Errno),
}

/// One direction: from a source socket to a sink socket, both non-blocking.
#[derive(Debug, Default)]
pub struct Flow {
    /// Bytes taken from the source, the first ones that the router read included.
    pub bytes: u64,
    pending: Pending,
    /// The source has ended.
    ended: bool,
    /// The sink takes nothing any more: what comes is thrown away.
    discard: bool,
    /// The last burst was bulk.
    bulk: bool,
}

impl Flow {
    /// Whether the source has ended and everything is handed on.
    #[must_use]
    pub const fn finished(&self) -> bool {
        self.ended && matches!(self.pending, Pending::Nothing)
    }

    /// Whether bytes wait for the sink.
    #[must_use]
    pub const fn blocked(&self) -> bool {
        !matches!(self.pending, Pending::Nothing)
    }

    /// Throws away what waits and everything that still comes.
    pub fn discard(&mut self, tools: &mut Tools) {
        self.discard = true;
        self.release(tools);
    }

    /// Whether the sink was found to take nothing any more.
    #[must_use]
    pub const fn discards(&self) -> bool {
        self.discard
    }

    /// Gives up what the flow holds; call before dropping it.
    pub fn release(&mut self, tools: &mut Tools) {
        if let Pending::Pipe(pipe) = std::mem::take(&mut self.pending) {
            tools.pipes.give_back(*pipe);
        }
    }

    /// Sends bytes that were read elsewhere, and keeps what the sink does not take.
    pub fn begin(&mut self, sink: BorrowedFd<'_>, bytes: &[u8]) -> Pumped {
        self.send(sink, bytes, SendFlags::empty())
    }

    fn send(&mut self, sink: BorrowedFd<'_>, bytes: &[u8], flags: SendFlags) -> Pumped {
        match send_some(sink, bytes, flags) {
            Ok(sent) if sent == bytes.len() => Pumped::Drained,
            Ok(sent) => self.keep(&bytes[sent..]),
            Err(error) => Pumped::SinkFailed(error),
        }
    }

    /// Moves bytes until the source is empty, the sink full, or the budget used. `hangup`:
    /// the source's end was announced. `splice`: whether bulk goes through a pipe.
    pub fn pump(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        hangup: bool,
        splice: bool,
        tools: &mut Tools,
    ) -> Pumped {
        let mut moved = 0;
        let flags = if hangup {
            SendFlags::MORE
        } else {
            SendFlags::empty()
        };
        loop {
            match self.flush(sink, tools) {
                Ok(true) => {}
                Ok(false) => return Pumped::Blocked,
                Err(error) => return Pumped::SinkFailed(error),
            }
            if self.ended {
                return Pumped::Ended;
            }
            if moved >= BUDGET {
                return Pumped::More;
            }
            if splice
                && self.bulk
                && !self.discard
                && let Some(pipe) = tools.pipes.lend()
            {
                match self.splice(source, pipe, tools) {
                    Ok(count) => moved += count,
                    Err(Errno::AGAIN) => {
                        self.bulk = moved > BULK;
                        return Pumped::Drained;
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Pumped::SourceFailed(error),
                }
                continue;
            }
            match recv(source, &mut *tools.buffer, RecvFlags::empty()) {
                Ok((_, 0)) => self.ended = true,
                Ok((_, count)) => {
                    self.bytes += count as u64;
                    moved += count;
                    self.bulk = moved > BULK;
                    if !self.discard {
                        match self.send(sink, &tools.buffer[..count], flags) {
                            Pumped::Drained => {}
                            stopped => return stopped,
                        }
                    }
                    if count < tools.buffer.len() && !hangup {
                        return Pumped::Drained;
                    }
                }
                Err(Errno::AGAIN) => return Pumped::Drained,
                Err(Errno::INTR) => {}
                Err(error) => return Pumped::SourceFailed(error),
            }
        }
    }

    /// Fills the pipe from the source and leaves it pending; an empty one goes back.
    fn splice(
        &mut self,
        source: BorrowedFd<'_>,
        mut pipe: Box<Pipe>,
        tools: &mut Tools,
    ) -> Result<usize, Errno> {
        let result = pipe.fill(source);
        match result {
            Ok(count) if count > 0 => {
                self.bytes += count as u64;
                self.pending = Pending::Pipe(pipe);
                return Ok(count);
            }
            Ok(_) => self.ended = true,
            Err(_) => {}
        }
        tools.pipes.give_back(*pipe);
        result
    }

    /// Hands on what waits; false when the sink is full.
    fn flush(&mut self, sink: BorrowedFd<'_>, tools: &mut Tools) -> Result<bool, Errno> {
        loop {
            let result = match &mut self.pending {
                Pending::Nothing => return Ok(true),
                Pending::Bytes(leftover) => {
                    let result =
                        send_some(sink, &leftover.bytes[leftover.sent..], SendFlags::empty());
                    if let Ok(sent) = result {
                        leftover.sent += sent;
                        if leftover.sent < leftover.bytes.len() {
                            return Ok(false);
                        }
                        self.pending = Pending::Nothing;
                    }
                    result
                }
                Pending::Pipe(pipe) => {
                    let result = pipe.drain(sink);
                    if pipe.is_empty() {
                        self.release(tools);
                    }
                    result
                }
            };
            match result {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Pumped {
        self.pending = Pending::Bytes(Box::new(Leftover {
            bytes: bytes.into(),
            sent: 0,
        }));
        Pumped::Blocked
    }
}

/// Sends what fits; 0 when the socket is full.
fn send_some(sink: BorrowedFd<'_>, bytes: &[u8], flags: SendFlags) -> Result<usize, Errno> {
    loop {
        match send(sink, bytes, flags | SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            other => return other,
        }
    }
}
