//! The filter of system calls, from the names in a specification.

use std::collections::BTreeSet;

use cloister_proto::messages::cell::{Condition, SystemCalls};
use cloister_sys::allow_list::{self, AllowList, Comparison, UnknownCall};
use cloister_sys::system_calls::Architecture;
use rustix::io::Errno;

use crate::failure::Problem;

/// Filters the calling thread and all that it starts.
///
/// # Errors
///
/// Those of seccomp(2); `ENOSYS` where the calls of this processor are not known.
pub fn filter(calls: &SystemCalls) -> Result<(), Problem> {
    let architecture = Architecture::native().ok_or_else(|| {
        Problem::from(Errno::NOSYS).hint("filters are known for x86_64 and aarch64 only")
    })?;
    let list = list(calls, architecture).map_err(|UnknownCall| Errno::INVAL)?;
    list.apply().map_err(|error| {
        Problem::from(error).hint(
            "the kernel must have CONFIG_SECCOMP_FILTER, and no filter of \
                                   the launcher's own may forbid seccomp(2)",
        )
    })
}

/// The list for one architecture.
///
/// # Errors
///
/// [`UnknownCall`], which the check of the specification has said more of.
pub fn list(calls: &SystemCalls, architecture: Architecture) -> Result<AllowList, UnknownCall> {
    let mut list = AllowList::new(architecture);
    for name in &calls.allowed {
        list.allow(name)?;
    }
    for call in &calls.conditional {
        let conditions: Vec<_> = call.conditions.iter().map(condition).collect();
        list.allow_when(&call.name, &conditions)?;
    }
    for name in &calls.absent {
        list.hide(name)?;
    }
    Ok(list)
}

fn condition(condition: &Condition) -> allow_list::Condition {
    match *condition {
        Condition::Equal {
            argument,
            mask,
            value,
        } => allow_list::Condition {
            argument,
            comparison: Comparison::Equal { mask, value },
        },
        Condition::Differs { argument, value } => allow_list::Condition {
            argument,
            comparison: Comparison::Differs { value },
        },
    }
}

/// What the filter does, in a few words.
#[must_use]
pub fn describe(calls: &SystemCalls) -> String {
    let conditional: BTreeSet<_> = calls.conditional.iter().map(|one| &one.name).collect();
    format!(
        "profile {}: {} system calls allowed, {} more with some arguments only, {} seem absent, \
         all others refused",
        calls.profile,
        calls.allowed.len(),
        conditional.len(),
        calls.absent.len()
    )
}
