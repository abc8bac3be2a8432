//! `cloister-door relay`, with every option of systemd-socket-proxyd(8).

use std::time::Duration;

use cloister_proto::messages::door::{Balance, Keepalive, SendProxy};

use super::{Admission, Arguments, Command, Value, help, text, time_span, version};

/// Options of `relay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Where to, as it was written.
    pub target: String,
    /// Connections at once, of all listeners together; more wait.
    pub connections_max: u32,
    /// How long to live without a connection.
    pub exit_idle_time: Option<Duration>,
    /// Whom to become.
    pub user: Option<String>,
    /// Worker threads; `None`: one per CPU.
    pub workers: Option<u16>,
    /// From accept to a connected target.
    pub connect_timeout: Duration,
    /// How long open connections may go on after a signal to stop.
    pub drain: Duration,
    /// The header to begin with.
    pub send_proxy: SendProxy,
    /// Which of several addresses comes first.
    pub balance: Balance,
    /// TCP keepalive on both sides.
    pub keepalive: Option<Keepalive>,
    /// Who is let in.
    pub admission: Admission,
    /// Whether connections are logged.
    pub log_connections: bool,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            target: String::new(),
            connections_max: 256,
            exit_idle_time: None,
            user: None,
            workers: None,
            connect_timeout: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            send_proxy: SendProxy::None,
            balance: Balance::RoundRobin,
            keepalive: None,
            admission: Admission::default(),
            log_connections: false,
        }
    }
}

/// What `--keepalive` leaves out: probes as tcp(7) has them by default.
const KEEPALIVE: Keepalive = Keepalive {
    idle_s: 7200,
    interval_s: 75,
    probes: 9,
};

/// The command's part of the help.
pub(super) const HELP: &str = "\
relay  Relays every connection to one target, whatever it speaks, and takes the command
       line of systemd-socket-proxyd(8). The listening sockets come as for sni; signals
       mean the same.

       TARGET is HOST:PORT (a name is looked up again as its addresses expire; a port may
       be a name of /etc/services; without one it is 80), the path of a Unix socket, an
       abstract one as @NAME, vsock:CID:PORT, or srv:_SERVICE._tcp.NAME. A target that
       refuses is tried again until --connect-timeout.

  -c, --connections-max N  at once, all listeners together (default 256); more wait
  --exit-idle-time TIME    exit when there was no connection for so long: 5min, \"1h 30s\",
                           90, infinity (the default; systemd.time(7))
  --user NAME|UID[:GID]    become this user (default as root: nobody)
  --workers N              threads (default: one per CPU)
  --connect-timeout SECONDS  to reach the target (default 5)
  --drain SECONDS          for open connections after a signal to stop (default 10)
  --send-proxy v1|v2       begin with a PROXY header that names the client
  --balance round-robin|least-connections
                           among the addresses of the target (default round-robin)
  --keepalive IDLE[:INTERVAL[:PROBES]]
                           have the kernel probe silent TCP peers of both sides after
                           IDLE seconds, every INTERVAL (75), PROBES times (9)
  --log-connections        one JSON line per connection on standard output
";

pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, String> {
    let mut options = Relay::default();
    let mut target = None;
    let mut only_targets = false;
    // As getopt_long(3) has it: the target may stand anywhere, `--` ends the options, and a
    // short option's value may follow without a space.
    while let Some(argument) = arguments.0.next() {
        let argument = text(argument)?;
        if only_targets || argument == "-" || !argument.starts_with('-') {
            if target.replace(argument).is_some() {
                return Err(format!(
                    "{argument:?} is one target too many: relay takes one"
                ));
            }
            continue;
        }
        if argument == "--" {
            only_targets = true;
            continue;
        }
        let (name, given) = match argument.strip_prefix("-c") {
            Some("") => ("--connections-max", None),
            Some(value) => ("--connections-max", Some(value)),
            None => match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument, None),
            },
        };
        let mut value = Value {
            name,
            given,
            arguments,
        };
        match name {
            "--connections-max" => options.connections_max = value.number()?,
            "--exit-idle-time" => {
                let span = time_span::parse(value.text()?);
                options.exit_idle_time = span.map_err(|error| format!("{name}: {error}"))?;
            }
            "--user" => options.user = Some(value.text()?.to_owned()),
            "--workers" => options.workers = Some(value.number()?),
            "--connect-timeout" => options.connect_timeout = value.seconds()?,
            "--drain" => options.drain = value.seconds()?,
            "--send-proxy" => {
                options.send_proxy = match value.text()? {
                    "v1" => SendProxy::V1,
                    "v2" => SendProxy::V2,
                    other => return Err(format!("{name} is v1 or v2, not {other:?}")),
                }
            }
            "--balance" => {
                options.balance = match value.text()? {
                    "round-robin" => Balance::RoundRobin,
                    "least-connections" => Balance::LeastConnections,
                    other => {
                        return Err(format!(
                            "{name} is round-robin or least-connections, not {other:?}"
                        ));
                    }
                }
            }
            "--keepalive" => options.keepalive = Some(keepalive(name, value.text()?)?),
            "--log-connections" => {
                value.none()?;
                options.log_connections = true;
            }
            _ if options.admission.take(&mut value)? => {}
            "--help" | "-h" => return Ok(help()),
            "--version" => return Ok(version()),
            _ => return Err(format!("relay has no option {name:?}")),
        }
    }
    if options.connections_max == 0 {
        return Err("--connections-max 0 would serve nobody".to_owned());
    }
    if options.connect_timeout.is_zero() {
        return Err("--connect-timeout 0 would reach nobody".to_owned());
    }
    options.target = target
        .filter(|target| !target.is_empty())
        .ok_or("relay needs a target: HOST:PORT or the path of a Unix socket")?
        .to_owned();
    Ok(Command::Relay(options))
}

