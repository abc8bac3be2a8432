//! What is refused as a specification.

mod support;

use std::io::Write;
use std::os::fd::OwnedFd;

use cloister_cell::specification::{LIMIT, problems, read};
use cloister_proto::messages::cell::{Content, Descriptor, File, Spec};
use support::{bare, bind, full};

/// The only problem of the full specification after a change.
fn problem(change: impl FnOnce(&mut Spec)) -> String {
    let mut spec = full();
    change(&mut spec);
    let mut found = problems(&spec);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn from_file(content: &[u8]) -> OwnedFd {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(content).expect("written");
    std::io::Seek::rewind(&mut file).expect("rewound");
    file.into()
}

#[test]
fn what_is_right_is_read_as_it_is() {
    for spec in [full(), bare()] {
        assert_eq!(problems(&spec), Vec::<String>::new());
        let text = serde_json::to_vec(&spec).expect("JSON");
        assert_eq!(read(from_file(&text)), Ok(spec));
    }
}

#[test]
fn host_root_is_refused() {
    assert!(problem(|spec| spec.identity.host_uid = 0).contains("identity.host_uid is 0"));
    assert!(problem(|spec| spec.identity.host_gid = 0).contains("identity.host_gid is 0"));
    // User 0 inside is an ordinary user of the host.
    let mut spec = full();
    spec.identity.uid = 0;
    assert_eq!(problems(&spec), Vec::<String>::new());
}

#[test]
fn the_id_that_is_none_is_refused() {
    assert!(problem(|spec| spec.identity.uid = u32::MAX).contains("identity.uid"));
    assert!(problem(|spec| spec.identity.gid = u32::MAX).contains("identity.gid"));
    assert!(problem(|spec| spec.identity.host_uid = u32::MAX).contains("identity.host_uid"));
    assert!(problem(|spec| spec.identity.host_gid = u32::MAX).contains("identity.host_gid"));
}

#[test]
fn paths_that_leave_the_root_are_refused() {
    for path in [
        "", "/", "usr", "/a/../b", "/a/..", "/./a", "//a", "/a/", "/a\0b",
    ] {
        let why = problem(|spec| spec.filesystem.binds.push(bind("/usr", path)));
        assert!(why.starts_with("binds: "), "{path:?}: {why}");
        let why = problem(|spec| spec.filesystem.temporary[0].path = path.into());
        assert!(why.starts_with("temporary: "), "{path:?}: {why}");
        let why = problem(|spec| spec.filesystem.files[0].path = path.into());
        assert!(why.starts_with("files: "), "{path:?}: {why}");
        let why = problem(|spec| spec.filesystem.links[0].path = path.into());
        assert!(why.starts_with("links: "), "{path:?}: {why}");
    }
    assert!(problem(|spec| spec.filesystem.binds[0].source = "srv".into()).contains("source"));
}

#[test]
fn modes_that_give_privileges_are_refused() {
    assert!(problem(|spec| spec.filesystem.files[0].mode = 0o4755).contains("mode"));
    assert!(problem(|spec| spec.filesystem.temporary[0].mode = 0o2777).contains("mode"));
    assert!(problem(|spec| spec.filesystem.temporary[0].size_bytes = 0).contains("size"));
}

#[test]
fn each_descriptor_is_handed_over_once() {
    let socket = |number| Descriptor {
        name: "x".into(),
        descriptor: number,
    };
    assert!(problem(|spec| spec.descriptors.push(socket(7))).contains("7 stands twice"));
    // 8 is the credential's.
    assert!(problem(|spec| spec.descriptors.push(socket(8))).contains("8 stands twice"));
    assert!(problem(|spec| spec.descriptors.push(socket(2))).contains("standard stream"));
    assert!(problem(|spec| spec.descriptors.push(socket(-1))).contains("standard stream"));
    assert!(problem(|spec| spec.descriptors[0].name = "a:b".into()).contains("LISTEN_FDNAMES"));
    let many = problem(|spec| spec.descriptors = (10..264).map(socket).collect());
    assert!(many.contains("more than 253"));
}

#[test]
fn programs_and_variables_that_are_none_are_refused() {
    assert!(problem(|spec| spec.command.clear()).contains("command"));
    assert!(problem(|spec| spec.command[0].clear()).contains("command[0]"));
    assert!(problem(|spec| spec.command[1] = "a\0b".into()).contains("NUL"));
    assert!(problem(|spec| spec.name = "a/b".into()).contains("name"));
    assert!(problem(|spec| spec.hostname = "a b".into()).contains("hostname"));
    assert!(problem(|spec| spec.hostname = "x".repeat(65)).contains("hostname"));
    assert!(problem(|spec| spec.working_directory = "a".into()).contains("working_directory"));
    assert!(problem(|spec| spec.filesystem.links[0].target = String::new()).contains("links"));
    let why = problem(|spec| spec.environment[0].value = "secret\0".into());
    assert!(why.contains("TOKEN") && !why.contains("secret"));
    for name in ["", "A=B", "A\0"] {
        assert!(problem(|spec| spec.environment[0].name = name.into()).contains("environment"));
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let mut spec = full();
    spec.command.clear();
    spec.identity.host_uid = 0;
    spec.filesystem.files.push(File {
        path: "x".into(),
        mode: 0,
        content: Content::Text {
            text: String::new(),
        },
    });
    let failure = read(from_file(&serde_json::to_vec(&spec).expect("JSON"))).expect_err("refused");
    assert_eq!(failure.step, "check-spec");
    assert_eq!(failure.description.matches(';').count(), 2);
}

#[test]
fn what_is_too_large_is_not_parsed() {
    let mut text = serde_json::to_vec(&full()).expect("JSON");
    let limit = usize::try_from(LIMIT).expect("small");
    text.resize(limit, b' ');
    assert!(read(from_file(&text)).is_ok());
    text.push(b' ');
    let failure = read(from_file(&text)).expect_err("too large");
    assert_eq!((failure.step.as_str(), failure.errno), ("read-spec", 27));
}
