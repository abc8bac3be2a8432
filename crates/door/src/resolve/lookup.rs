//! One question: the hosts file, then the servers, for every name that is meant.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;

use super::configuration::Configuration;
use super::records::{is_usable, own_records};
use super::schedule::{Failure, LONGEST_TTL};
use super::{ADDRESSES, Address, Query, files, hosts, order};

/// Servers of one service at most, the best priorities first.
const TARGETS: usize = 16;

/// RFC 8305 section 3, "Resolution Delay": how long the other family may take once one has
/// answered, where a connection waits.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// The same where none waits.
const UNHURRIED_DELAY: Duration = Duration::from_secs(2);

/// The weight of an SRV record is spread over its addresses: room for the division.
const WEIGHT_SCALE: u32 = 64;

/// Priority of addresses without a route: behind all others.
const NO_ROUTE: u32 = 1 << 16;

/// Addresses, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// At least one.
    pub addresses: Vec<Address>,
    /// How long they are good.
    pub ttl: Duration,
    /// Whether a family or a server is missing that did not answer in time.
    pub complete: bool,
}

/// What a question needs; replaced as a whole when a file changes.
#[derive(Debug)]
pub struct Asker {
    configuration: Configuration,
    resolver: TokioResolver,
    hosts: PathBuf,
}

/// Addresses of one name, not yet in order.
struct Set {
    addresses: Vec<IpAddr>,
    ttl: Duration,
    complete: bool,
}

