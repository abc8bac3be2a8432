//! Targets as people write them on a command line: what systemd-socket-proxyd(8) takes, and
//! the forms of the configuration.

use cloister_proto::messages::door::Target;

/// The port of a target that names none, as with systemd-socket-proxyd.
const DEFAULT_PORT: &str = "80";

/// Reads a target: `HOST:PORT`, `/path`, `@abstract`, `unix:`, `tcp:`, `vsock:CID:PORT`,
/// `srv:_service._tcp.NAME`. `services` is a text in the format of services(5), for ports
/// that are names.
///
/// What stands before the last colon is the host, so `::1:80` is port 80 of `::1`; brackets
/// around an IPv6 address may be written.
///
/// # Errors
///
/// What is wrong with it, for a person.
pub fn parse(text: &str, services: &str) -> Result<Target, String> {
    let unix = text.strip_prefix("unix:").unwrap_or(text);
    if unix.starts_with('/') {
        return Ok(Target::UnixPath {
            path: unix.to_owned(),
        });
    }
    if let Some(name) = unix.strip_prefix('@') {
        if name.is_empty() {
            return Err(format!("{text:?} has no name after the @"));
        }
        return Ok(Target::UnixAbstract {
            name: name.to_owned(),
        });
    }
    if let Some((cid, port)) = text
        .strip_prefix("vsock:")
        .and_then(|rest| rest.split_once(':'))
    {
        let number = |part: &str| {
            part.parse()
                .map_err(|_| format!("{text:?}: {part:?} is no number; write vsock:CID:PORT"))
        };
        return Ok(Target::Vsock {
            cid: number(cid)?,
            port: number(port)?,
        });
    }
    if let Some(name) = text.strip_prefix("srv:").filter(|n| n.starts_with('_')) {
        return Ok(Target::Srv {
            name: name.to_owned(),
        });
    }
    // A host of the name tcp may have a port too.
    let address = text.strip_prefix("tcp:").filter(|rest| rest.contains(':'));
    tcp(address.unwrap_or(text), services).map_err(|error| format!("{text:?}: {error}"))
}

fn tcp(text: &str, services: &str) -> Result<Target, String> {
    let is_v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || is_v6(strip_brackets(host)) => (host, port),
        // Without a port: the colons are those of an IPv6 address.
        Some(_) if is_v6(strip_brackets(text)) => (text, DEFAULT_PORT),
        Some(_) => return Err("no IPv6 address stands before the port".to_owned()),
        None => (text, DEFAULT_PORT),
    };
    let host = strip_brackets(host);
    if host.is_empty() {
        return Err("no host stands before the port; write HOST:PORT".to_owned());
    }
    if host.contains(|sign: char| sign.is_whitespace() || sign.is_control() || sign == '/') {
        return Err(format!("{host:?} is no host"));
    }
    let number = match port.parse::<u16>() {
        Ok(number) => number,
        Err(_) => find_service(services, port).ok_or_else(|| {
            format!("{port:?} is neither a port from 1 to 65535 nor a service of /etc/services")
        })?,
    };
    if number == 0 {
        return Err("port 0 is nobody's".to_owned());
    }
    Ok(Target::Tcp {
        host: host.to_owned(),
        port: number,
    })
}

fn strip_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// The TCP port of a service or of an alias.
fn find_service(services: &str, wanted: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut fields = line.split_whitespace();
        let (name, port) = (fields.next()?, fields.next()?);
        let port = port.strip_suffix("/tcp")?;
        let mut names = std::iter::once(name).chain(fields);
        names.any(|name| name == wanted).then_some(())?;
        port.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: &str = "# a comment\nhttp\t80/tcp\t\twww # WorldWideWeb\nsyslog 514/udp\n";

    fn tcp(host: &str, port: u16) -> Target {
        Target::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn what_socket_proxyd_takes() {
        for (text, target) in [
            ("127.0.0.1:8080", tcp("127.0.0.1", 8080)),
            ("localhost", tcp("localhost", 80)),
            ("php.example.:9000", tcp("php.example.", 9000)),
            ("host:http", tcp("host", 80)),
            ("host:www", tcp("host", 80)),
            ("::1:80", tcp("::1", 80)),
            ("[::1]:80", tcp("::1", 80)),
            ("[::1]", tcp("::1", 80)),
            ("::1", tcp("::1", 80)),
            ("tcp:host:81", tcp("host", 81)),
            ("tcp:[2001:db8::1]:81", tcp("2001:db8::1", 81)),
            ("tcp:81", tcp("tcp", 81)),
        ] {
            assert_eq!(parse(text, SERVICES), Ok(target), "{text}");
        }
        let path = "/run/x".to_owned();
        let name = "x".to_owned();
        for (text, target) in [
            ("/run/x", Target::UnixPath { path: path.clone() }),
            ("unix:/run/x", Target::UnixPath { path }),
            ("@x", Target::UnixAbstract { name: name.clone() }),
            ("unix:@x", Target::UnixAbstract { name }),
            ("vsock:2:80", Target::Vsock { cid: 2, port: 80 }),
            (
                "srv:_http._tcp.example",
                Target::Srv {
                    name: "_http._tcp.example".to_owned(),
                },
            ),
        ] {
            assert_eq!(parse(text, SERVICES), Ok(target), "{text}");
        }
    }

    #[test]
    fn what_is_no_target() {
        for text in [
            "",
            ":80",
            "host:0",
            "host:65536",
            "host:syslog",
            "host:",
            "a:b:c",
            "a b:80",
            "@",
            "vsock:x:1",
            "vsock:1:-1",
            "host/x:80",
        ] {
            assert!(parse(text, SERVICES).is_err(), "{text}");
        }
    }
}
