//! What the commands that serve by themselves have in common: whom they let in.

use std::time::Duration;

use super::Value;
use crate::admission::trusted::TrustedPeers;

/// Options of admission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Who has to begin with a PROXY header.
    pub accept_proxy: TrustedPeers,
    /// Connections at once for each client; 0 for no bound.
    pub connections_per_client: u32,
    /// The same for each host.
    pub connections_per_host: u32,
    /// How long a relayed connection may move no byte; zero for any time.
    pub idle_timeout: Duration,
}

/// Their part of the help.
pub(super) const HELP: &str = "\
Whom sni and relay let in, beside --connections:

  --accept-proxy PEER      connections from there must begin with a PROXY header, and
                           what it says is taken for true: 10.0.0.0/8, 2001:db8::1, unix
                           (every process) or unix:UID; may be given again
  --connections-per-client N  at once for each IPv4 address, IPv6 network of 64 bits, or
                           user of this machine (default 0: no bound)
  --connections-per-host N at once for each host (default 0: no bound)
  --idle-timeout SECONDS   reset what has moved no byte for so long (default 0: never)
";

impl Admission {
    /// Takes an option that is one of these; false for others.
    ///
    /// # Errors
    ///
    /// What is wrong with its value, for a person.
    pub(super) fn take(&mut self, value: &mut Value<'_, '_>) -> Result<bool, String> {
        match value.name {
            "--accept-proxy" => {
                let text = value.text()?;
                let added = self.accept_proxy.add(text);
                added.map_err(|error| format!("--accept-proxy: {error}"))?;
            }
            "--connections-per-client" => self.connections_per_client = value.number()?,
            "--connections-per-host" => self.connections_per_host = value.number()?,
            "--idle-timeout" => self.idle_timeout = value.seconds()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Sni, parse};
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let arguments: Vec<_> = line.split_whitespace().map(Into::into).collect();
        parse(&arguments)
    }

    #[test]
    fn peers_are_collected() {
        let Ok(Command::Sni(Sni { admission, .. })) = parsed(
            "sni --accept-proxy 10.0.0.0/8 --accept-proxy=unix:33 --connections-per-client 3 \
             --connections-per-host=4 --idle-timeout 0.5",
        ) else {
            panic!("refused");
        };
        let expected = Admission {
            accept_proxy: TrustedPeers::parse(&["10.0.0.0/8", "unix:33"]).expect("right"),
            connections_per_client: 3,
            connections_per_host: 4,
            idle_timeout: Duration::from_millis(500),
        };
        assert_eq!(admission, expected);
    }

    #[test]
    fn a_wrong_peer_is_a_usage_error_that_names_the_option() {
        let error = parsed("sni --accept-proxy 10.0.0.1/8").expect_err("host bits");
        assert!(error.starts_with("--accept-proxy: "), "{error}");
        assert!(parsed("sni --accept-proxy").is_err());
        assert!(parsed("sni --connections-per-host -1").is_err());
    }
}