impl Asker {
    /// One that asks the servers of this configuration. To be made within the runtime.
    ///
    /// # Errors
    ///
    /// Those of the library, for a person.
    pub fn new(configuration: Configuration, hosts: PathBuf) -> Result<Arc<Self>, String> {
        let resolver = configuration
            .resolver()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(Self {
            configuration,
            resolver,
            hosts,
        }))
    }

    /// Which servers, and how.
    #[must_use]
    pub const fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Looks a name up; takes [`Configuration::deadline`] for each of its steps at most.
    /// `hurry`: a connection waits for the answer.
    ///
    /// # Errors
    ///
    /// Why there are no addresses.
    pub async fn ask(self: Arc<Self>, query: Query, hurry: bool) -> Result<Found, Failure> {
        match query {
            Query::Host { name, port } => {
                let set = self.host(&name, hurry).await?;
                let sorted = order::sort(set.addresses, order::source_of).into_iter();
                let address = |(address, routed)| Address {
                    priority: if routed { 0 } else { NO_ROUTE },
                    ..Address::plain(SocketAddr::new(address, port))
                };
                Ok(Found {
                    addresses: sorted.map(address).collect(),
                    ttl: set.ttl,
                    complete: set.complete,
                })
            }
            Query::Service { name } => self.service(&name, hurry).await,
        }
    }

    /// The addresses of a host.
    async fn host(self: &Arc<Self>, name: &str, hurry: bool) -> Result<Set, Failure> {
        let known = match hosts::localhost(name) {
            Some(both) => both.to_vec(),
            None => self.in_hosts_file(name),
        };
        if !known.is_empty() {
            return Ok(Set {
                addresses: known,
                ttl: LONGEST_TTL,
                complete: true,
            });
        }
        let mut negative = NoSuchName::default();
        for candidate in self.configuration.candidates(name) {
            match self.both_families(&candidate, hurry).await {
                Err(Failure::Negative { ttl, reason }) => negative.add(ttl, reason),
                // Not the next one: it may be somebody else's, and the next question may
                // find this one again.
                other => return other,
            }
        }
        Err(negative.into_failure(name))
    }

    /// A file that cannot be read is one without the name; the thread reports it.
    fn in_hosts_file(&self, name: &str) -> Vec<IpAddr> {
        let file = files::open(&self.hosts);
        let mut found = file
            .and_then(|file| hosts::find(file, name))
            .unwrap_or_default();
        found.retain(|address| is_usable(*address));
        found
    }

    async fn both_families(self: &Arc<Self>, name: &Name, hurry: bool) -> Result<Set, Failure> {
        let mut questions = JoinSet::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let (asker, name) = (Arc::clone(self), name.clone());
            questions.spawn(async move { asker.family(&name, kind).await });
        }
        let mut results = vec![joined(questions.join_next().await)];
        let delay = match results[0] {
            Ok(_) if hurry => RESOLUTION_DELAY,
            Ok(_) => UNHURRIED_DELAY,
            Err(_) => self.configuration.deadline(),
        };
        let second = tokio::time::timeout(delay, questions.join_next()).await;
        results.push(second.map_or_else(|_| Err(no_answer(name, "no answer in time")), joined));
        let mut set = Set {
            addresses: Vec::new(),
            ttl: LONGEST_TTL,
            complete: true,
        };
        let (mut silent, mut negative) = (None, None);
        for result in results {
            match result {
                Ok((addresses, ttl)) => {
                    set.addresses.extend(addresses);
                    set.ttl = set.ttl.min(ttl);
                }
                Err(failure @ Failure::NoAnswer { .. }) => silent = Some(failure),
                Err(failure @ Failure::Negative { .. }) => negative = Some(failure),
            }
        }
        if set.addresses.is_empty() {
            // One family without records and one without an answer: nothing is known.
            return Err(silent
                .or(negative)
                .unwrap_or_else(|| no_answer(name, "no answer")));
        }
        set.complete = silent.is_none();
        Ok(set)
    }

    /// The addresses of one family, at most [`ADDRESSES`] halved, and their time of life.
    async fn family(
        &self,
        name: &Name,
        kind: RecordType,
    ) -> Result<(Vec<IpAddr>, Duration), Failure> {
        let lookup = self.records(name, kind).await?;
        let (records, ttl) = own_records(&lookup, name, kind);
        let named = !records.is_empty();
        let addresses = records.into_iter().filter_map(RData::ip_addr);
        let mut usable: Vec<IpAddr> = Vec::new();
        for address in addresses.map(|address| address.to_canonical()) {
            if is_usable(address) && !usable.contains(&address) && usable.len() < ADDRESSES / 2 {
                usable.push(address);
            }
        }
        if usable.is_empty() {
            let what = if named {
                "only addresses that no host has"
            } else {
                "no addresses"
            };
            return Err(Failure::Negative {
                ttl: Some(ttl),
                reason: format!("{name} has {what}"),
            });
        }
        Ok((usable, ttl))
    }

    /// The addresses of a service's servers.
    async fn service(self: &Arc<Self>, name: &str, hurry: bool) -> Result<Found, Failure> {
        let mut negative = NoSuchName::default();
        for candidate in self.configuration.candidates(name) {
            match self.records(&candidate, RecordType::SRV).await {
                Ok(lookup) => return self.servers(&candidate, &lookup, hurry).await,
                Err(Failure::Negative { ttl, reason }) => negative.add(ttl, reason),
                Err(failure) => return Err(failure),
            }
        }
        Err(negative.into_failure(name))
    }

    async fn servers(
        self: &Arc<Self>,
        name: &Name,
        lookup: &Lookup,
        hurry: bool,
    ) -> Result<Found, Failure> {
        let (records, mut ttl) = own_records(lookup, name, RecordType::SRV);
        let services = records.into_iter().filter_map(|data| match data {
            // RFC 2782: a target of "." means that the service is decidedly not available.
            RData::SRV(service) if !service.target.is_root() && service.port != 0 => Some(service),
            _ => None,
        });
        let mut services: Vec<SRV> = services.cloned().collect();
        services.sort_by_key(|service| service.priority);
        services.truncate(TARGETS);
        if services.is_empty() {
            return Err(Failure::Negative {
                ttl: Some(ttl),
                reason: format!("{name} says that there is no such service"),
            });
        }
        let mut questions = JoinSet::new();
        for (index, service) in services.iter().enumerate() {
            let (asker, mut target) = (Arc::clone(self), service.target.clone());
            target.set_fqdn(true);
            questions.spawn(async move { (index, asker.host(&target.to_string(), hurry).await) });
        }
        let mut sets = BTreeMap::new();
        while let Some(joined) = questions.join_next().await {
            let Ok((index, result)) = joined else {
                continue;
            };
            sets.insert(index, result);
        }
        let mut found = Found {
            addresses: Vec::new(),
            ttl,
            complete: true,
        };
        let mut failure = None;
        for (index, result) in sets {
            match result {
                Ok(set) => {
                    ttl = ttl.min(set.ttl);
                    found.complete &= set.complete;
                    add_server(&mut found.addresses, &services[index], set.addresses);
                }
                Err(error) => {
                    found.complete &= matches!(error, Failure::Negative { .. });
                    failure = Some(error);
                }
            }
        }
        found.ttl = ttl;
        match failure {
            // A server that does not answer says more than one that is not there.
            Some(error) if found.addresses.is_empty() => Err(if found.complete {
                error
            } else {
                no_answer(name, error.reason())
            }),
            _ => Ok(found),
        }
    }

    async fn records(&self, name: &Name, kind: RecordType) -> Result<Lookup, Failure> {
        let lookup = self.resolver.lookup(name.clone(), kind);
        match tokio::time::timeout(self.configuration.deadline(), lookup).await {
            Ok(Ok(lookup)) => Ok(lookup),
            Ok(Err(error)) => Err(self.failure(name, &error)),
            Err(_) => Err(self.silence(name)),
        }
    }

    fn failure(&self, name: &Name, error: &NetError) -> Failure {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(NoRecords {
                response_code: code @ (ResponseCode::NXDomain | ResponseCode::NoError),
                negative_ttl,
                ..
            })) => Failure::Negative {
                ttl: negative_ttl.map(|ttl| Duration::from_secs(ttl.into())),
                reason: match code {
                    ResponseCode::NXDomain => format!("{name} does not exist (NXDOMAIN)"),
                    _ => format!("{name} has no addresses"),
                },
            },
            NetError::Timeout => self.silence(name),
            NetError::Dns(DnsError::ResponseCode(code)) => {
                let servers = self.configuration.describe();
                no_answer(name, &format!("{servers} answered: {code}"))
            }
            other => {
                let servers = self.configuration.describe();
                no_answer(name, &format!("asking {servers}: {other}"))
            }
        }
    }

    fn silence(&self, name: &Name) -> Failure {
        let servers = self.configuration.describe();
        no_answer(name, &format!("no answer in time from {servers}"))
    }
}

