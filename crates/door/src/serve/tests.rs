//! The supervisor's protocol against a server in this process.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

use cloister_proto::messages::door::{self, Statistics};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, sendmsg, socketpair, sockopt,
};

use super::*;
use crate::spin::Spin;

struct Supervisor {
    socket: OwnedFd,
    server: JoinHandle<()>,
    _log: io::PipeReader,
}

impl Supervisor {
    fn start() -> Self {
        let (socket, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair");
        sockopt::set_socket_timeout(
            &socket,
            sockopt::Timeout::Recv,
            Some(Duration::from_secs(20)),
        )
        .expect("set");
        let (log, writer) = io::pipe().expect("a pipe");
        let server = std::thread::spawn(move || {
            // No signal: those are the process's, and other tests are in it.
            let signals = SignalDescriptor::block(&[]).expect("a descriptor");
            let control = Control::new(theirs).expect("a SEQPACKET socket");
            let sink = Sink::new(&writer).expect("a sink");
            let means = Means {
                spin: Spin::new(false),
                descriptors: usize::MAX,
            };
            Server::new(control, signals, sink, means, Reach::default()).serve(Vec::new());
        });
        let supervisor = Self {
            socket,
            server,
            _log: log,
        };
        let Reply::Ready { protocol, .. } = supervisor.reply() else {
            panic!("the first packet says ready");
        };
        assert_eq!(protocol, PROTOCOL);
        supervisor
    }

    fn reply(&self) -> Reply {
        let mut bytes = vec![0; 1 << 16];
        let (_, count) = recv(&self.socket, &mut bytes[..], RecvFlags::empty()).expect("a reply");
        serde_json::from_slice(&bytes[..count]).expect("a reply")
    }

    fn send(&self, text: &[u8], descriptors: &[OwnedFd]) {
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !borrowed.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
        }
        let pieces = [IoSlice::new(text)];
        sendmsg(&self.socket, &pieces, &mut control, SendFlags::empty()).expect("sent");
    }

    fn ask(&self, request: &Request, descriptors: &[OwnedFd]) -> Reply {
        let text = serde_json::to_vec(request).expect("plain");
        self.send(&text, descriptors);
        self.reply()
    }

    /// Applies a snapshot whose listeners' descriptors were sent before or are sent now.
    fn apply(&self, id: u64, snapshot: &door::Snapshot, mut descriptors: Vec<OwnedFd>) -> Reply {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&serde_json::to_vec(snapshot).expect("plain"))
            .expect("written");
        descriptors.push(file.into());
        let place = descriptors.len() - 1;
        let request = Request::Apply {
            id,
            snapshot: place,
        };
        self.ask(&request, &descriptors)
    }

    fn stats(&self) -> Statistics {
        let Reply::Stats { id: 77, stats } = self.ask(&Request::Stats { id: 77 }, &[]) else {
            panic!("statistics");
        };
        stats
    }

    fn end(self) {
        drop(self.socket);
        self.server.join().expect("the server ends");
    }
}

fn listener() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").expect("bound").into()
}

fn snapshot(generation: u64, listeners: usize) -> door::Snapshot {
    let listener = |descriptor: usize| door::Listener {
        name: format!("listener-{descriptor}"),
        address: "127.0.0.1:0".to_owned(),
        descriptor,
        route: door::Route::ServerName { directory: None },
        accept_proxy: Vec::new(),
        limits: door::Limits {
            connections: 0,
            connections_per_client: 0,
            connections_per_host: 0,
            hello_timeout_ms: 1000,
            connect_timeout_ms: 1000,
            idle_timeout_ms: 0,
        },
        keepalive: None,
    };
    door::Snapshot {
        generation,
        workers: 2,
        log_connections: false,
        listeners: (0..listeners).map(listener).collect(),
        hosts: Vec::new(),
    }
}

#[test]
fn snapshots_replace_each_other_and_wrong_ones_change_nothing() {
    let supervisor = Supervisor::start();
    assert_eq!(supervisor.stats().workers, 0);
    let reply = supervisor.apply(1, &snapshot(5, 1), vec![listener()]);
    assert_eq!(
        reply,
        Reply::Applied {
            id: 1,
            generation: 5
        }
    );
    let Reply::Refused { id: 2, reason } = supervisor.apply(2, &snapshot(6, 2), vec![listener()])
    else {
        panic!("refused");
    };
    assert!(reason.contains("listeners[1]"), "{reason}");
    let stats = supervisor.stats();
    assert_eq!((stats.generation, stats.workers), (5, 2));
    assert_eq!(stats.listeners.len(), 1);
    supervisor.end();
}

#[test]
fn descriptors_may_come_before_and_are_consumed_once() {
    let supervisor = Supervisor::start();
    let first = [listener(), listener()];
    let reply = supervisor.ask(&Request::Descriptors { id: 1 }, &first);
    assert_eq!(reply, Reply::Received { id: 1 });
    let mut file = tempfile::tempfile().expect("a file");
    let text = serde_json::to_vec(&snapshot(1, 2)).expect("plain");
    file.write_all(&text).expect("written");
    let request = Request::Apply { id: 2, snapshot: 2 };
    let reply = supervisor.ask(&request, &[file.into()]);
    assert!(matches!(reply, Reply::Applied { id: 2, .. }), "{reply:?}");
    let reply = supervisor.ask(&Request::Apply { id: 3, snapshot: 0 }, &[]);
    assert!(matches!(reply, Reply::Refused { id: 3, .. }), "{reply:?}");
    supervisor.end();
}

#[test]
fn what_is_no_request_is_refused_and_survived() {
    let supervisor = Supervisor::start();
    let long = vec![b' '; (64 << 10) + 1];
    for text in [b"{".as_slice(), b"{\"type\":\"dance\",\"id\":1}", &long] {
        supervisor.send(text, &[]);
        let Reply::Refused { id: 0, reason } = supervisor.reply() else {
            panic!("refused");
        };
        assert!(!reason.is_empty());
    }
    let file = tempfile::tempfile().expect("a file");
    let request = Request::Apply { id: 4, snapshot: 0 };
    let Reply::Refused { id: 4, reason } = supervisor.ask(&request, &[file.into()]) else {
        panic!("refused");
    };
    assert!(reason.contains("snapshot"), "{reason}");
    supervisor.end();
}

#[test]
fn a_drain_is_answered_and_ends_the_server() {
    let supervisor = Supervisor::start();
    supervisor.apply(1, &snapshot(1, 1), vec![listener()]);
    let request = Request::Drain {
        id: 9,
        deadline_ms: 50,
    };
    let reply = supervisor.ask(&request, &[]);
    assert_eq!(reply, Reply::Draining { id: 9, active: 0 });
    supervisor.server.join().expect("the server ends");
}
