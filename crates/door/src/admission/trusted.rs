//! Who may say whom a connection is from: the proxies whose PROXY header counts.
//!
//! From them a header is required: without it a client that reaches the listener through a
//! proxy's address could name any other. From everybody else no header is read at all; its
//! bytes are no ClientHello and are refused as such.

use cloister_proto::network::Network;

use crate::connection::client::Client;

/// Peers by address, and by user where they are processes of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedPeers {
    networks: Vec<Network>,
    users: Users,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Users {
    These(Vec<u32>),
    All,
}

impl Default for Users {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl TrustedPeers {
    /// Reads `ADDRESS/PREFIX`, `ADDRESS`, `unix` (every process that may connect) or
    /// `unix:UID`.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them, for a person.
    pub fn parse<Text: AsRef<str>>(texts: &[Text]) -> Result<Self, String> {
        let mut trusted = Self::default();
        for text in texts {
            trusted.add(text.as_ref())?;
        }
        Ok(trusted)
    }

    /// Adds one of them.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for a person.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        if text == "unix" {
            self.users = Users::All;
        } else if let Some(user) = text.strip_prefix("unix:") {
            let uid = user.parse().map_err(|_| {
                format!("{user:?} is no user id; write for example unix:33, or unix for everybody")
            })?;
            if let Users::These(uids) = &mut self.users {
                uids.push(uid);
            }
        } else {
            self.networks
                .push(text.parse().map_err(|error| format!("{error}"))?);
        }
        Ok(())
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.users == Users::default()
    }

    /// Whether this peer has to begin with a header.
    #[must_use]
    pub fn covers(&self, peer: &Client) -> bool {
        match peer {
            Client::Inet(address) => {
                let inside = |network: &Network| network.contains(address.ip());
                self.networks.iter().any(inside)
            }
            Client::Unix { uid, .. } => match &self.users {
                Users::All => true,
                Users::These(uids) => uids.contains(uid),
            },
            Client::Vsock(_) | Client::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloister_sys::vsock::VsockAddress;

    fn inet(text: &str) -> Client {
        Client::Inet(text.parse().expect("an address"))
    }

    #[test]
    fn networks_and_users_are_told_apart() {
        let trusted =
            TrustedPeers::parse(&["10.0.0.0/8", "2001:db8::1", "unix:33"]).expect("right");
        assert!(trusted.covers(&inet("10.9.9.9:1")));
        assert!(trusted.covers(&inet("[::ffff:10.9.9.9]:1")));
        assert!(trusted.covers(&inet("[2001:db8::1]:1")));
        assert!(!trusted.covers(&inet("192.0.2.1:1")));
        assert!(!trusted.covers(&inet("[2001:db8::2]:1")));
        assert!(trusted.covers(&Client::Unix { uid: 33, pid: 1 }));
        assert!(!trusted.covers(&Client::Unix { uid: 0, pid: 1 }));
        assert!(!trusted.covers(&Client::Unknown));
        let machine = VsockAddress { cid: 33, port: 33 };
        assert!(!trusted.covers(&Client::Vsock(machine)));
    }

    #[test]
    fn unix_alone_covers_every_user_and_no_address() {
        for texts in [&["unix"][..], &["unix", "unix:33"], &["unix:33", "unix"]] {
            let trusted = TrustedPeers::parse(texts).expect("right");
            assert!(trusted.covers(&Client::Unix { uid: 1000, pid: 1 }));
            assert!(!trusted.covers(&inet("127.0.0.1:1")));
        }
        assert!(TrustedPeers::parse::<&str>(&[]).expect("right").is_empty());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in ["unix:www-data", "unix:", "unix:-1", "10.0.0.1/8", "x"] {
            assert!(TrustedPeers::parse(&[text]).is_err(), "{text}");
        }
    }
}
