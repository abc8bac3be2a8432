//! What makes no sense in a specification's fences.

use std::collections::BTreeSet;

use cloister_proto::messages::cell::{Condition, Fences, Label, SystemCalls};
use cloister_sys::allow_list::ABSENT_LIMIT;
use cloister_sys::system_calls::{Architecture, all};

/// Adds each problem, with its field.
pub fn problems(fences: &Fences, found: &mut Vec<String>) {
    if let Some(calls) = &fences.system_calls {
        check_calls(calls, found);
    }
    for name in &fences.proc {
        let plain = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-');
        if name.is_empty() || !name.bytes().all(plain) {
            found.push(format!("fences.proc: {name:?} is no file of /proc"));
        }
    }
    for label in &fences.labels {
        let (Label::Selinux { context: text } | Label::Apparmor { profile: text }) = label;
        if text.is_empty() || text.contains(|c: char| c.is_control()) {
            found.push(format!("fences.labels: {text:?} is no label"));
        }
    }
}

fn check_calls(calls: &SystemCalls, found: &mut Vec<String>) {
    // The names are the same for every architecture.
    let known: BTreeSet<_> = all(Architecture::X86_64).map(|(name, _)| name).collect();
    let conditional = calls.conditional.iter().map(|call| &call.name);
    for name in calls.allowed.iter().chain(conditional).chain(&calls.absent) {
        if !known.contains(name.as_str()) {
            found.push(format!("fences.system_calls: {name:?} is no system call"));
        }
    }
    if calls.absent.len() > ABSENT_LIMIT {
        found.push(format!(
            "fences.system_calls.absent: more than {ABSENT_LIMIT}"
        ));
    }
    for call in &calls.conditional {
        if call.conditions.is_empty() {
            found.push(format!(
                "fences.system_calls: {} has no condition: it belongs to `allowed`",
                call.name
            ));
        }
        for condition in &call.conditions {
            let (Condition::Equal { argument, .. } | Condition::Differs { argument, .. }) =
                condition;
            if *argument > 5 {
                found.push(format!(
                    "fences.system_calls: {} has no argument {argument}",
                    call.name
                ));
            }
        }
    }
}
