//! The connection log: one JSON line each to standard output.
//!
//! The data path never waits for the log's reader. A worker collects the lines of one batch
//! of events and hands them to the [`Sink`] that all workers share; the sink writes what it
//! can without blocking and keeps at most `KEEP` bytes of the rest. Lines beyond are
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
use std::time::Duration;

use cloister_proto::messages::door::ConnectionRecord;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::clock::Moment;
use crate::stats::Counter;

/// Unwritten bytes kept for a slow reader.
const KEEP: usize = 256 * 1024;

/// A write of at most this many bytes to a pipe with room does not block (pipe(7)).
const PIPE_BUF: usize = 4096;

/// What a worker's buffer keeps of a busy batch.
const LINES: usize = 16 * 1024;

/// How long the end of the program waits for a slow reader.
const PARTING: Duration = Duration::from_secs(1);

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

impl Backlog {
    const fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.written);
        self.written = 0;
        self.bytes.extend_from_slice(bytes);
    }
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
        if backlog.is_empty() {
            let written = self.write(lines);
            backlog.keep(&lines[written..]);
        } else {
            if backlog.rest().len() + lines.len() > KEEP {
                self.lose(lines);
            } else {
                backlog.keep(lines);
            }
            self.work_off(&mut backlog);
        }
        lines.clear();
        !backlog.is_empty()
    }

    fn work_off(&self, backlog: &mut Backlog) {
        backlog.written += self.write(backlog.rest());
        if backlog.is_empty() {
            *backlog = Backlog::default();
        }
    }

    /// Writes what goes without blocking and returns how much is done with.
    fn write(&self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.write_some(&bytes[written..]) {
                Ok(count) if count > 0 => written += count,
                Err(Errno::INTR) => {}
                Ok(_) | Err(Errno::AGAIN) => break,
                // The reader is gone: so are the lines.
                Err(_) => {
                    self.lose(&bytes[written..]);
                    return bytes.len();
                }
            }
        }
        written
    }

    fn lose(&self, bytes: &[u8]) {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.lost.add(lines as u64);
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

    /// Gives a slow reader `PARTING` more; for the end of the program.
    pub fn finish(&self) {
        let mut backlog = self.lock();
        let until = Moment::now().after(PARTING);
        loop {
            self.work_off(&mut backlog);
            if backlog.is_empty() {
                return;
            }
            if Moment::now() >= until {
                break;
            }
            let _ = self.poll(100);
        }
        self.lose(backlog.rest());
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
            self.lines.shrink_to(LINES);
        }
    }

    /// Whether the reader is behind, so that [`Log::flush`] is to be called again.
    #[must_use]
    pub const fn waiting(&self) -> bool {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloister_proto::messages::door::Outcome;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    fn record(number: u64) -> ConnectionRecord {
        ConnectionRecord {
            time_us: number,
            listener: "https".to_owned(),
            client: "192.0.2.1:4711".to_owned(),
            name: Some("one.example".to_owned()),
            alpn: vec!["h2".to_owned()],
            app: None,
            target: None,
            bytes_to_target: 0,
            bytes_to_client: 0,
            duration_us: 1,
            outcome: Outcome::Complete,
            reason: None,
        }
    }

    /// Writes more than anybody keeps to a reader that does not read, then reads: every line
    /// is whole, in order, and was either written or counted.
    fn flood(sink: &Arc<Sink>, mut reader: impl Read) {
        let number = 20_000;
        let mut log = Log::new(Arc::clone(sink));
        for index in 0..number {
            log.write(&record(index));
            log.flush();
        }
        assert!(log.waiting());
        let finisher = Arc::clone(sink);
        // A reader in time still gets the rest.
        let end = std::thread::spawn(move || finisher.finish());
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        let mut lines = 0;
        while lines + sink.lost.get() < number {
            let count = reader.read(&mut buffer).expect("more");
            lines += buffer[..count].iter().filter(|b| **b == b'\n').count() as u64;
            bytes.extend_from_slice(&buffer[..count]);
        }
        end.join().expect("the thread ends");
        assert!(sink.lost.get() > 0);
        let text = String::from_utf8(bytes).expect("JSON");
        let mut last = None;
        for line in text.lines() {
            let record: ConnectionRecord = serde_json::from_str(line).expect("a whole line");
            assert!(last < Some(record.time_us));
            last = Some(record.time_us);
        }
    }

    #[test]
    fn a_slow_pipe_loses_whole_lines_and_counts_them() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let sink = Sink::new(&writer).expect("a sink");
        assert_eq!(sink.manner, Manner::Own);
        let flags = rustix::fs::fcntl_getfl(&writer).expect("open");
        assert!(
            !flags.contains(OFlags::NONBLOCK),
            "it is shared with others"
        );
        flood(&sink, reader);
    }

    #[test]
    fn a_slow_socket_loses_whole_lines_and_counts_them() {
        let (reader, writer) = UnixStream::pair().expect("a pair");
        let sink = Sink::new(&writer).expect("a sink");
        assert_eq!(sink.manner, Manner::Socket);
        flood(&sink, reader);
    }

    #[test]
    fn without_proc_a_slow_pipe_does_not_block_either() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let sink = Arc::new(Sink {
            output: writer.into(),
            manner: Manner::Polled,
            backlog: Mutex::default(),
            lost: Counter::default(),
        });
        flood(&sink, reader);
    }

    #[test]
    fn a_reader_that_is_gone_costs_nothing_but_its_lines() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let sink = Sink::new(&writer).expect("a sink");
        drop(reader);
        let mut log = Log::new(Arc::clone(&sink));
        log.write(&record(1));
        log.flush();
        assert!(!log.waiting());
        assert_eq!(sink.lost.get(), 1);
    }
}