/// The negative answers for all names that one name may mean.
#[derive(Default)]
struct NoSuchName {
    ttl: Option<Duration>,
    reasons: Vec<String>,
}

impl NoSuchName {
    fn add(&mut self, ttl: Option<Duration>, reason: String) {
        self.ttl = [self.ttl, ttl].into_iter().flatten().min();
        self.reasons.push(reason);
    }

    fn into_failure(self, name: &str) -> Failure {
        if self.reasons.is_empty() {
            // It will not become one.
            let (ttl, reason) = (Some(LONGEST_TTL), format!("{name:?} is no name"));
            return Failure::Negative { ttl, reason };
        }
        Failure::Negative {
            ttl: self.ttl,
            reason: self.reasons.join(", "),
        }
    }
}

fn add_server(addresses: &mut Vec<Address>, service: &SRV, found: Vec<IpAddr>) {
    let number = u32::try_from(found.len()).unwrap_or(u32::MAX).max(1);
    let weight = u32::from(service.weight) * WEIGHT_SCALE;
    for (address, routed) in order::sort(found, order::source_of) {
        let socket = SocketAddr::new(address, service.port);
        let known = addresses.iter().any(|known| known.socket == socket);
        if !known && addresses.len() < ADDRESSES {
            addresses.push(Address {
                socket,
                priority: u32::from(service.priority) + if routed { 0 } else { NO_ROUTE },
                weight: weight.div_ceil(number),
            });
        }
    }
}

fn no_answer(name: &Name, what: &str) -> Failure {
    Failure::NoAnswer {
        reason: format!("{name}: {what}"),
    }
}

fn joined<T>(
    result: Option<Result<Result<T, Failure>, tokio::task::JoinError>>,
) -> Result<T, Failure> {
    match result {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(Failure::NoAnswer {
            reason: error.to_string(),
        }),
        None => Err(Failure::NoAnswer {
            reason: "nothing was asked".to_owned(),
        }),
    }
}
