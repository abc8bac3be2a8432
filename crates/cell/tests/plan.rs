//! The order of a plan, and how it reads. The goldens in `golden/` are written anew by
//! `REWRITE_GOLDENS=1 cargo test -p cloister-cell` and reviewed as a diff.

mod support;

use std::path::Path;

use cloister_cell::explain;
use cloister_cell::operation::{Operation, Stage};
use cloister_cell::plan::{Caller, Plan};
use cloister_proto::messages::cell::{Clocks, Owners, RootFolder, Spec, Stdin};
use support::{bare, full};

const ROOT: Caller = Caller {
    privileged: true,
    die_with_parent: false,
};
const ORDINARY: Caller = Caller {
    privileged: false,
    die_with_parent: true,
};

/// The same cell with a folder of the host as its root, a terminal, and several ids.
fn image() -> Spec {
    let mut spec = full();
    spec.stdin = Stdin::Terminal;
    spec.identity.uid = 0;
    spec.identity.uid_map = vec![support::range(0, 500_001, 1000), support::range(5000, 7, 1)];
    spec.clocks = Clocks {
        monotonic_ns: -1_500_000_000,
        boottime_ns: 86_400_000_000_000,
    };
    spec.filesystem.root = Some(RootFolder {
        source: "/srv/image".into(),
        writable: true,
        owners: Some(Owners {
            users: spec.identity.uid_map.clone(),
            groups: spec.identity.gid_map.clone(),
        }),
    });
    spec.filesystem.temporary[0].executable = false;
    spec
}

fn check_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("REWRITE_GOLDENS").is_some() {
        std::fs::write(&path, text).expect("the golden is writable");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs; see the head of this file");
}

#[test]
fn plans_read_as_they_always_have() {
    for (name, spec, caller) in [
        ("full.root", full(), ROOT),
        ("full.ordinary", full(), ORDINARY),
        ("bare.root", bare(), ROOT),
        ("image.root", image(), ROOT),
    ] {
        let plan = Plan::new(&spec, caller);
        check_golden(
            &format!("{name}.txt"),
            &explain::text(&spec.name, &plan, caller),
        );
        check_golden(&format!("{name}.jsonl"), &explain::json(&plan));
    }
}

#[test]
fn no_secret_is_ever_described() {
    let plan = Plan::new(&full(), ROOT);
    let text = explain::text("blog", &plan, ROOT) + &explain::json(&plan);
    assert!(!text.contains("secret"));
}

#[test]
fn stages_follow_each_other() {
    for caller in [ROOT, ORDINARY] {
        for spec in [full(), bare()] {
            let plan = Plan::new(&spec, caller);
            let stages: Vec<_> = plan.operations().map(|(stage, _)| stage).collect();
            assert!(stages.is_sorted(), "{stages:?}");
            assert_eq!(
                stages.iter().filter(|&&one| one == Stage::Stay).count(),
                2,
                "launcher and init"
            );
        }
    }
}

/// Where an operation stands in the plan.
fn place(plan: &Plan, wanted: impl Fn(&Operation) -> bool) -> usize {
    let mut places = plan
        .operations()
        .enumerate()
        .filter_map(|(place, (_, operation))| wanted(operation).then_some(place));
    let place = places.next().expect("it is in the plan");
    assert_eq!(places.next(), None, "it is in the plan once");
    place
}

fn step(plan: &Plan, name: &str) -> usize {
    place(plan, |operation| operation.step() == name)
}

fn mounted(plan: &Plan, path: &str) -> usize {
    place(plan, |operation| match operation {
        Operation::AttachSource { destination, .. } => destination == path,
        Operation::MountTemporary(memory) | Operation::MountDevices(memory) => memory.path == path,
        _ => false,
    })
}

