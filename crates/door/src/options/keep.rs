//! `cloister-door keep`.

use std::ffi::OsString;

use super::Command;

/// The command's part of the help.
pub(super) const HELP: &str = "\
keep   Holds the listening sockets and has `cloister-door COMMAND [OPTIONS]` serve
       them as a process of its own. On SIGUSR2 it starts the next one, from the
       program's file as it is then, and lets the one before end with its last
       connection once the new one accepts: no connection waits, none is lost. One
       that dies is followed by another. SIGHUP, SIGTERM and SIGINT are for all.
       Under systemd: Type=notify-reload with ReloadSignal=SIGUSR2, or Type=notify with
       ExecReload=/bin/kill -USR2 $MAINPID.
";

/// Reads what follows `keep`: another command's line, which must be right, or the keeper
/// would find out only when it starts a door.
pub(super) fn parse(arguments: &[OsString]) -> Result<Command, String> {
    if arguments.is_empty() {
        return Err("keep needs the command to keep: keep sni [OPTIONS]".to_owned());
    }
    match super::parse(arguments)? {
        print @ Command::Print(_) => Ok(print),
        // A supervisor keeps its own.
        Command::Serve(_) => Err("keep has no use for serve".to_owned()),
        Command::Hold(_) => Err("keep has no use for hold".to_owned()),
        Command::Keep(_) => Err("keep keeps no keep".to_owned()),
        _ => Ok(Command::Keep(arguments.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let arguments: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        super::super::parse(&arguments)
    }

    #[test]
    fn what_is_kept_is_checked_and_passed_on_as_it_is() {
        let kept = ["sni", "--drain", "3"].map(OsString::from).to_vec();
        assert_eq!(parsed("keep sni --drain 3"), Ok(Command::Keep(kept)));
        for (line, part) in [
            ("keep", "needs the command"),
            ("keep sni --colour", "--colour"),
            ("keep keep sni", "keep keeps no keep"),
            ("keep serve --control-fd 3", "no use for serve"),
            ("keep hold --socket-fd 3", "no use for hold"),
            ("keep nothing", "nothing"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(matches!(parsed("keep sni --help"), Ok(Command::Print(_))));
    }
}
