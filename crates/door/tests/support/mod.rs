//! A door in this process, its clients and its targets, all with deadlines.
#![allow(dead_code)] // Each test file uses a part.

use std::io::{ErrorKind, PipeReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloister_door::admission::Admission;
use cloister_door::admission::trusted::TrustedPeers;
use cloister_door::inherited::listening_socket;
use cloister_door::log::Sink;
use cloister_door::route::Destination;
use cloister_door::route::table::Table;
use cloister_door::runtime::{Limits, Listener, Route, Runtime, Terms};
use cloister_door::spin::Spin;
use cloister_door::stats::ListenerCounters;
use cloister_door::target::Target;
use cloister_door::workers::{Means, Workers};
use cloister_proto::messages::door::{self, ConnectionRecord, SendProxy, Statistics};

/// How long anything in a test may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The one server name that the table knows.
pub const NAME: &str = "one.example";

/// What a test changes.
pub struct Plan {
    pub workers: usize,
    pub limits: Limits,
    /// Who begins with a PROXY header.
    pub trusted: TrustedPeers,
    /// Without looking at the first bytes.
    pub raw: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            workers: 1,
            limits: Limits {
                hello: PATIENCE,
                connect: PATIENCE,
                ..Limits::default()
            },
            trusted: TrustedPeers::default(),
            raw: false,
        }
    }
}

/// A running door with one listener and one target.
pub struct Door {
    pub workers: Workers,
    pub address: SocketAddr,
    pub target: UnixListener,
    pub path: PathBuf,
    pub runtime: Arc<Runtime>,
    records: PipeReader,
    _folder: tempfile::TempDir,
}

impl Door {
    pub fn start(plan: &Plan) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("target");
        let target = UnixListener::bind(&path).expect("bound");
        // A larger queue than the one of std.
        rustix::net::listen(&target, 1024).expect("listens");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        let runtime = Arc::new(runtime(plan, listener, 1, &path));
        let (records, writer) = std::io::pipe().expect("a pipe");
        let sink = Sink::new(&writer).expect("a sink");
        let means = Means {
            spin: Spin::new(true),
            descriptors: usize::MAX,
        };
        let workers = Workers::start(plan.workers, &sink, &means).expect("threads");
        assert!(workers.apply(&runtime));
        Self {
            workers,
            address,
            target,
            path,
            runtime,
            records,
            _folder: folder,
        }
    }

    /// A connected client that has said nothing yet.
    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("connected");
        client.set_read_timeout(Some(PATIENCE)).expect("set");
        client.set_write_timeout(Some(PATIENCE)).expect("set");
        client
    }

    /// A client whose kernel takes hardly more than this before somebody reads.
    pub fn connect_with_receive_buffer(&self, bytes: usize) -> TcpStream {
        use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
        let client = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        // Before connect(2): the window is agreed there.
        sockopt::set_socket_recv_buffer_size(&client, bytes).expect("set");
        connect(&client, &self.address).expect("connected");
        let client = TcpStream::from(client);
        client.set_read_timeout(Some(PATIENCE)).expect("set");
        client
    }

    /// A client and its target, relayed: the hello has arrived.
    pub fn relay(&self) -> (TcpStream, UnixStream) {
        let mut client = self.connect();
        let hello = hello(NAME);
        client.write_all(&hello).expect("sent");
        let mut target = self.accept();
        let mut received = vec![0; hello.len()];
        target.read_exact(&mut received).expect("the hello");
        assert_eq!(received, hello);
        (client, target)
    }

    /// A client whose connection stays in the target's queue.
    pub fn relay_without_accept(&self) -> TcpStream {
        let mut client = self.connect();
        client.write_all(&hello(NAME)).expect("sent");
        wait_for("the hello to be relayed", || {
            (self.statistics().bytes_to_target > 0).then_some(())
        });
        client
    }

    /// The target's end of the next connection.
    pub fn accept(&self) -> UnixStream {
        self.target.set_nonblocking(true).expect("set");
        let target = wait_for("a connection at the target", || self.target.accept().ok());
        let target = target.0;
        target.set_nonblocking(false).expect("set");
        target.set_read_timeout(Some(PATIENCE)).expect("set");
        target.set_write_timeout(Some(PATIENCE)).expect("set");
        target
    }

    /// Returns once the (only) worker has served every event that came before this call.
    pub fn settle(&self) {
        let (mut client, mut target) = self.relay();
        for _ in 0..2 {
            client.write_all(b"?").expect("sent");
            target.read_exact(&mut [0]).expect("relayed");
        }
        drop(client);
        assert_eq!(read_all(&target), b"");
    }

    pub fn statistics(&self) -> Statistics {
        self.workers.statistics(self.runtime.generation)
    }

    /// Waits until no connection is open.
    pub fn wait_idle(&self) {
        wait_for("all connections to end", || {
            (self.workers.active() == 0).then_some(())
        });
    }

    /// Ends the door when its connections have ended, and returns its log.
    pub fn finish(self) -> Vec<ConnectionRecord> {
        self.drain(PATIENCE)
    }

    /// Ends the door at once and returns its log.
    pub fn cut(self) -> Vec<ConnectionRecord> {
        self.drain(Duration::ZERO)
    }

    pub fn drain(self, deadline: Duration) -> Vec<ConnectionRecord> {
        let Self {
            workers,
            mut records,
            ..
        } = self;
        assert!(workers.drain(deadline));
        workers.join();
        let mut text = String::new();
        records.read_to_string(&mut text).expect("the log");
        let line = |line| serde_json::from_str(line).expect("a record");
        text.lines().map(line).collect()
    }
}

