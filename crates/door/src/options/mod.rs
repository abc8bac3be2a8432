//! The command line: text to values, without a system call. One file for each command.

mod admission;
mod hold;
mod keep;
mod relay;
mod serve;
mod sni;
mod time_span;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

pub use self::admission::Admission;
pub use self::hold::Hold;
pub use self::relay::Relay;
pub use self::serve::Serve;
pub use self::sni::Sni;

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write this to standard output.
    Print(String),
    /// Serve a hosts directory.
    Sni(Sni),
    /// Serve one target.
    Relay(Relay),
    /// Serve what a supervisor says.
    Serve(Serve),
    /// Keep descriptors for a supervisor.
    Hold(Hold),
    /// Keep a door serving that is started with these arguments.
    Keep(Vec<OsString>),
}

const OVERVIEW: &str = "\
cloister-door takes TLS connections, reads their server name without decrypting
anything, and relays each to the Unix socket of its host; or relays connections of any
kind to one target.

Usage: cloister-door sni [OPTIONS]
       cloister-door relay [OPTIONS] TARGET
       cloister-door serve --control-fd N [OPTIONS]
       cloister-door hold --socket-fd N
       cloister-door keep COMMAND [OPTIONS]
       cloister-door --help | --version

Started by the name sniproxy, as through a symbolic link, it is `cloister-door sni`; by
the name systemd-socket-proxyd it is `cloister-door relay`: the arguments are theirs.
";

const EXAMPLE: &str = "\
Examples: a folder for each host, on port 443; a name whose address changes:

  systemd-socket-activate -l 443 cloister-door sni --hosts /srv/hosts --user sniproxy
  systemd-socket-activate -l /run/php.sock cloister-door relay php.example.org.:9000
";

/// Reads the command line of a program that was started as `program`. In the place of
/// sniproxy or systemd-socket-proxyd all arguments are that one's own.
///
/// # Errors
///
/// What is wrong with them, for a person.
pub fn parse_as(program: &OsStr, arguments: &[OsString]) -> Result<Command, String> {
    match Path::new(program).file_name().and_then(OsStr::to_str) {
        Some("sniproxy") => sni::parse(&mut Arguments(arguments.iter())),
        Some("systemd-socket-proxyd") => relay::parse(&mut Arguments(arguments.iter())),
        _ => parse(arguments),
    }
}

fn parse(arguments: &[OsString]) -> Result<Command, String> {
    let mut arguments = Arguments(arguments.iter());
    let Some(verb) = arguments.0.next() else {
        return Err(
            "no command given; the commands are sni, relay, serve, hold and keep".to_owned(),
        );
    };
    match text(verb)? {
        "sni" => sni::parse(&mut arguments),
        "relay" => relay::parse(&mut arguments),
        "serve" => serve::parse(&mut arguments),
        "hold" => hold::parse(&mut arguments),
        "keep" => keep::parse(arguments.0.as_slice()),
        "--help" | "-h" | "help" => Ok(help()),
        "--version" | "-V" => Ok(version()),
        other => Err(format!(
            "unknown command {other:?}; the commands are sni, relay, serve, hold and keep"
        )),
    }
}

fn help() -> Command {
    let parts = [
        OVERVIEW,
        sni::HELP,
        admission::HELP,
        relay::HELP,
        serve::HELP,
        hold::HELP,
        keep::HELP,
        EXAMPLE,
    ];
    Command::Print(parts.join("\n"))
}

fn version() -> Command {
    Command::Print(format!("cloister-door {}\n", env!("CARGO_PKG_VERSION")))
}

struct Arguments<'a>(std::slice::Iter<'a, OsString>);

impl<'a> Arguments<'a> {
    /// The next option's name and, for `--name=value`, its value.
    fn next_option(&mut self) -> Result<Option<(&'a str, Option<&'a str>)>, String> {
        let Some(argument) = self.0.next() else {
            return Ok(None);
        };
        let argument = text(argument)?;
        if !argument.starts_with('-') {
            return Err(format!("unexpected argument {argument:?}"));
        }
        Ok(Some(match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        }))
    }
}