#[test]
fn a_parent_is_mounted_before_what_lies_in_it() {
    let plan = Plan::new(&full(), ROOT);
    assert!(mounted(&plan, "/tmp") < mounted(&plan, "/tmp/blog"));
    assert!(mounted(&plan, "/dev") < mounted(&plan, "/dev/blog"));
    assert!(mounted(&plan, "/dev") < mounted(&plan, "/dev/shm"));
}

#[test]
fn names_that_only_begin_alike_are_not_parents() {
    let mut spec = full();
    spec.filesystem.binds = vec![
        support::bind("/1", "/srv/a-b"),
        support::bind("/2", "/srv/a/b"),
        support::bind("/3", "/srv/a"),
    ];
    let plan = Plan::new(&spec, ROOT);
    assert!(mounted(&plan, "/srv/a") < mounted(&plan, "/srv/a/b"));
    assert!(mounted(&plan, "/srv/a/b") < mounted(&plan, "/srv/a-b"));
}

#[test]
fn of_two_at_one_place_the_later_covers_the_other() {
    let mut spec = full();
    spec.filesystem.binds = vec![support::bind("/1", "/x"), support::bind("/2", "/x")];
    let plan = Plan::new(&spec, ROOT);
    let source = |wanted: &str| {
        place(
            &plan,
            |one| matches!(one, Operation::AttachSource { source, .. } if source == wanted),
        )
    };
    assert!(source("/1") < source("/2"));
}

#[test]
fn root_opens_sources_before_there_is_a_cell_and_others_inside() {
    for (caller, stage) in [(ROOT, Stage::Prepare), (ORDINARY, Stage::Build)] {
        let plan = Plan::new(&full(), caller);
        let opened = plan
            .stage(stage)
            .filter(|one| matches!(one, Operation::OpenSource(_)))
            .count();
        assert_eq!(opened, plan.sources());
        // Three binds and six devices.
        assert_eq!(opened, 9);
    }
}

#[test]
fn slots_are_the_order_of_opening() {
    let plan = Plan::new(&full(), ORDINARY);
    let opened: Vec<_> = plan
        .operations()
        .filter_map(|(_, operation)| match operation {
            Operation::OpenSource(source) => Some((source.slot, source.path.clone())),
            _ => None,
        })
        .collect();
    for (place, (slot, _)) in opened.iter().enumerate() {
        assert_eq!(place, *slot);
    }
    for (_, operation) in plan.operations() {
        if let Operation::AttachSource { slot, source, .. } = operation {
            assert_eq!(&opened[*slot].1, source);
        }
    }
}

#[test]
fn a_folder_of_the_host_is_the_root_before_anything_is_put_into_it() {
    let plan = Plan::new(&image(), ROOT);
    assert!(step(&plan, "show-root") > step(&plan, "become-user"));
    assert!(step(&plan, "show-root") < mounted(&plan, "/tmp"));
    // It is the host's: nothing of it is sealed, only what was made beside it.
    assert!(step(&plan, "seal-copies") > step(&plan, "enter-root"));
    assert!(plan.operations().all(|(_, one)| one.step() != "make-root"));
    assert!(
        plan.operations()
            .all(|(_, one)| *one != Operation::SealMount { path: "/".into() })
    );
}

#[test]
fn a_terminal_of_its_own_is_the_session_of_init() {
    let plan = Plan::new(&image(), ROOT);
    assert!(step(&plan, "lead-session") < step(&plan, "start-application"));
    assert!(step(&plan, "take-foreground") < step(&plan, "drop-capabilities"));
    assert!(
        plan.operations()
            .all(|(_, one)| one.step() != "new-session")
    );
}

#[test]
fn without_an_init_the_application_is_the_first_process() {
    let mut spec = image();
    spec.init = false;
    let plan = Plan::new(&spec, ROOT);
    let steps: Vec<_> = plan.operations().map(|(_, one)| one.step()).collect();
    for step in [
        "start-application",
        "take-foreground",
        "confine-init",
        "die-with-init",
    ] {
        assert!(!steps.contains(&step), "{step}");
    }
    assert!(steps.contains(&"lead-session"));
}

