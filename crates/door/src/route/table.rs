//! Routes by server name from the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use cloister_proto::hostname::Hostname;
use cloister_proto::messages::door::Delivery;

use super::Destination;

/// What a route's `host` may say.
enum Pattern {
    Exact(Hostname),
    Below(Hostname),
    Default,
}

/// Targets by name: exact, then `*.parent`, then `*`.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<Hostname, Arc<Destination>>,
    below: HashMap<Hostname, Arc<Destination>>,
    default: Option<Arc<Destination>>,
    hands_off: bool,
}

impl Table {
    /// Adds a route.
    ///
    /// # Errors
    ///
    /// What is wrong with `host`, for a person: no canonical name, or taken already.
    pub fn insert(&mut self, host: &str, destination: Arc<Destination>) -> Result<(), String> {
        self.hands_off |= destination.delivery == Delivery::Handoff;
        let previous = match pattern(host)? {
            Pattern::Exact(name) => self.exact.insert(name, destination),
            Pattern::Below(name) => self.below.insert(name, destination),
            Pattern::Default => self.default.replace(destination),
        };
        match previous {
            None => Ok(()),
            Some(_) => Err(format!("the host {host:?} has two routes")),
        }
    }

    /// Whether any target gets connections handed off.
    #[must_use]
    pub fn hands_off(&self) -> bool {
        self.hands_off
    }

    /// The target for a name, or for a hello without one.
    #[must_use]
    pub fn find(&self, name: Option<&Hostname>) -> Option<&Arc<Destination>> {
        name.and_then(|name| {
            let below = || name.parent().and_then(|parent| self.below.get(parent));
            self.exact.get(name).or_else(below)
        })
        .or(self.default.as_ref())
    }
}

fn pattern(host: &str) -> Result<Pattern, String> {
    if host == "*" {
        return Ok(Pattern::Default);
    }
    let (text, below) = match host.strip_prefix("*.") {
        Some(parent) => (parent, true),
        None => (host, false),
    };
    let name = Hostname::parse(text.as_bytes())
        .map_err(|error| format!("the host {host:?} is no hostname: {error}"))?;
    if name.as_str() != text {
        return Err(format!("the host {host:?} is not in canonical form"));
    }
    Ok(if below {
        Pattern::Below(name)
    } else {
        Pattern::Exact(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;
    use cloister_proto::messages::door;

    fn destination(path: &str) -> Arc<Destination> {
        let path = path.to_owned();
        Arc::new(Destination {
            target: Target::new(&door::Target::UnixPath { path }, door::Balance::RoundRobin)
                .expect("absolute"),
            host: "".into(),
            send_proxy: door::SendProxy::None,
            delivery: Delivery::Relay,
            app: None,
        })
    }

    fn found(table: &Table, name: &str) -> Option<String> {
        let name = Hostname::parse(name.as_bytes()).expect("a name");
        let destination = table.find(Some(&name))?;
        Some(destination.target.to_string())
    }

    #[test]
    fn exact_before_wildcard_before_default() {
        let mut table = Table::default();
        table
            .insert("a.example", destination("/exact"))
            .expect("new");
        table
            .insert("*.example", destination("/below"))
            .expect("new");
        assert_eq!(found(&table, "a.example").as_deref(), Some("unix:/exact"));
        assert_eq!(found(&table, "b.example").as_deref(), Some("unix:/below"));
        assert_eq!(found(&table, "c.b.example"), None, "one label only");
        assert_eq!(found(&table, "example"), None);
        assert!(table.find(None).is_none());
        table.insert("*", destination("/default")).expect("new");
        assert_eq!(found(&table, "example").as_deref(), Some("unix:/default"));
        assert!(table.find(None).is_some());
    }

    #[test]
    fn a_route_needs_a_canonical_name_of_its_own() {
        let mut table = Table::default();
        for host in [
            "A.example",
            "a.example.",
            "*.*.example",
            "a/b",
            "",
            "*a.example",
        ] {
            assert!(table.insert(host, destination("/x")).is_err(), "{host}");
        }
        table.insert("a.example", destination("/x")).expect("new");
        assert!(table.insert("a.example", destination("/y")).is_err());
    }
}
