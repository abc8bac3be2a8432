//! Makes one sandbox from one specification, runs the application in it, stays as its init.
//!
//! The program has no policy: the specification says everything, and what it says is turned
//! into a [`plan::Plan`], a list of operations that is printed or carried out as it is. It
//! has one thread and no runtime, since it forks, and three processes come of it:
//!
//! ```text
//! supervisor
//!   └─ launcher      the process that was started; it ends exactly as the application ends
//!        └─ init     process 1 in the cell: builds it, then reaps and forwards signals
//!             └─ application
//! ```
//!
//! The launcher stays outside because somebody must: process 1 of a pid namespace cannot end
//! by a signal, and whoever kills the launcher means the whole cell. Each process that stays
//! has given up what it had: user, capabilities, descriptors, and its memory of the
//! specification, which [`ZeroingAllocator`] erases as it is dropped.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use cloister_proto::messages::cell::{Failure, Spec};
use cloister_sys::capabilities::holds;
use cloister_sys::descriptors::take_inherited;
use cloister_sys::process::end_by_signal;
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::CapabilitySet;

pub use cloister_sys::allocator::ZeroingAllocator;

use crate::arguments::{Arguments, HELP};
use crate::failure::{CELL_FAILED, Report};
use crate::plan::{Caller, Plan};
use crate::stay::End;

pub mod arguments;
pub mod confine;
mod construction;
mod description;
pub mod disk;
mod egress;
mod execute;
pub mod explain;
pub mod failure;
pub mod hints;
pub mod hosts;
mod idmap;
mod launch;
mod mirror;
mod mounts;
pub mod operation;
pub mod plan;
mod root;
pub mod specification;
mod stay;

/// Wrong usage.
const USAGE: u8 = 2;

/// Runs the program with the process's arguments and returns its exit code.
pub fn main() -> ExitCode {
    match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(Arguments::Help) => print(HELP),
        Ok(Arguments::Version) => print(&format!("cloister-cell {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Arguments::Explain { spec, json }) => print_plan(spec, json),
        Ok(Arguments::Run {
            spec,
            status,
            lifeline,
            die_with_parent,
        }) => run(spec, status, lifeline, die_with_parent),
        Ok(Arguments::Disk { order }) => bound_disks(order),
        Err(what) => {
            eprintln!("cloister-cell: {what}\nnext: see cloister-cell --help");
            ExitCode::from(USAGE)
        }
    }
}

fn run(spec: i32, status: Option<i32>, lifeline: Option<i32>, die_with_parent: bool) -> ExitCode {
    if die_with_parent && set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        return code(CELL_FAILED);
    }
    let report = match status.map(take_inherited).transpose() {
        Ok(descriptor) => descriptor.map_or(Report::StandardError, Report::Descriptor),
        Err(error) => {
            eprintln!("cloister-cell: --status-fd: {error}");
            return ExitCode::from(USAGE);
        }
    };
    let lifeline = match lifeline.map(take_inherited).transpose() {
        Ok(lifeline) => lifeline,
        Err(error) => {
            eprintln!("cloister-cell: --lifeline-fd: {error}");
            return ExitCode::from(USAGE);
        }
    };
    let spec = match read_spec(spec) {
        Ok(spec) => spec,
        Err(failure) => {
            report.send(&failure);
            return code(CELL_FAILED);
        }
    };
    match launch::run(spec, caller(die_with_parent), report, lifeline) {
        Ok(End::Exited(status)) => ExitCode::from(status),
        Ok(End::Signalled(signal)) => {
            end_by_signal(i32::from(signal));
            // Only where the signal's default is not to end a process.
            ExitCode::from(128_u8.saturating_add(signal))
        }
        Err(status) => code(status),
    }
}

fn print_plan(spec: i32, json: bool) -> ExitCode {
    let spec = match read_spec(spec) {
        Ok(spec) => spec,
        Err(failure) => {
            eprint!("{}", failure::text(&failure));
            return code(CELL_FAILED);
        }
    };
    let caller = caller(false);
    let plan = Plan::new(&spec, caller);
    if json {
        print(&explain::json(&plan))
    } else {
        print(&explain::text(&spec.name, &plan, caller))
    }
}

/// Exits with 125 where something did not work; the last answer says what.
fn bound_disks(number: i32) -> ExitCode {
    let order = match take_inherited(number) {
        Ok(descriptor) => disk::read(descriptor),
        Err(error) => Err(format!("--order-fd: {error}")),
    };
    let order = match order {
        Ok(order) => order,
        Err(what) => {
            eprintln!("cloister-cell: {what}");
            return ExitCode::from(USAGE);
        }
    };
    // Nobody is left to do anything for.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    match disk::obey(&order, &mut std::io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => code(CELL_FAILED),
    }
}

fn read_spec(number: i32) -> Result<Spec, Failure> {
    let descriptor: OwnedFd = take_inherited(number).map_err(|error| {
        specification::refusal(
            "read-spec",
            &format!("read the specification from descriptor {number}"),
            Errno::from_io_error(&error).unwrap_or(Errno::BADF),
            Some("pass an open descriptor above 2 to --spec-fd"),
        )
    })?;
    specification::read(descriptor)
}

/// Whether this process may do as root does; only over its own user namespace, if that is
/// not the host's.
fn caller(die_with_parent: bool) -> Caller {
    let needed = CapabilitySet::SYS_ADMIN
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID
        | CapabilitySet::SETPCAP;
    Caller {
        privileged: holds(needed).unwrap_or(false),
        die_with_parent,
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write;
    // A reader that has seen enough is no failure.
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}
