//! `cloister-door hold`.

use std::os::fd::RawFd;

use super::{Arguments, Command, Value, help, version};

/// Options of `hold`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The listening `SOCK_SEQPACKET` socket on which supervisors give their orders.
    pub socket: RawFd,
}

/// The command's part of the help.
pub(super) const HELP: &str = "\
hold   Keeps descriptors for a supervisor, and gives them to the next one where that is
       killed. Started by `cloister up`.

  --socket-fd N            the listening SOCK_SEQPACKET socket for supervisors
";

pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, String> {
    let mut socket = None;
    while let Some((name, value)) = arguments.next_option()? {
        let mut value = Value {
            name,
            given: value,
            arguments,
        };
        match name {
            "--socket-fd" => socket = Some(value.number()?),
            "--help" | "-h" => return Ok(help()),
            "--version" => return Ok(version()),
            _ => return Err(format!("hold has no option {name:?}")),
        }
    }
    let socket = socket.ok_or("hold needs --socket-fd, the socket for supervisors")?;
    Ok(Command::Hold(Hold { socket }))
}
