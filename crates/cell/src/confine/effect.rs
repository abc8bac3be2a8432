//! What of the fences is in force, as a report.

use cloister_proto::messages::cell::{Fence, Spec, Stdin};

use crate::description::which;

use super::{labels, landlock, limits, system_calls};

/// Every fence of the cell. That of Landlock is told apart only when it is put up: it may be
/// lower than what is asked for, as no other may. `bounding` says whether the bounding set of
/// capabilities is emptied.
#[must_use]
pub fn fences(spec: &Spec, bounding: bool) -> Vec<Fence> {
    let protections = &spec.protections;
    let mut fences = vec![
        namespaces(spec),
        fence(
            "capabilities",
            protections.drop_capabilities,
            if bounding {
                "every set is empty"
            } else {
                "every set but the bounding one is empty: this user cannot empty that"
            },
        ),
        fence(
            "no-new-privileges",
            // A filter takes them away by itself: seccomp(2).
            protections.no_new_privileges || spec.fences.system_calls.is_some(),
            "no executed program gains any",
        ),
        match &spec.fences.system_calls {
            Some(calls) => active("system-calls", &system_calls::describe(calls)),
            None => missing("system-calls"),
        },
        missing(landlock::NAME),
        fence(
            "keyring",
            protections.new_keyring,
            "a session keyring of its own",
        ),
        match spec.stdin {
            Stdin::Terminal => active("session", "a terminal of its own"),
            _ => fence(
                "session",
                protections.new_session,
                "no controlling terminal",
            ),
        },
        fence("core-dumps", protections.no_core_dumps, "none"),
        fence(
            "descriptors",
            protections.close_descriptors,
            "those that are handed over, and no other",
        ),
        proc(spec),
    ];
    fences.push(if spec.fences.limits.is_empty() {
        missing("limits")
    } else {
        active("limits", &limits::describe(&spec.fences.limits))
    });
    let labels = spec.fences.labels.iter();
    fences.extend(labels.map(|label| active("label", &labels::describe(label))));
    fences
}

/// Puts what Landlock has become in its place.
#[must_use]
pub fn with_landlock(fences: &[Fence], outcome: Option<&Fence>) -> Vec<Fence> {
    let replaced = |fence: &Fence| match outcome {
        Some(outcome) if fence.name == outcome.name => outcome.clone(),
        _ => fence.clone(),
    };
    fences.iter().map(replaced).collect()
}

fn namespaces(spec: &Spec) -> Fence {
    let own = &spec.namespaces;
    let (of_its_own, shared): (Vec<_>, Vec<_>) = which(own).into_iter().partition(|(own, _)| *own);
    // Clocks of its own keep nothing in: they are there for programs that are moved.
    let clocks = own.time.then_some((true, "time"));
    let of_its_own: Vec<_> = of_its_own.into_iter().chain(clocks).collect();
    let names = |list: &[(bool, &'static str)]| {
        let names: Vec<_> = list.iter().map(|(_, name)| *name).collect();
        names.join(", ")
    };
    Fence {
        name: "namespaces".to_owned(),
        active: shared.is_empty(),
        detail: match (of_its_own.is_empty(), shared.is_empty()) {
            (_, true) => names(&of_its_own),
            (true, _) => "all are the host's".to_owned(),
            _ => format!("{}; the host's: {}", names(&of_its_own), names(&shared)),
        },
    }
}

fn proc(spec: &Spec) -> Fence {
    const NAME: &str = "proc";
    let shown = &spec.fences.proc;
    match (
        spec.namespaces.mount,
        spec.filesystem.proc,
        spec.namespaces.pid,
    ) {
        (false, ..) => Fence {
            name: NAME.to_owned(),
            active: false,
            detail: "the host's".to_owned(),
        },
        (true, false, _) => active(NAME, "none"),
        (true, true, false) => Fence {
            name: NAME.to_owned(),
            active: false,
            detail: "all processes of the host".to_owned(),
        },
        (true, true, true) if shown.is_empty() => active(NAME, "its own processes"),
        (true, true, true) => active(NAME, &format!("its own processes, {}", shown.join(", "))),
    }
}

fn fence(name: &str, put_up: bool, detail: &str) -> Fence {
    if put_up {
        active(name, detail)
    } else {
        missing(name)
    }
}

fn active(name: &str, detail: &str) -> Fence {
    Fence {
        name: name.to_owned(),
        active: true,
        detail: detail.to_owned(),
    }
}

fn missing(name: &str) -> Fence {
    Fence {
        name: name.to_owned(),
        active: false,
        detail: "not asked for".to_owned(),
    }
}