#[test]
fn clocks_are_set_as_the_user_who_owns_their_file() {
    let plan = Plan::new(&full(), ROOT);
    assert!(step(&plan, "own-clocks") < step(&plan, "become-user"));
    assert!(step(&plan, "own-clocks") < step(&plan, "start-application"));
}

#[test]
fn the_user_is_taken_on_when_nothing_else_needs_root() {
    let plan = Plan::new(&full(), ROOT);
    assert!(step(&plan, "become-user") < step(&plan, "make-root"));
    let mut spec = full();
    spec.namespaces.user = false;
    let plan = Plan::new(&spec, ROOT);
    assert!(step(&plan, "become-user") > step(&plan, "enter-root"));
    assert!(step(&plan, "become-user") < step(&plan, "start-application"));
    assert!(
        plan.operations().any(|(_, one)| *one
            == Operation::BecomeUser {
                uid: 500_001,
                gid: 500_001
            }),
        "by the host's ids: there is no map"
    );
}

#[test]
fn protections_are_taken_before_anything_is_looked_up() {
    let plan = Plan::new(&full(), ROOT);
    let order = [
        "start-application",
        "new-session",
        "limit-core",
        "drop-capabilities",
        "forbid-new-privileges",
        "place-descriptors",
        "close-descriptors",
        "reset-signals",
        "restrict-access",
        "change-directory",
        "limit-resources",
        "filter-system-calls",
        "report-fences",
        "execute",
    ];
    assert!(order.map(|name| step(&plan, name)).is_sorted());
}

#[test]
fn landlock_allows_what_the_mounts_do() {
    let mut spec = full();
    let access = |spec: &Spec, path: &str| {
        let plan = Plan::new(spec, ROOT);
        let places = plan
            .operations()
            .find_map(|(_, operation)| match operation {
                Operation::Restrict(restriction) => Some(restriction.places.clone()),
                _ => None,
            });
        let places = places.expect("a restriction");
        let here = places.iter().filter(|place| place.path == path);
        let (mut read, mut write, mut execute, mut devices) = (false, false, false, false);
        for place in here {
            read |= place.access.read;
            write |= place.access.write;
            execute |= place.access.execute;
            devices |= place.access.devices;
        }
        [read, write, execute, devices]
    };
    let (yes, no) = (true, false);
    assert_eq!(access(&spec, "/"), [yes, no, no, no]);
    assert_eq!(access(&spec, "/usr"), [yes, no, yes, no]);
    assert_eq!(access(&spec, "/dev/blog"), [yes, yes, no, no]);
    assert_eq!(access(&spec, "/tmp"), [yes, yes, yes, no]);
    assert_eq!(access(&spec, "/dev/null"), [yes, yes, no, yes]);
    assert_eq!(access(&spec, "/dev/pts"), [yes, yes, no, yes]);
    assert_eq!(access(&spec, "/proc"), [yes, yes, no, no]);
    assert_eq!(access(&spec, "/etc"), [no, no, no, no]);
    spec.filesystem.temporary[0].executable = false;
    assert_eq!(access(&spec, "/tmp"), [yes, yes, no, no]);
    spec.filesystem.root = Some(RootFolder {
        source: "/srv/image".into(),
        writable: false,
        owners: None,
    });
    assert_eq!(access(&spec, "/"), [yes, no, yes, no]);
}

#[test]
fn what_is_not_asked_for_is_not_done() {
    let plan = Plan::new(&bare(), ROOT);
    let steps: Vec<_> = plan.operations().map(|(_, one)| one.step()).collect();
    assert_eq!(
        steps,
        [
            "set-groups",
            "create-namespaces",
            "await-launcher",
            "become-user",
            "start-application",
            "die-with-init",
            "connect-stdin",
            "reset-signals",
            "change-directory",
            "report-fences",
            "execute",
            "confine-launcher",
            "confine-init",
        ]
    );
}