/// What follows an option.
struct Value<'a, 'b> {
    name: &'a str,
    given: Option<&'a str>,
    arguments: &'b mut Arguments<'a>,
}

impl<'a> Value<'a, '_> {
    fn raw(&mut self) -> Result<OsString, String> {
        match self.given {
            Some(value) => Ok(value.into()),
            None => {
                let next = self.arguments.0.next().cloned();
                next.ok_or_else(|| format!("{} needs a value", self.name))
            }
        }
    }

    fn text(&mut self) -> Result<&'a str, String> {
        match self.given {
            Some(value) => Ok(value),
            None => {
                let next = self.arguments.0.next();
                text(next.ok_or_else(|| format!("{} needs a value", self.name))?)
            }
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        let name = self.name;
        let value = self.text()?;
        value
            .parse()
            .map_err(|_| format!("{name} needs a whole number in range, not {value:?}"))
    }

    fn seconds(&mut self) -> Result<Duration, String> {
        let name = self.name;
        let value = self.text()?;
        let seconds = value.parse().ok().filter(|seconds| *seconds <= 86400.0);
        seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| format!("{name} needs seconds from 0 to 86400, not {value:?}"))
    }

    fn none(&self) -> Result<(), String> {
        match self.given {
            None => Ok(()),
            Some(_) => Err(format!("{} takes no value", self.name)),
        }
    }
}

fn text(argument: &OsString) -> Result<&str, String> {
    argument
        .to_str()
        .ok_or_else(|| format!("the argument {argument:?} is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let arguments: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        parse(&arguments)
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        assert_eq!(parsed("sni"), Ok(Command::Sni(Sni::default())));
        for line in [
            "ClientHello (default 10)",
            "queue is full (default 5)",
            "signal to stop (default 10)",
        ] {
            assert!(sni::HELP.contains(line), "{line}");
        }
    }

    #[test]
    fn the_programs_that_it_replaces_lend_it_their_names() {
        let parsed_as = |program: &str, line: &str| {
            let arguments: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
            parse_as(OsStr::new(program), &arguments)
        };
        for (link, command, line) in [
            ("sniproxy", "sni", ""),
            ("./sniproxy", "sni", "--drain 3"),
            ("/usr/sbin/sniproxy", "sni", "--help"),
            ("systemd-socket-proxyd", "relay", "-c5 name:9000"),
            ("/lib/systemd/systemd-socket-proxyd", "relay", "--version"),
            // There a word is always the target, and never a command.
            ("/lib/systemd/systemd-socket-proxyd", "relay", "keep"),
        ] {
            let expected = parsed(&format!("{command} {line}"));
            assert!(expected.is_ok(), "{expected:?}");
            assert_eq!(parsed_as(link, line), expected, "{link} {line}");
        }
        for name in ["cloister-door", "/opt/sniproxy/door", "sniproxy-2", ""] {
            assert_eq!(parsed_as(name, "sni --drain 3"), parsed("sni --drain 3"));
            assert_eq!(parsed_as(name, ""), parsed(""));
        }
        let refused = parsed_as("sniproxy", "keep sni").expect_err("no option");
        assert!(refused.contains("keep"), "{refused}");
    }

    #[test]
    fn values_follow_or_are_joined() {
        let expected = Sni {
            hosts: "/srv/hosts".into(),
            workers: Some(1),
            drain: Duration::from_millis(1500),
            log_connections: true,
            ..Sni::default()
        };
        for line in [
            "sni --hosts /srv/hosts --workers 1 --drain 1.5 --log-connections",
            "sni --hosts=/srv/hosts --workers=1 --drain=1.5 --log-connections",
        ] {
            assert_eq!(parsed(line), Ok(Command::Sni(expected.clone())));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, part) in [
            ("", "no command"),
            ("proxy", "proxy"),
            ("sni extra", "extra"),
            ("sni --colour", "--colour"),
            ("sni --workers", "--workers needs a value"),
            ("sni --workers many", "many"),
            ("sni --workers 70000", "70000"),
            ("sni --drain -1", "-1"),
            ("sni --drain inf", "inf"),
            ("sni --log-connections=yes", "takes no value"),
            ("serve", "--control-fd"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
