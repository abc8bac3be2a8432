//! The order of a plan, and how it reads. The goldens in `golden/` are written anew by
//! `REWRITE_GOLDENS=1 cargo test -p cloister-cell` and reviewed as a diff.

mod support;

use std::path::Path;

use cloister_cell::explain;
use cloister_cell::operation::{Operation, Stage};
use cloister_cell::plan::{Caller, Plan};
use support::{bare, full};

const ROOT: Caller = Caller {
    privileged: true,
    die_with_parent: false,
};
const ORDINARY: Caller = Caller {
    privileged: false,
    die_with_parent: true,
};

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
        "change-directory",
        "execute",
    ];
    assert!(order.map(|name| step(&plan, name)).is_sorted());
}

#[test]
fn what_is_not_asked_for_is_not_done() {
    let plan = Plan::new(&bare(), ROOT);
    let steps: Vec<_> = plan.operations().map(|(_, one)| one.step()).collect();
    assert_eq!(
        steps,
        [
            "drop-groups",
            "create-namespaces",
            "await-launcher",
            "become-user",
            "start-application",
            "die-with-init",
            "connect-stdin",
            "reset-signals",
            "change-directory",
            "execute",
            "confine-launcher",
            "confine-init",
        ]
    );
}
