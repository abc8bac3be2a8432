//! What holds for every specification. The fuzzing target and the tests share this file.

use cloister_cell::plan::{Caller, Plan};
use cloister_cell::{explain, specification};
use cloister_proto::messages::cell::Spec;

/// What is read can be written and read again as the same. What is not refused never makes a
/// host root of the application, and can be planned and explained for every caller, twice the
/// same.
pub fn specification(bytes: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Spec>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&spec).expect("what was read can be written");
    let again: Spec = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, spec, "writing and reading changes nothing");
    let problems = specification::problems(&spec);
    assert!(problems.iter().all(|problem| !problem.is_empty()));
    if !problems.is_empty() {
        return;
    }
    let identity = &spec.identity;
    let root = identity.host_uid == 0 || identity.host_gid == 0;
    assert!(identity.host_root || !root);
    for privileged in [false, true] {
        for die_with_parent in [false, true] {
            let caller = Caller {
                privileged,
                die_with_parent,
            };
            let plan = Plan::new(&spec, caller);
            assert_eq!(
                plan,
                Plan::new(&spec, caller),
                "a plan depends on nothing else"
            );
            assert!(!explain::text(&spec.name, &plan, caller).is_empty());
            for line in explain::json(&plan).lines() {
                let operation: serde_json::Value = serde_json::from_str(line).expect("valid JSON");
                assert!(operation.is_object());
            }
        }
    }
}