/// Reads `IDLE[:INTERVAL[:PROBES]]` within the bounds that tcp(7) has for each.
fn keepalive(name: &str, value: &str) -> Result<Keepalive, String> {
    let wrong = || {
        format!(
            "{name} is IDLE[:INTERVAL[:PROBES]], seconds from 1 to 32767 and probes from 1 to \
             127, not {value:?}"
        )
    };
    let mut parts = value.split(':');
    let mut next = |default: u32, most: u32| match parts.next() {
        None => Ok(default),
        Some(part) => part
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(wrong),
    };
    let keepalive = Keepalive {
        idle_s: next(KEEPALIVE.idle_s, 32767)?,
        interval_s: next(KEEPALIVE.interval_s, 32767)?,
        probes: next(KEEPALIVE.probes, 127)?,
    };
    match parts.next() {
        None => Ok(keepalive),
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn parsed(arguments: &[&str]) -> Result<Relay, String> {
        let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        match parse(&mut Arguments(arguments.iter()))? {
            Command::Relay(relay) => Ok(relay),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_of_socket_proxyd() {
        let expected = Relay {
            target: "/run/x".to_owned(),
            connections_max: 7,
            exit_idle_time: Some(Duration::from_secs(300)),
            ..Relay::default()
        };
        for line in [
            &["-c", "7", "--exit-idle-time=5min", "/run/x"][..],
            &["-c7", "--exit-idle-time", "5min", "/run/x"],
            &["/run/x", "--connections-max=7", "--exit-idle-time=300"],
            &[
                "--connections-max",
                "7",
                "--exit-idle-time=4min 60s",
                "--",
                "/run/x",
            ],
        ] {
            assert_eq!(parsed(line), Ok(expected.clone()), "{line:?}");
        }
        let plain = parsed(&["--exit-idle-time=infinity", "h:1"]).expect("right");
        assert_eq!((plain.connections_max, plain.exit_idle_time), (256, None));
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let relay = parsed(&["h"]).expect("right");
        assert!(HELP.contains(&format!("(default {}); more wait", relay.connections_max)));
        let seconds = relay.connect_timeout.as_secs();
        assert!(HELP.contains(&format!("reach the target (default {seconds})")));
        let keepalive = parsed(&["--keepalive", "60", "h"])
            .expect("right")
            .keepalive;
        let Keepalive {
            interval_s, probes, ..
        } = keepalive.expect("given");
        assert!(HELP.contains(&format!("INTERVAL ({interval_s}), PROBES times ({probes})")));
    }

    #[test]
    fn keepalive_has_three_parts() {
        let relay = parsed(&["--keepalive=60:7:3", "h"]).expect("right");
        let expected = Keepalive {
            idle_s: 60,
            interval_s: 7,
            probes: 3,
        };
        assert_eq!(relay.keepalive, Some(expected));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, part) in [
            (&[][..], "needs a target"),
            (&[""], "needs a target"),
            (&["a:1", "b:2"], "b:2"),
            (&["-c", "0", "a"], "--connections-max"),
            (&["-c", "x", "a"], "\"x\""),
            (&["-c"], "needs a value"),
            (&["--exit-idle-time=soon", "a"], "--exit-idle-time"),
            (&["--keepalive=0", "a"], "--keepalive"),
            (&["--keepalive=1:2:3:4", "a"], "--keepalive"),
            (&["--send-proxy=v3", "a"], "v3"),
            (&["--balance=random", "a"], "random"),
            (&["--connect-timeout=0", "a"], "--connect-timeout"),
            (&["--colour", "a"], "--colour"),
            (&["-x", "a"], "-x"),
        ] {
            let error = parsed(line).expect_err(part);
            assert!(error.contains(part), "{line:?}: {error}");
        }
    }
}
