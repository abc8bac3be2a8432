//! What is refused as a specification.

mod support;

use std::io::Write;
use std::os::fd::OwnedFd;

use cloister_cell::specification::{LIMIT, problems, read};
use cloister_proto::messages::cell::{
    Condition, Content, Descriptor, File, IdRange, Label, Spec, SystemCalls, WayOut,
};
use support::{bare, bind, full, loopback, range};

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
    spec.identity.uid_map = vec![range(0, 500_001, 1)];
    assert_eq!(problems(&spec), Vec::<String>::new());
    let mapped = |spec: &mut Spec| spec.identity.gid_map.push(range(0, 0, 1));
    assert!(problem(mapped).contains("identity.gid_map has host id 0"));
    // Where it is asked for.
    mapped(&mut spec);
    spec.identity.host_root = true;
    spec.identity.host_gid = 0;
    spec.identity.gid = 0;
    assert_eq!(problems(&spec), Vec::<String>::new());
}

#[test]
fn maps_are_what_the_kernel_takes() {
    let map = |ranges: Vec<IdRange>| problem(|spec| spec.identity.uid_map = ranges);
    let own = range(1000, 500_001, 1);
    let overlap = "identity.uid_map[0] and [1] overlap";
    assert_eq!(map(vec![own, range(1000, 7, 1)]), overlap);
    assert_eq!(map(vec![own, range(0, 400_000, 200_000)]), overlap);
    assert_eq!(map(vec![own, range(0, 7, 1001)]), overlap);
    assert_eq!(
        map(vec![own, range(0, 7, 0)]),
        "identity.uid_map[1] is no range of ids"
    );
    assert_eq!(
        map(vec![own, range(u32::MAX - 1, 7, 2)]),
        "identity.uid_map[1] is no range of ids"
    );
    let many = |count| (0..count).map(|n| range(n, 2000 + n, 1)).collect();
    assert!(map(many(341)).contains("has 341 ranges"));
    assert_eq!(
        map(many(340)),
        "identity.uid_map does not map 1000 to 500001"
    );
    assert!(map(vec![range(1000, 500_002, 1)]).contains("does not map 1000 to 500001"));
    // It ends with the largest id.
    let mut spec = full();
    spec.identity.uid_map = vec![own, range(u32::MAX - 2, u32::MAX - 2, 2)];
    assert_eq!(problems(&spec), Vec::<String>::new());
}

#[test]
fn the_id_that_is_none_is_refused() {
    assert!(problem(|spec| spec.host_groups = vec![33, 0]).contains("host_groups has 0"));
    assert!(problem(|spec| spec.control_groups.unified = Some(2)).contains("descriptor 2"));
    assert!(problem(|spec| spec.control_groups.members = vec![13, 8]).contains("stands twice"));
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
    let many = problem(|spec| spec.descriptors = (20..274).map(socket).collect());
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
fn fences_that_are_none_are_refused() {
    fn calls(spec: &mut Spec) -> &mut SystemCalls {
        spec.fences.system_calls.as_mut().expect("a filter")
    }
    let unknown = "\"opeen\" is no system call";
    assert!(problem(|spec| calls(spec).allowed.push("opeen".into())).contains(unknown));
    assert!(problem(|spec| calls(spec).absent.push("opeen".into())).contains(unknown));
    let why = problem(|spec| calls(spec).conditional[0].name = "opeen".into());
    assert!(why.contains(unknown));
    let why = problem(|spec| calls(spec).conditional[0].conditions.clear());
    assert!(why.contains("socket has no condition"));
    let why = problem(|spec| {
        calls(spec).conditional[0].conditions = vec![Condition::Differs {
            argument: 6,
            value: 0,
        }];
    });
    assert!(why.contains("socket has no argument 6"));
    let why = problem(|spec| calls(spec).absent = vec!["clone3".into(); 129]);
    assert!(why.contains("more than 128"));
    for name in ["", "a/b", "..", "1", "self\0"] {
        let why = problem(|spec| spec.fences.proc = vec![name.into()]);
        assert!(why.starts_with("fences.proc: "), "{name:?}");
    }
    for profile in ["", "a\nb"] {
        let label = Label::Apparmor {
            profile: profile.into(),
        };
        let why = problem(|spec| spec.fences.labels = vec![label]);
        assert!(why.starts_with("fences.labels: "), "{profile:?}");
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

#[test]
fn ways_out_lead_to_ports_of_the_cells_own() {
    assert!(problem(|spec| spec.namespaces.network = false).contains("would be the host's"));
    let ways = |ways: Vec<WayOut>| problem(|spec| spec.egress.as_mut().expect("some").ways = ways);
    let socket = |path: &str| WayOut::Socket { path: path.into() };
    assert!(ways(Vec::new()).contains("0 ways"));
    let many = (1..=254).map(|port| loopback([127, 0, 1, 1], port));
    assert!(ways(many.collect()).contains("254 ways"));
    assert!(ways(vec![loopback([10, 0, 0, 1], 443)]).contains("10.0.0.1:443 is no port"));
    assert!(ways(vec![loopback([127, 0, 1, 1], 0)]).contains("127.0.1.1:0 is no port"));
    let one = loopback([127, 0, 1, 1], 443);
    assert!(ways(vec![one.clone(), one]).contains("127.0.1.1:443 stands twice"));
    assert!(ways(vec![socket("/run/a"), socket("/run/a")]).contains("/run/a stands twice"));
    for path in ["run/a", "/run/../a", "/", "/run//a", "/run/a\0"] {
        assert!(ways(vec![socket(path)]).contains("must be an absolute path"));
    }
    let twice = problem(|spec| spec.egress.as_mut().expect("some").descriptor = 7);
    assert!(twice.contains("descriptor 7 stands twice"));
}

#[test]
fn sockets_of_ways_out_need_a_mount_namespace_only() {
    let sockets = |spec: &mut Spec| {
        spec.egress.as_mut().expect("some").ways = vec![WayOut::Socket {
            path: "/run/a".into(),
        }];
    };
    let mut spec = full();
    sockets(&mut spec);
    spec.namespaces.network = false;
    assert_eq!(problems(&spec), Vec::<String>::new());
    let found = problem(|spec| {
        sockets(spec);
        spec.namespaces.mount = false;
    });
    assert!(found.contains("its sockets would be the host's"));
}

#[test]
fn names_of_hosts_are_single_words() {
    for name in ["", "a b", "a\n127.0.0.1 b", "a#"] {
        let found = problem(|spec| {
            spec.filesystem.hosts.as_mut().expect("some").names[0].name = name.into();
        });
        assert!(found.contains("is no name"), "{found}");
    }
}