/// What is in force: one listener, and one target by name or for everything.
pub fn runtime(plan: &Plan, listener: TcpListener, id: u32, path: &std::path::Path) -> Runtime {
    let target = door::Target::UnixPath {
        path: path.display().to_string(),
    };
    let destination = Arc::new(Destination {
        target: Target::new(&target, door::Balance::RoundRobin).expect("a target"),
        host: NAME.into(),
        send_proxy: SendProxy::None,
        delivery: door::Delivery::Relay,
        app: None,
    });
    let mut table = Table::default();
    table.insert(NAME, Arc::clone(&destination)).expect("new");
    let socket = listening_socket(id, listener.into()).expect("listens");
    let route = if plan.raw {
        Route::Target(destination)
    } else {
        Route::ServerName(None)
    };
    Runtime {
        generation: u64::from(id),
        log_connections: true,
        listeners: vec![Listener {
            socket,
            terms: Arc::new(Terms {
                route,
                limits: plan.limits,
                admission: Admission {
                    trusted: plan.trusted.clone(),
                    ..Admission::default()
                },
                keepalive: None,
                counters: ListenerCounters::new("test", "test"),
                places: None,
            }),
        }],
        table: Arc::new(table),
    }
}

/// Asks until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A small valid ClientHello (RFC 8446 section 4.1.2) in one record.
pub fn hello(name: &str) -> Vec<u8> {
    fn sized<const WIDTH: usize>(content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - WIDTH..], content].concat()
    }
    let server_name = sized::<2>(&[&[0], sized::<2>(name.as_bytes()).as_slice()].concat());
    let extensions = [&[0, 0], sized::<2>(&server_name).as_slice()].concat();
    let body = [
        &[3, 3],
        [7; 32].as_slice(),
        &sized::<1>(&[]),
        &sized::<2>(&[0x13, 0x01]),
        &sized::<1>(&[0]),
        &sized::<2>(&extensions),
    ]
    .concat();
    let message = [&[1], sized::<3>(&body).as_slice()].concat();
    [&[22, 3, 1], sized::<2>(&message).as_slice()].concat()
}

/// Byte `position` of stream `key`: a byte in a wrong place or of a wrong stream differs.
pub fn pattern(key: u64, position: u64) -> u8 {
    let mixed = (position / 8 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(key.wrapping_mul(0xc2b2_ae3d_27d4_eb4f));
    (mixed ^ (mixed >> 29)).to_le_bytes()[usize::try_from(position % 8).expect("small")]
}

/// Sends `length` bytes of a stream in pieces of uneven size.
pub fn send_pattern(mut to: impl Write, key: u64, length: u64) {
    let mut position = 0;
    let mut size = 1;
    let mut piece = Vec::new();
    while position < length {
        let end = (position + size).min(length);
        piece.clear();
        piece.extend((position..end).map(|place| pattern(key, place)));
        to.write_all(&piece).expect("sent");
        position = end;
        size = (size * 3 + 1) % 300_007 + 1;
    }
}

/// Receives a stream to its end and returns its length.
pub fn check_pattern(mut from: impl Read, key: u64) -> u64 {
    let mut buffer = vec![0; 100_003];
    let mut position = 0;
    loop {
        let count = from.read(&mut buffer).expect("received");
        if count == 0 {
            return position;
        }
        for &byte in &buffer[..count] {
            assert_eq!(
                byte,
                pattern(key, position),
                "stream {key}, byte {position}"
            );
            position += 1;
        }
    }
}

/// Reads to the end, which must be a clean one.
pub fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("a clean end");
    bytes
}

/// Reads until the reset that must come, and returns what came before.
pub fn read_until_reset(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let error = from.read_to_end(&mut bytes).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    bytes
}

/// Has the socket's close(2) send a reset.
pub fn reset(client: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).expect("set");
}

pub fn end_writing(socket: &TcpStream) {
    socket.shutdown(Shutdown::Write).expect("connected");
}

/// CPU time of the whole process: tests that ask for it have a file of their own.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).expect("positive"),
        u32::try_from(time.tv_nsec).expect("below a second"),
    )
}

/// Lets half a second pass and demands that the process hardly ran meanwhile: not for an
/// outcome, but long enough that a busy loop would show.
pub fn demand_quiet() {
    let (begin, burnt) = (Instant::now(), cpu_time());
    std::thread::sleep(Duration::from_millis(500));
    let (burnt, elapsed) = (cpu_time() - burnt, begin.elapsed());
    assert!(burnt < elapsed / 10, "{burnt:?} of CPU time in {elapsed:?}");
}
