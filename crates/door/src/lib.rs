//! The front door: accepts connections, reads the ClientHello, routes, relays.
//!
//! The way of a connection: [`worker`] accepts it, [`connection`] reads its hello and asks
//! [`route`] for a target, then moves bytes both ways until both ends are done. [`runtime`]
//! is what is in force; `sni`, `relay` and `serve` are the ways to get one.
//!
//! Architecture invariant: no worker waits for another, for the log's reader, for the
//! supervisor or for a peer. Every loop that a peer can feed is bounded.

pub mod admission;
pub mod clock;
pub mod complaint;
pub mod confine;
pub mod connection;
pub mod control;
pub mod drain;
pub mod hold;
pub mod inherited;
pub mod keeper;
pub mod log;
pub mod notify;
pub mod options;
pub mod pipes;
pub mod places;
pub mod process;
pub mod race;
pub mod relay;
pub mod resolve;
pub mod route;
pub mod runtime;
pub mod serve;
pub mod slab;
pub mod snapshot;
pub mod sni;
pub mod spin;
pub mod standalone;
pub mod stats;
pub mod target;
pub mod timers;
pub mod worker;
pub mod workers;
mod working_directory;

use std::ffi::{CString, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

/// Runs the program with the process's arguments and returns its exit code: 0 done, 1
/// failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<_> = arguments.collect();
    let result = match options::parse_as(&program, &arguments) {
        Ok(options::Command::Print(text)) => {
            // A reader that has seen enough is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Ok(options::Command::Sni(options)) => sni::run(&options),
        Ok(options::Command::Keep(command)) => keep(program, &command),
        Ok(options::Command::Hold(options)) => hold::run(&options),
        Ok(options::Command::Relay(options)) => relay::run(&options),
        Ok(options::Command::Serve(options)) => serve::run(&options),
        Err(error) => {
            eprintln!("cloister-door: {error}\nTry: cloister-door --help");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloister-door: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The program is named as it was: a path that leads to the newest version still does. No name
/// that stands for a command comes here, so that the door takes this one for the command.
fn keep(program: OsString, command: &[OsString]) -> Result<(), String> {
    let program = CString::new(program.into_vec());
    let program = program.map_err(|_| "the program's name contains a NUL byte".to_owned())?;
    keeper::run(program, command)
}
