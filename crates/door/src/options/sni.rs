//! `cloister-door sni`.

use std::path::PathBuf;
use std::time::Duration;

use super::{Admission, Arguments, Command, Value, help, time_span, version};

/// Options of `sni`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sni {
    /// The hosts directory.
    pub hosts: PathBuf,
    /// Whether its folders are called by the hashes of the hostnames.
    pub hashed: bool,
    /// The root to change to, before the hosts directory is opened.
    pub chroot: Option<PathBuf>,
    /// Whom to become.
    pub user: Option<String>,
    /// Worker threads; `None`: one per CPU.
    pub workers: Option<u16>,
    /// From accept to the end of the hello.
    pub hello_timeout: Duration,
    /// From the hello to a connected target.
    pub connect_timeout: Duration,
    /// How long to live without a connection.
    pub exit_idle_time: Option<Duration>,
    /// How long open connections may go on after a signal to stop.
    pub drain: Duration,
    /// Connections at once per listener; 0 for no bound.
    pub connections: u32,
    /// Whom to let in.
    pub admission: Admission,
    /// Whether connections are logged.
    pub log_connections: bool,
    /// `TCP_DEFER_ACCEPT` in seconds.
    pub defer_accept: Option<u32>,
}

impl Default for Sni {
    fn default() -> Self {
        Self {
            hosts: PathBuf::from("."),
            hashed: false,
            chroot: None,
            user: None,
            workers: None,
            hello_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            exit_idle_time: None,
            drain: Duration::from_secs(10),
            connections: 0,
            admission: Admission::default(),
            log_connections: false,
            defer_accept: None,
        }
    }
}

/// The command's part of the help.
pub(super) const HELP: &str = "\
sni    Serves one hosts directory: HOSTS/www.example.org/tls-socket is the socket of
       www.example.org; an empty file send-proxy-v1 or send-proxy-v2 beside it asks
       for a PROXY header (version 2 wins where both are there). Every connection
       looks afresh. The listening sockets come by LISTEN_FDS (sd_listen_fds(3)) or,
       one, as standard input. SIGHUP and SIGTERM close the listeners at once and let
       open connections end; a second SIGTERM, or SIGINT, ends them;
       SIGUSR1 lets them end whenever they do. A service manager
       is told of it (sd_notify(3)), its watchdog included.

  --hosts DIR              the hosts directory (default: the working directory)
  --hashed                 the folders are called by the hashes of the hostnames, as
                           `cloister hostname --hashed` prints them
  --chroot DIR             make DIR the root directory first, --hosts is looked up in it;
                           it needs to hold nothing but the hosts directory, or to be it
  --user NAME|UID[:GID]    become this user (default as root: nobody; root stays root
                           only by --user root)
  --workers N              threads (default: one per CPU)
  --hello-timeout SECONDS  for the whole ClientHello (default 10)
  --connect-timeout SECONDS  for a host whose queue is full (default 5)
  --exit-idle-time TIME    exit when there was no connection for so long: 5min, 90s,
                           infinity (the default; systemd.time(7))
  --drain SECONDS          for open connections after a signal to stop (default 10)
  --connections N          at once per listener; one more is reset (default 0: no bound)
  --log-connections        one JSON line per connection on standard output
  --defer-accept SECONDS   let the kernel keep clients that say nothing (tcp(7)
                           TCP_DEFER_ACCEPT); they are then not seen and not counted
";

pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, String> {
    let mut options = Sni::default();
    while let Some((name, value)) = arguments.next_option()? {
        let mut value = Value {
            name,
            given: value,
            arguments,
        };
        match name {
            "--hosts" => options.hosts = PathBuf::from(value.raw()?),
            "--hashed" => {
                value.none()?;
                options.hashed = true;
            }
            "--chroot" => options.chroot = Some(PathBuf::from(value.raw()?)),
            "--user" => options.user = Some(value.text()?.to_owned()),
            "--workers" => options.workers = Some(value.number()?),
            "--hello-timeout" => options.hello_timeout = value.seconds()?,
            "--connect-timeout" => options.connect_timeout = value.seconds()?,
            "--exit-idle-time" => {
                let span = time_span::parse(value.text()?);
                options.exit_idle_time = span.map_err(|error| format!("{name}: {error}"))?;
            }
            "--drain" => options.drain = value.seconds()?,
            "--connections" => options.connections = value.number()?,
            "--defer-accept" => options.defer_accept = Some(value.number()?),
            "--log-connections" => {
                value.none()?;
                options.log_connections = true;
            }
            "--help" | "-h" => return Ok(help()),
            "--version" => return Ok(version()),
            _ if options.admission.take(&mut value)? => {}
            _ => return Err(format!("sni has no option {name:?}")),
        }
    }
    Ok(Command::Sni(options))
}
