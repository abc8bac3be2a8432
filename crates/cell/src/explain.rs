//! Prints a plan, for people and for programs.

use std::fmt::Write;

use cloister_proto::messages::cell::Operation as Line;

use crate::plan::{Caller, Plan};

/// The plan as text: each stage, each operation with its reason.
#[must_use]
pub fn text(name: &str, plan: &Plan, caller: Caller) -> String {
    let mut text = format!(
        "The cell {name:?}, made by {}, in this order:\n",
        if caller.privileged {
            "root"
        } else {
            "an ordinary user, whose supplementary groups stay (nobody but root may drop them)"
        }
    );
    let mut current = None;
    for (number, (stage, operation)) in (1..).zip(plan.operations()) {
        if current != Some(stage) {
            current = Some(stage);
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{}\n", stage.title());
        }
        let _ = writeln!(
            text,
            "{number:4}. {}\n      {}",
            operation.describe(),
            operation.reason()
        );
    }
    text
}

/// The plan as JSON: one line for each operation.
#[must_use]
pub fn json(plan: &Plan) -> String {
    plan.operations()
        .filter_map(|(_, operation)| {
            serde_json::to_string(&Line {
                step: operation.step().to_owned(),
                description: operation.describe(),
            })
            .ok()
        })
        .fold(String::new(), |text, line| text + &line + "\n")
}
