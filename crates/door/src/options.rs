//! The command line: text to values, without a system call.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write this to standard output.
    Print(String),
    /// Serve a hosts directory.
    Sni(Sni),
    /// Serve what a supervisor says.
    Serve(Serve),
}

/// Options of `sni`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sni {
    /// The hosts directory.
    pub hosts: PathBuf,
    /// Whom to become.
    pub user: Option<String>,
    /// Worker threads; `None`: one per CPU.
    pub workers: Option<u16>,
    /// From accept to the end of the hello.
    pub hello_timeout: Duration,
    /// From the hello to a connected target.
    pub connect_timeout: Duration,
    /// How long open connections may go on after a signal to stop.
    pub drain: Duration,
    /// Connections at once per listener; 0 for no bound.
    pub connections: u32,
    /// Whether connections are logged.
    pub log_connections: bool,
    /// `TCP_DEFER_ACCEPT` in seconds.
    pub defer_accept: Option<u32>,
}

impl Default for Sni {
    fn default() -> Self {
        Self {
            hosts: PathBuf::from("."),
            user: None,
            workers: None,
            hello_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            connections: 0,
            log_connections: false,
            defer_accept: None,
        }
    }
}

/// Options of `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// The supervisor's `SOCK_SEQPACKET` socket.
    pub control: RawFd,
    /// Whom to become.
    pub user: Option<String>,
    /// Whether to be killed when the supervisor is.
    pub die_with_parent: bool,
}

const HELP: &str = "\
cloister-door takes TLS connections, reads their server name without decrypting
anything, and relays each to the Unix socket of its host.

Usage: cloister-door sni [OPTIONS]
       cloister-door serve --control-fd N [OPTIONS]
       cloister-door --help | --version

sni    Serves one hosts directory: HOSTS/www.example.org/tls-socket is the socket of
       www.example.org; an empty file send-proxy-v1 or send-proxy-v2 beside it asks
       for a PROXY header (version 2 wins where both are there). Every connection
       looks afresh. The listening sockets come by LISTEN_FDS (sd_listen_fds(3)) or,
       one, as standard input. SIGHUP and SIGTERM close the listeners at once and let
       open connections end.

  --hosts DIR              the hosts directory (default: the working directory)
  --user NAME|UID[:GID]    become this user (default as root: nobody; root stays root
                           only by --user root)
  --workers N              threads (default: one per CPU)
  --hello-timeout SECONDS  for the whole ClientHello (default 10)
  --connect-timeout SECONDS  for a host whose queue is full (default 5)
  --drain SECONDS          for open connections after a signal to stop (default 10)
  --connections N          at once per listener; one more is reset (default 0: no bound)
  --log-connections        one JSON line per connection on standard output
  --defer-accept SECONDS   let the kernel keep clients that say nothing (tcp(7)
                           TCP_DEFER_ACCEPT); they are then not seen and not counted

serve  Serves what a supervisor says over a SOCK_SEQPACKET socket.

  --control-fd N           that socket's descriptor
  --user NAME|UID[:GID]    become this user
  --die-with-parent        be killed when the supervisor ends

Example: a folder for each host, on port 443:

  systemd-socket-activate -l 443 cloister-door sni --hosts /srv/hosts --user sniproxy
";

/// Reads the arguments after the program's name.
///
/// # Errors
///
/// What is wrong with them, for a person.
pub fn parse(arguments: &[OsString]) -> Result<Command, String> {
    let mut arguments = Arguments(arguments.iter());
    let Some(verb) = arguments.0.next() else {
        return Err("no command given; the commands are sni and serve".to_owned());
    };
    match text(verb)? {
        "sni" => sni(&mut arguments),
        "serve" => serve(&mut arguments),
        "--help" | "-h" | "help" => Ok(Command::Print(HELP.to_owned())),
        "--version" | "-V" => Ok(version()),
        other => Err(format!(
            "unknown command {other:?}; the commands are sni and serve"
        )),
    }
}

fn version() -> Command {
    Command::Print(format!("cloister-door {}\n", env!("CARGO_PKG_VERSION")))
}

fn sni(arguments: &mut Arguments<'_>) -> Result<Command, String> {
    let mut options = Sni::default();
    while let Some((name, value)) = arguments.next_option()? {
        let mut value = Value {
            name,
            given: value,
            arguments,
        };
        match name {
            "--hosts" => options.hosts = PathBuf::from(value.raw()?),
            "--user" => options.user = Some(value.text()?.to_owned()),
            "--workers" => options.workers = Some(value.number()?),
            "--hello-timeout" => options.hello_timeout = value.seconds()?,
            "--connect-timeout" => options.connect_timeout = value.seconds()?,
            "--drain" => options.drain = value.seconds()?,
            "--connections" => options.connections = value.number()?,
            "--defer-accept" => options.defer_accept = Some(value.number()?),
            "--log-connections" => {
                value.none()?;
                options.log_connections = true;
            }
            "--help" | "-h" => return Ok(Command::Print(HELP.to_owned())),
            "--version" => return Ok(version()),
            _ => return Err(format!("sni has no option {name:?}")),
        }
    }
    Ok(Command::Sni(options))
}

fn serve(arguments: &mut Arguments<'_>) -> Result<Command, String> {
    let mut control = None;
    let mut user = None;
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
            "--die-with-parent" => {
                value.none()?;
                die_with_parent = true;
            }
            "--help" | "-h" => return Ok(Command::Print(HELP.to_owned())),
            "--version" => return Ok(version()),
            _ => return Err(format!("serve has no option {name:?}")),
        }
    }
    Ok(Command::Serve(Serve {
        control: control.ok_or("serve needs --control-fd, the supervisor's socket")?,
        user,
        die_with_parent,
    }))
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
            assert!(HELP.contains(line), "{line}");
        }
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
            ("relay", "relay"),
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
