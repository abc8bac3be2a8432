//! What holds for every packet that the supervisor's socket may bring. The fuzzing target and
//! the tests share this file.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::OnceLock;

use cloister_door::confine::reach::Reach;
use cloister_door::hold::{Holder, Outcome};
use cloister_door::runtime::Runtime;
use cloister_door::snapshot::Books;
use cloister_proto::messages::door::{Reply, Request, Snapshot};
use cloister_proto::messages::holder::{Answer, Order};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use serde::{Serialize, de::DeserializeOwned};

/// What is read can be written, and read again as the same; a snapshot is taken whole or
/// refused with a reason, and a refused one leaves no trace.
pub fn message(bytes: &[u8]) {
    repeatable::<Request>(bytes);
    repeatable::<Reply>(bytes);
    if let Some(snapshot) = repeatable::<Snapshot>(bytes) {
        // Either is right for some snapshot.
        let _ = build(&snapshot);
    }
}

/// What is read can be written, and read again as the same. The holder does what an order says
/// and nothing else: whatever is none ends the conversation and loses nothing.
pub fn holder_message(bytes: &[u8]) {
    repeatable::<Answer>(bytes);
    let order = repeatable::<Order>(bytes);
    let stored = |name: &str| Order::Store {
        name: name.to_owned(),
        record: "a record".to_owned(),
    };
    let mut packets = vec![serde_json::to_vec(&stored("kept")).expect("plain")];
    // One of no bytes is the end.
    packets.extend((!bytes.is_empty()).then(|| bytes.to_vec()));
    let (supervisor, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .expect("a pair");
    for packet in &packets {
        // What is too long for the socket nobody can send.
        if send(
            &supervisor,
            packet,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )
        .is_err()
        {
            return;
        }
    }
    // The end comes after what was sent; answers that nobody reads stay in the socket.
    rustix::net::shutdown(&supervisor, rustix::net::Shutdown::Write).expect("a socket");
    let mut holder = Holder::default();
    let outcome = holder.serve(theirs.as_fd());
    let (mut expected, mut end) = (vec!["kept".to_owned()], Outcome::Gone);
    match order {
        Some(Order::Store { name, .. }) if name != "kept" => {
            expected.push(name);
            expected.sort();
        }
        Some(Order::Forget { name }) => expected.retain(|one| *one != name),
        Some(Order::End {}) => end = Outcome::Over,
        Some(Order::Store { .. } | Order::List {}) | None => {}
    }
    assert_eq!(outcome, end);
    assert_eq!(holder.names().collect::<Vec<_>>(), expected);
}

fn repeatable<T>(bytes: &[u8]) -> Option<T>
where
    T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug,
{
    let value: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, value, "writing and reading changes nothing");
    Some(value)
}

/// Whether it is taken, or why not.
pub fn build(snapshot: &Snapshot) -> Result<(), String> {
    // All targets but names, which would start a resolver's thread each.
    let mut books = Books::new(Reach {
        abstract_names: true,
        tcp: true,
        vsock: true,
        names: false,
    });
    let untouched = format!("{books:?}");
    match books.build(snapshot, descriptors(), &Runtime::default()) {
        Ok(runtime) => {
            assert_eq!(runtime.generation, snapshot.generation);
            assert_eq!(runtime.listeners.len(), snapshot.listeners.len());
            Ok(())
        }
        Err(reason) => {
            assert!(!reason.is_empty(), "a refusal has a reason");
            assert_eq!(
                format!("{books:?}"),
                untouched,
                "a refused snapshot leaves no trace"
            );
            Err(reason)
        }
    }
}

/// Two listening sockets, a directory and a file: what a supervisor passes, and what it should
/// not. The caller owns the copies.
fn descriptors() -> Vec<OwnedFd> {
    static KEPT: OnceLock<Vec<OwnedFd>> = OnceLock::new();
    let kept = KEPT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let listener =
            |name| UnixListener::bind(folder.path().join(name)).expect("a listening socket");
        vec![
            listener("one").into(),
            listener("two").into(),
            File::open(folder.path()).expect("the folder").into(),
            File::open("/dev/null").expect("a device").into(),
        ]
    });
    kept.iter()
        .map(|descriptor| descriptor.try_clone().expect("a free descriptor"))
        .collect()
}
