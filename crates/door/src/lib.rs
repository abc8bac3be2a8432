//! The front door: accepts connections, reads the ClientHello, routes, relays.
//!
//! The way of a connection: [`worker`] accepts it, [`connection`] reads its hello and asks
//! [`route`] for a target, then moves bytes both ways until both ends are done. [`runtime`]
//! is what is in force; `sni` and `serve` are the two ways to get one.
//!
//! Architecture invariant: no worker waits for another, for the log's reader, for the
//! supervisor or for a peer. Every loop that a peer can feed is bounded.

pub mod clock;
pub mod confine;
pub mod connection;
pub mod control;
pub mod inherited;
pub mod log;
pub mod options;
pub mod pipes;
pub mod process;
pub mod route;
pub mod runtime;
pub mod serve;
pub mod slab;
pub mod snapshot;
pub mod sni;
pub mod spin;
pub mod stats;
pub mod target;
pub mod timers;
pub mod worker;
pub mod workers;

use std::io::Write;
use std::process::ExitCode;

/// Runs the program with the process's arguments and returns its exit code: 0 done, 1
/// failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let result = match options::parse(&arguments) {
        Ok(options::Command::Print(text)) => {
            // A reader that has seen enough is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Ok(options::Command::Sni(options)) => sni::run(&options),
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
