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
//! or one pipe of a stalled peer's bytes, and the source's own window closes. All directions
//! of a worker together hold at most `KEPT` and one buffer, and `SMALL` for each stalled
//! peer beyond: thousands of them are no way to its memory.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::bulk::Costs;
use crate::pipes::{Pipe, PipePool};

/// The bytes of one thread buffer.
pub const BUFFER: usize = 256 * 1024;

/// More than this in one burst is bulk, which is spliced where that pays.
const BULK: usize = 64 * 1024;

/// After this many bytes a pump yields, so that one fast pair of peers starves nobody.
const BUDGET: usize = 1 << 20;

/// What a worker keeps for stalled sinks before it reads less at once.
const KEPT: usize = 16 << 20;

/// The most that is then read, and kept for one more sink.
const SMALL: usize = 16 * 1024;

/// What every connection of one worker shares to move bytes.
#[derive(Debug)]
pub struct Tools {
    /// The thread buffer of [`BUFFER`] bytes.
    pub buffer: Box<[u8]>,
    /// The worker's pipes.
    pub pipes: PipePool,
    /// Bytes that all flows of the worker keep for sinks that do not take them.
    pub kept: usize,
    /// What bulk out of Unix sockets costs.
    pub costs: Costs,
}

impl Tools {
    /// A buffer, and a pool that lends at most `pipes` pipes.
    #[must_use]
    pub fn new(pipes: usize) -> Self {
        Self {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            pipes: PipePool::new(pipes),
            kept: 0,
            costs: Costs::default(),
        }
    }

    /// How much to read at once. Where stalled peers have made the worker keep much already,
    /// each further one gets little.
    const fn reading(&self) -> usize {
        if self.kept < KEPT { BUFFER } else { SMALL }
    }
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
    /// Whether the sink's send buffer was made wide, which counts in the pool until the flow
    /// is over; `None` before the first bulk.
    wide: Option<bool>,
    /// What the sink had not acknowledged at the last look; 0 before the first one.
    unacknowledged: u32,
}

impl Flow {
    /// Whether the last burst was bulk.
    #[must_use]
    pub const fn bulk(&self) -> bool {
        self.bulk
    }

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

    /// Gives up what the flow holds, for good; call before dropping it.
    pub fn release(&mut self, tools: &mut Tools) {
        self.drop_pending(tools);
        if self.wide.take() == Some(true) {
            tools.pipes.narrow();
        }
    }

    fn drop_pending(&mut self, tools: &mut Tools) {
        match std::mem::take(&mut self.pending) {
            Pending::Nothing => {}
            Pending::Bytes(leftover) => tools.kept -= leftover.bytes.len(),
            Pending::Pipe(pipe) => tools.pipes.give_back(*pipe),
        }
    }

    /// Whether the sink has acknowledged something since the last look, now that `left` bytes
    /// are on their way to it. True at the first look, where nothing is known yet.
    pub fn look(&mut self, left: usize) -> bool {
        let before = self.unacknowledged;
        self.unacknowledged = u32::try_from(left).unwrap_or(u32::MAX);
        self.unacknowledged < before || (before == 0 && left > 0)
    }

    /// The next look is a first one.
    pub const fn forget_look(&mut self) {
        self.unacknowledged = 0;
    }

    /// Sends bytes that were read elsewhere, and keeps what the sink does not take.
    pub fn begin(&mut self, sink: BorrowedFd<'_>, bytes: &[u8], tools: &mut Tools) -> Pumped {
        match send_some(sink, bytes, SendFlags::empty()) {
            Ok(sent) if sent == bytes.len() => Pumped::Drained,
            Ok(sent) => self.keep(&bytes[sent..], &mut tools.kept),
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
                self.wide.get_or_insert_with(|| tools.pipes.widen(sink));
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
            let reading = tools.reading();
            match recv(source, &mut tools.buffer[..reading], RecvFlags::empty()) {
                Ok((_, 0)) => self.ended = true,
                Ok((_, count)) => {
                    self.bytes += count as u64;
                    moved += count;
                    self.bulk = moved > BULK;
                    if !self.discard {
                        let bytes = &tools.buffer[..count];
                        match send_some(sink, bytes, flags) {
                            Ok(sent) if sent == count => {}
                            Ok(sent) => return self.keep(&bytes[sent..], &mut tools.kept),
                            Err(error) => return Pumped::SinkFailed(error),
                        }
                    }
                    if count < reading && !hangup {
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
                        self.drop_pending(tools);
                    }
                    result
                }
                Pending::Pipe(pipe) => {
                    let result = pipe.drain(sink);
                    if pipe.is_empty() {
                        self.drop_pending(tools);
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

    fn keep(&mut self, bytes: &[u8], kept: &mut usize) -> Pumped {
        *kept += bytes.len();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    /// A flow whose sink takes nothing, pumped from a source with more than a buffer of bytes.
    fn stalled(tools: &mut Tools) -> (Flow, [UnixStream; 4]) {
        let pair = || UnixStream::pair().expect("a pair");
        let ((mut sender, source), (sink, receiver)) = (pair(), pair());
        sender.set_nonblocking(true).expect("set");
        source.set_nonblocking(true).expect("set");
        sink.set_nonblocking(true).expect("set");
        while (&sink).write(&[0; 4096]).is_ok() {}
        while sender.write(&[1; 4096]).is_ok() {}
        let mut flow = Flow::default();
        let pumped = flow.pump(source.as_fd(), sink.as_fd(), false, false, tools);
        assert_eq!(pumped, Pumped::Blocked);
        (flow, [sender, source, sink, receiver])
    }

    #[test]
    fn many_stalled_sinks_get_little_each() {
        let mut tools = Tools::new(0);
        let (mut first, sockets) = stalled(&mut tools);
        assert!(tools.kept > SMALL);
        drop(sockets);
        tools.kept += KEPT;
        let before = tools.kept;
        let (mut second, _sockets) = stalled(&mut tools);
        assert!(tools.kept > before && tools.kept - before <= SMALL);
        tools.kept -= KEPT;
        first.release(&mut tools);
        second.release(&mut tools);
        assert_eq!(tools.kept, 0);
    }

    #[test]
    fn what_a_sink_takes_later_is_kept_no_longer() {
        use std::io::Read;
        let mut tools = Tools::new(0);
        let (mut flow, [_sender, source, sink, mut receiver]) = stalled(&mut tools);
        receiver.set_nonblocking(true).expect("set");
        let mut buffer = [0; 65536];
        let (mut zeros, mut ones) = (0u64, 0u64);
        while zeros == 0 || tools.kept > 0 || ones < flow.bytes {
            while let Ok(count) = receiver.read(&mut buffer) {
                ones += buffer[..count]
                    .iter()
                    .map(|byte| u64::from(*byte))
                    .sum::<u64>();
                zeros += 1;
            }
            let pumped = flow.pump(source.as_fd(), sink.as_fd(), false, false, &mut tools);
            assert!(matches!(pumped, Pumped::Blocked | Pumped::Drained));
        }
        assert_eq!((tools.kept, ones), (0, flow.bytes));
    }
}
