//! `cloister-door serve`.

use std::os::fd::RawFd;

use crate::confine::reach::Reach;

use super::{Arguments, Command, Value, help, version};

/// Options of `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// The supervisor's `SOCK_SEQPACKET` socket.
    pub control: RawFd,
    /// Whom to become.
    pub user: Option<String>,
    /// What targets may take beyond Unix sockets that have a path.
    pub targets: Reach,
    /// Whether to be killed when the supervisor is.
    pub die_with_parent: bool,
}

/// The command's part of the help.
pub(super) const HELP: &str = "\
serve  Serves what a supervisor says over a SOCK_SEQPACKET socket.

  --control-fd N           that socket's descriptor
  --user NAME|UID[:GID]    become this user
  --targets KIND[,KIND...] allow more targets than Unix sockets with a path: abstract,
                           tcp, vsock (default: none)
  --die-with-parent        be killed when the supervisor ends
";

pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, String> {
    let mut control = None;
    let mut user = None;
    let mut targets = Reach::default();
    let mut die_with_parent = false;
    while let Some((name, value)) = arguments.next_option()? {
        let mut value = Value {
            name,
            given: value,
            arguments,
        };
        match name {
            "--control-fd" => control = Some(value.number()?),
            "--user" => user = Some(value.text()?.to_owned()),
            "--targets" => {
                let list = Reach::parse(value.text()?);
                targets = list.map_err(|error| format!("{name}: {error}"))?;
            }
            "--die-with-parent" => {
                value.none()?;
                die_with_parent = true;
            }
            "--help" | "-h" => return Ok(help()),
            "--version" => return Ok(version()),
            _ => return Err(format!("serve has no option {name:?}")),
        }
    }
    Ok(Command::Serve(Serve {
        control: control.ok_or("serve needs --control-fd, the supervisor's socket")?,
        user,
        targets,
        die_with_parent,
    }))
}
