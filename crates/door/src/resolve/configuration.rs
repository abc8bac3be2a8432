//! Which servers are asked, and under which names: resolv.conf(5).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
    ServerOrderingStrategy,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;

/// Servers that are asked at most; the C library's MAXNS is 3.
const SERVERS: usize = 8;

/// Search domains at most; the C library's limit until 2.26 was 6.
const SEARCH: usize = 16;

/// resolv.conf(5): larger values of `timeout`, `attempts` and `ndots` are cut to these.
const TIMEOUTS: std::ops::RangeInclusive<u64> = 1..=30;
/// See [`TIMEOUTS`].
const ATTEMPTS: std::ops::RangeInclusive<usize> = 1..=5;
/// See [`TIMEOUTS`].
const NDOTS: usize = 15;

/// What a resolv.conf says, within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    servers: Vec<SocketAddr>,
    search: Vec<Name>,
    ndots: usize,
    timeout: Duration,
    attempts: usize,
}

impl Configuration {
    /// Reads the text of a resolv.conf; unknown lines are skipped, as the C library does, and
    /// without a server this machine is asked.
    ///
    /// # Errors
    ///
    /// What is wrong, for a person.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let (config, options) = match parse_resolv_conf(text) {
            Ok(parsed) => parsed,
            // The only one without a server is what is reported as such.
            Err(NetError::Io(_)) if !names_a_server(text) => {
                let line = format!("\nnameserver {}\n", Ipv4Addr::LOCALHOST);
                let text = [text, line.as_bytes()].concat();
                parse_resolv_conf(text).map_err(|error| error.to_string())?
            }
            Err(error) => return Err(error.to_string()),
        };
        let servers = config.name_servers().iter().take(SERVERS);
        let timeout = options
            .timeout
            .as_secs()
            .clamp(*TIMEOUTS.start(), *TIMEOUTS.end());
        Ok(Self {
            servers: servers
                .map(|server| SocketAddr::new(server.ip, 53))
                .collect(),
            search: config.search().iter().take(SEARCH).cloned().collect(),
            ndots: options.ndots.min(NDOTS),
            timeout: Duration::from_secs(timeout),
            attempts: options.attempts.clamp(*ATTEMPTS.start(), *ATTEMPTS.end()),
        })
    }

    /// The same with other servers, each with its port.
    #[must_use]
    pub fn with_servers(self, servers: &[SocketAddr]) -> Self {
        if servers.is_empty() {
            return self;
        }
        let servers = servers.iter().take(SERVERS).copied().collect();
        Self { servers, ..self }
    }

    /// The absolute names that `name` may mean, in the order in which they are tried:
    /// resolv.conf(5), `search` and `ndots`. A trailing dot leaves one.
    #[must_use]
    pub fn candidates(&self, name: &str) -> Vec<Name> {
        let Ok(mut name) = Name::from_str_relaxed(name) else {
            return Vec::new();
        };
        if name.is_fqdn() {
            return vec![name];
        }
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let search = self.search.iter().filter_map(|domain| {
            let mut name = name.clone().append_domain(domain).ok()?;
            name.set_fqdn(true);
            Some(name)
        });
        let mut candidates: Vec<Name> = search.collect();
        name.set_fqdn(true);
        let at = if dots >= self.ndots {
            0
        } else {
            candidates.len()
        };
        candidates.insert(at, name);
        candidates
    }

    /// The longest time that one question to all servers may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let rounds = self.attempts * self.servers.len();
        // Each once more over TCP.
        self.timeout
            .saturating_mul(2 * u32::try_from(rounds).unwrap_or(1))
    }

    /// A resolver that puts absolute names to these servers, one after the other as the C
    /// library does: the second one may know less. It keeps no answers and reads no file. To
    /// be made and used within the runtime.
    ///
    /// # Errors
    ///
    /// Those of the library.
    pub fn resolver(&self) -> Result<TokioResolver, NetError> {
        let servers = self.servers.iter().map(|server| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut connections {
                connection.port = server.port();
            }
            NameServerConfig::new(server.ip(), true, connections)
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let mut options = ResolverOpts::default();
        options.timeout = self.timeout;
        options.attempts = self.attempts;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.num_concurrent_reqs = 1;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        // The time of life of an alias counts too.
        options.preserve_intermediates = true;
        // The kernel takes a random port of its range, as the C library has it do. The
        // library's own choice, of all ports, is what a policy for ports has to deny.
        options.os_port_selection = true;
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider);
        builder.with_options(options).build()
    }

    /// For a person: the servers.
    #[must_use]
    pub fn describe(&self) -> String {
        let names = self.servers.iter().map(|server| match server.port() {
            53 => server.ip().to_string(),
            _ => server.to_string(),
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

impl Default for Configuration {
    /// Without a resolv.conf: this machine is asked (resolv.conf(5)).
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53)],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        }
    }
}

fn names_a_server(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(b"nameserver"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(text: &str, name: &str) -> Vec<String> {
        let configuration = Configuration::parse(text.as_bytes()).expect("a resolv.conf");
        let names = configuration.candidates(name).into_iter();
        names.map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_trailing_dot_ends_the_search() {
        let text = "nameserver 192.0.2.1\nsearch a.test b.test\n";
        assert_eq!(candidates(text, "db"), ["db.a.test.", "db.b.test.", "db."]);
        assert_eq!(
            candidates(text, "db.x"),
            ["db.x.", "db.x.a.test.", "db.x.b.test."]
        );
        assert_eq!(candidates(text, "db."), ["db."]);
        assert_eq!(candidates(text, "_pg._tcp.db."), ["_pg._tcp.db."]);
    }

    #[test]
    fn more_dots_may_be_asked_for() {
        let text = "search svc.test\noptions ndots:5\n";
        assert_eq!(candidates(text, "a.b"), ["a.b.svc.test.", "a.b."]);
        assert_eq!(
            candidates(text, "a.b.c.d.e.f"),
            ["a.b.c.d.e.f.", "a.b.c.d.e.f.svc.test."]
        );
    }

    #[test]
    fn silly_values_are_cut_and_no_server_means_this_machine() {
        let text = "options timeout:9999 attempts:99 ndots:200\n# nothing else\n";
        let read = Configuration::parse(text.as_bytes()).expect("a resolv.conf");
        assert_eq!(read.servers, Configuration::default().servers);
        assert!((read.timeout, read.attempts) <= (Duration::from_secs(30), 5));
        assert!(read.ndots <= 15);
        assert_eq!(
            Configuration::parse(b"").expect("empty"),
            Configuration::default()
        );
        let many: String = (0..99)
            .map(|i| format!("nameserver 10.0.0.{i}\n"))
            .collect();
        let many = Configuration::parse(many.as_bytes()).expect("a resolv.conf");
        assert_eq!(many.servers.len(), SERVERS);
    }

    #[test]
    fn what_is_no_name_has_no_candidates() {
        let long = "x".repeat(64);
        for name in [long.as_str(), "a..b"] {
            assert_eq!(Configuration::default().candidates(name), []);
        }
    }
}
