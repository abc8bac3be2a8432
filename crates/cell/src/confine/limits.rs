//! Resource limits.

use cloister_proto::messages::cell::{LimitedResource, ResourceLimit};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::failure::Problem;

/// Sets the soft and the hard limit of each.
///
/// # Errors
///
/// Those of setrlimit(2): `EPERM` above what the launcher itself may have.
pub fn limit(limits: &[ResourceLimit]) -> Result<(), Problem> {
    for limit in limits {
        let both = Rlimit {
            current: Some(limit.value),
            maximum: Some(limit.value),
        };
        setrlimit(resource(limit.resource), both)
            .map_err(|errno| Problem::from(errno).at(&describe(&[*limit])))?;
    }
    Ok(())
}

fn resource(limited: LimitedResource) -> Resource {
    match limited {
        LimitedResource::OpenFiles => Resource::Nofile,
        LimitedResource::Processes => Resource::Nproc,
        LimitedResource::LockedMemory => Resource::Memlock,
        LimitedResource::FileSize => Resource::Fsize,
    }
}

/// The limits in words.
#[must_use]
pub fn describe(limits: &[ResourceLimit]) -> String {
    let words: Vec<_> = limits
        .iter()
        .map(|limit| {
            let what = match limit.resource {
                LimitedResource::OpenFiles => "open files",
                LimitedResource::Processes => "processes",
                LimitedResource::LockedMemory => "bytes of locked memory",
                LimitedResource::FileSize => "bytes in a file",
            };
            format!("{} {what}", limit.value)
        })
        .collect();
    words.join(", ")
}
