//! What holds for every packet that the supervisor's socket may bring. The fuzzing target and
//! the tests share this file.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::OnceLock;

use cloister_door::confine::reach::Reach;
use cloister_door::runtime::Runtime;
use cloister_door::snapshot::Books;
use cloister_proto::messages::door::{Reply, Request, Snapshot};
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
