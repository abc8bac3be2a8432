//! Orders of project quotas: read, refused, obeyed as far as that needs no quotas.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::{Seek, Write};

use cloister_cell::disk;
use cloister_proto::messages::disk::{Action, Answer, DiskOrder, Kind};

fn read(text: &[u8]) -> Result<DiskOrder, String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    file.rewind().unwrap();
    disk::read(file.into())
}

fn obey(actions: Vec<Action>) -> (bool, Vec<Answer>) {
    let mut answers = Vec::new();
    let done = disk::obey(&DiskOrder { actions }, &mut answers).unwrap();
    let lines = std::str::from_utf8(&answers).unwrap().lines();
    (
        done,
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

fn look(path: &str) -> Action {
    Action::Look {
        path: path.into(),
        project: 900_501,
    }
}

#[test]
fn an_order_is_read_whole_or_refused() {
    let text = br#"{"actions":[{"action":"look","path":"/","project":5}]}"#;
    assert_eq!(read(text).unwrap().actions.len(), 1);
    for wrong in [
        &b""[..],
        b"{}",
        br#"{"actions":[{"action":"remove","path":"/"}]}"#,
        br#"{"actions":[{"action":"look","path":"/","project":-1}]}"#,
    ] {
        assert!(read(wrong).unwrap_err().contains("no order"));
    }
    let long = vec![b' '; usize::try_from(disk::LIMIT).unwrap() + 1];
    assert!(read(&long).unwrap_err().contains("larger"));
}

#[test]
fn each_action_has_an_answer_and_a_failure_is_the_last() {
    let (done, answers) = obey(vec![look("/proc"), look("/no/such"), look("/proc")]);
    assert!(!done);
    assert_eq!(answers.len(), 2);
    let Answer::Seen {
        kind,
        accounted,
        enforced,
        ..
    } = answers[0]
    else {
        panic!("{answers:?}");
    };
    assert_eq!((kind, accounted, enforced), (Kind::Folder, false, false));
    let Answer::Failed { path, errno, .. } = &answers[1] else {
        panic!("{answers:?}");
    };
    assert_eq!((path.as_str(), *errno), ("/no/such", 2));
}

#[test]
fn links_on_the_way_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().canonicalize().unwrap();
    File::create(real.join("file")).unwrap();
    std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
    let path = |name: &str| real.join(name).to_str().unwrap().to_owned();
    assert!(obey(vec![look(&path("file"))]).0);
    assert!(!obey(vec![look(&path("link/file"))]).0);
    assert!(!obey(vec![look(&path("link"))]).0);
}
