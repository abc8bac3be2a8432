//! What the processes that stay give up: taken over, they must be worth nothing. And, in the
//! modules below, what the application's process gives up before it is the application.

pub mod check;
pub mod effect;
pub mod labels;
pub mod landlock;
pub mod limits;
pub mod proc;
pub mod system_calls;

use cloister_sys::capabilities;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::set_no_new_privs;

use crate::failure::Problem;

/// Forbids core dumps to the calling process and all that it makes.
///
/// A limit of 0 stops a core file only; where `core_pattern` names a program, that gets the
/// memory all the same. 1 byte stops both: too small for any core file, and the value by which
/// the kernel knows not to run the program (do_coredump() in fs/coredump.c).
///
/// # Errors
///
/// Those of setrlimit(2).
pub fn limit_core() -> Result<(), Problem> {
    let bytes = match getrlimit(Resource::Core).maximum {
        // It cannot be raised again without a privilege.
        Some(0) => 0,
        _ => 1,
    };
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    Ok(setrlimit(Resource::Core, limit)?)
}

/// Confines the launcher, which is the host's user already.
///
/// # Errors
///
/// Those of prctl(2) and capset(2).
pub fn launcher(die_with_parent: bool) -> Result<(), Problem> {
    let parent = die_with_parent.then_some(Signal::KILL);
    set_parent_process_death_signal(parent)?;
    limit_core()?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    Ok(capabilities::drop_held()?)
}

/// Confines init, once the application's process exists.
///
/// # Errors
///
/// Those of prctl(2) and capset(2).
pub fn init(drop_capabilities: bool) -> Result<(), Problem> {
    limit_core()?;
    // It has the application's user, so only this keeps the application from tracing it,
    // reading its memory and following its /proc/1/exe and /proc/1/fd (ptrace(2), "Ptrace
    // access mode checking").
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    if drop_capabilities {
        capabilities::drop_all()?;
    } else {
        capabilities::drop_held()?;
    }
    match rustix::process::chdir("/") {
        Ok(()) | Err(Errno::ACCESS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
