//! The connection log: one JSON line each to standard output.
//!
//! The data path never waits for the log's reader. A worker collects the lines of one batch
//! of events and hands them to the [`Sink`] that all workers share; the sink writes what it
//! can without blocking and keeps at most [`KEEP`] bytes of the rest. Lines beyond are
//! dropped, whole, and counted.
//!
//! Standard output may be shared with other programs, whose writes must not suddenly fail
//! with `EAGAIN`; so `O_NONBLOCK` is never set on what was inherited. A pipe, FIFO or terminal
//! is opened anew through /proc/self/fd/1, which gives an open file description of its own;
//! sockets have `MSG_DONTWAIT`; a regular file does not block. Where /proc is missing the sink
//! asks poll(2) first and writes at most `PIPE_BUF` bytes, which a pipe with room takes at
//! once. A writer thread would do without these cases, but wakes up for every batch.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloister_proto::messages::door::ConnectionRecord;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::stats::Counter;

/// Unwritten bytes kept for a slow reader.
const KEEP: usize = 256 * 1024;

/// A write of at most this many bytes to a pipe with room does not block (pipe(7)).
const PIPE_BUF: usize = 4096;

/// How to write without blocking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Own,
    Socket,
    Polled,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: Vec<u8>,
    written: usize,
}

/// Where all workers' lines go.
#[derive(Debug)]
pub struct Sink {
    output: OwnedFd,
    manner: Manner,
    backlog: Mutex<Backlog>,
    /// Lines dropped.
    pub lost: Counter,
}

impl Sink {
    /// A sink that writes to (a duplicate of) this descriptor. To be made before the
    /// process gives up its user: opening a pipe anew asks for permission.
    ///
    /// # Errors
    ///
    /// Those of fstat(2) and fcntl(2).
    pub fn new(output: impl AsFd) -> io::Result<Arc<Self>> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&output)?.st_mode);
        let duplicate = || rustix::io::fcntl_dupfd_cloexec(&output, 3);
        let (output, manner) = match kind {
            FileType::Socket => (duplicate()?, Manner::Socket),
            FileType::RegularFile => (duplicate()?, Manner::Own),
            _ => match open_anew(&output) {
                Ok(opened) => (opened, Manner::Own),
                Err(_) => (duplicate()?, Manner::Polled),
            },
        };
        Ok(Arc::new(Self {
            output,
            manner,
            backlog: Mutex::default(),
            lost: Counter::default(),
        }))
    }

    /// Takes a batch of whole lines; true when unwritten bytes remain.
    fn take(&self, lines: &mut Vec<u8>) -> bool {
        let mut backlog = self.lock();
        let unwritten = backlog.bytes.len() - backlog.written;
        if unwritten + lines.len() > KEEP {
            let dropped = lines.iter().filter(|byte| **byte == b'\n').count();
            self.lost.add(dropped as u64);
            lines.clear();
        }
        backlog.bytes.append(lines);
        self.write(&mut backlog)
    }

    /// Writes what goes without blocking; true when something remains.
    fn write(&self, backlog: &mut Backlog) -> bool {
        while backlog.written < backlog.bytes.len() {
            match self.write_some(&backlog.bytes[backlog.written..]) {
                Ok(count) if count > 0 => backlog.written += count,
                Err(Errno::INTR) => {}
                Ok(_) | Err(Errno::AGAIN) => return true,
                // The reader is gone: so are the lines.
                Err(_) => {
                    let rest = &backlog.bytes[backlog.written..];
                    let dropped = rest.iter().filter(|byte| **byte == b'\n').count();
                    self.lost.add(dropped as u64);
                    break;
                }
            }
        }
        *backlog = Backlog::default();
        false
    }

    fn write_some(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.manner {
            Manner::Own => rustix::io::write(&self.output, bytes),
            Manner::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                send(&self.output, bytes, flags)
            }
            Manner::Polled => {
                if !self.poll(0)? {
                    return Err(Errno::AGAIN);
                }
                let piece = &bytes[..bytes.len().min(PIPE_BUF)];
                rustix::io::write(&self.output, piece)
            }
        }
    }

    fn poll(&self, millis: i64) -> Result<bool, Errno> {
        let mut waiting = [PollFd::new(&self.output, PollFlags::OUT)];
        let timeout = Timespec {
            tv_sec: millis / 1000,
            tv_nsec: millis % 1000 * 1_000_000,
        };
        Ok(poll(&mut waiting, Some(&timeout))? > 0)
    }

    /// Gives a slow reader one more second; for the end of the program.
    pub fn finish(&self) {
        let mut backlog = self.lock();
        for _ in 0..10 {
            if !self.write(&mut backlog) {
                return;
            }
            let _ = self.poll(100);
        }
        let rest = &backlog.bytes[backlog.written..];
        let dropped = rest.iter().filter(|byte| **byte == b'\n').count();
        self.lost.add(dropped as u64);
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_anew(output: &impl AsFd) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", output.as_fd().as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// One worker's end of the log.
#[derive(Debug)]
pub struct Log {
    sink: Arc<Sink>,
    lines: Vec<u8>,
    waiting: bool,
}

impl Log {
    /// A worker's end.
    #[must_use]
    pub const fn new(sink: Arc<Sink>) -> Self {
        Self {
            sink,
            lines: Vec::new(),
            waiting: false,
        }
    }

    /// Adds a line to this batch.
    pub fn write(&mut self, record: &ConnectionRecord) {
        let before = self.lines.len();
        match serde_json::to_writer(&mut self.lines, record) {
            Ok(()) => self.lines.push(b'\n'),
            Err(_) => {
                self.lines.truncate(before);
                self.sink.lost.add(1);
            }
        }
    }

    /// Hands the batch over. Never blocks.
    pub fn flush(&mut self) {
        if self.waiting || !self.lines.is_empty() {
            self.waiting = self.sink.take(&mut self.lines);
            self.lines = Vec::new();
        }
    }

    /// Whether the reader is behind, so that [`Log::flush`] is to be called again.
    #[must_use]
    pub const fn waiting(&self) -> bool {
        self.waiting
    }
}
