//! From the supervisor's snapshot to what is in force.
//!
//! Nothing changes unless the whole snapshot is right: the counters and sockets that it
//! brings are kept only with it.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use cloister_proto::messages::door::{self, Balance, Delivery, Statistics};

use crate::admission::trusted::TrustedPeers;
use crate::admission::{Admission, Occupancy};
use crate::confine::reach::Reach;
use crate::inherited::listening_socket;
use crate::resolve::{Resolver, ResolverOptions};
use crate::route::Destination;
use crate::route::hosts_directory::HostsDirectory;
use crate::route::table::Table;
use crate::runtime::{Limits, Listener, ListeningSocket, Route, Runtime, Terms};
use crate::stats::{AppCounters, ListenerCounters};
use crate::target::Target;

/// What outlives snapshots.
#[derive(Clone, Debug, Default)]
pub struct Books {
    reach: Reach,
    /// There once a snapshot has had a name to look up.
    resolver: Option<Arc<Resolver>>,
    listeners: BTreeMap<(String, String), Arc<ListenerCounters>>,
    apps: BTreeMap<String, Arc<AppCounters>>,
    /// By the listener's name alone: a limit holds for all its addresses together.
    occupancies: BTreeMap<String, Arc<Occupancy>>,
    last_socket: u32,
}

impl Books {
    /// Empty ones, for targets within `reach`: the door is confined to it already.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        Self {
            reach,
            ..Self::default()
        }
    }

    /// Builds what a snapshot asks for, on the sockets that `running` holds already where
    /// they are the same. Consumes the descriptors; those that nothing uses are closed.
    ///
    /// # Errors
    ///
    /// What is wrong and in which field, for a person. `self` is unchanged then.
    pub fn build(
        &mut self,
        snapshot: &door::Snapshot,
        descriptors: Vec<OwnedFd>,
        running: &Runtime,
    ) -> Result<Runtime, String> {
        let mut builder = Builder {
            books: self.clone(),
            descriptors: descriptors.into_iter().map(Some).collect(),
            directories: HashMap::new(),
            running,
        };
        let mut runtime = Runtime {
            generation: snapshot.generation,
            log_connections: snapshot.log_connections,
            listeners: Vec::with_capacity(snapshot.listeners.len()),
            table: Arc::new(builder.table(&snapshot.hosts)?),
        };
        for (index, listener) in snapshot.listeners.iter().enumerate() {
            let place = format!("listeners[{index}] ({})", listener.name);
            let built = builder.listener(listener, &place)?;
            let twice = |other: &Listener| other.socket.id == built.socket.id;
            if runtime.listeners.iter().any(twice) {
                return Err(format!(
                    "{place}: its socket serves another listener already"
                ));
            }
            runtime.listeners.push(built);
        }
        *self = builder.books;
        self.forget_unused();
        Ok(runtime)
    }

    /// Adds every listener's and application's counters.
    pub fn add_to(&self, statistics: &mut Statistics) {
        let listeners = self.listeners.values().map(|counters| counters.read());
        statistics.listeners = listeners.collect();
        statistics.apps = self.apps.values().map(|counters| counters.read()).collect();
    }

    /// Drops counters that only this book holds: no snapshot and no connection does.
    fn forget_unused(&mut self) {
        self.listeners
            .retain(|_, counters| Arc::strong_count(counters) > 1);
        self.apps
            .retain(|_, counters| Arc::strong_count(counters) > 1);
        self.occupancies
            .retain(|_, occupancy| Arc::strong_count(occupancy) > 1);
    }

    fn occupancy(&mut self, name: &str) -> Arc<Occupancy> {
        Arc::clone(self.occupancies.entry(name.to_owned()).or_default())
    }

    fn listener(&mut self, name: &str, address: &str) -> Arc<ListenerCounters> {
        let key = (name.to_owned(), address.to_owned());
        let new = || ListenerCounters::new(name, address);
        Arc::clone(self.listeners.entry(key).or_insert_with(new))
    }

    fn app(&mut self, name: &str) -> Arc<AppCounters> {
        let new = || AppCounters::new(name);
        Arc::clone(self.apps.entry(name.to_owned()).or_insert_with(new))
    }
}

struct Builder<'a> {
    books: Books,
    descriptors: Vec<Option<OwnedFd>>,
    /// By index: several listeners may serve one directory.
    directories: HashMap<(usize, bool), Arc<HostsDirectory>>,
    running: &'a Runtime,
}

impl Builder<'_> {
    fn table(&mut self, hosts: &[door::HostRoute]) -> Result<Table, String> {
        let mut table = Table::default();
        for (index, route) in hosts.iter().enumerate() {
            let place = format!("hosts[{index}] ({})", route.host);
            let app = route.app.as_deref().map(|name| self.books.app(name));
            let destination = self
                .destination(
                    &route.target,
                    &route.host,
                    (route.send_proxy, route.delivery),
                    Balance::RoundRobin,
                    app,
                )
                .map_err(|error| format!("{place}.target: {error}"))?;
            table
                .insert(&route.host, destination)
                .map_err(|error| format!("{place}: {error}"))?;
        }
        Ok(table)
    }

    fn listener(&mut self, listener: &door::Listener, place: &str) -> Result<Listener, String> {
        let route = match &listener.route {
            door::Route::Target {
                target,
                send_proxy,
                balance,
            } => {
                let destination = self
                    .destination(target, "", (*send_proxy, Delivery::Relay), *balance, None)
                    .map_err(|error| format!("{place}.route.target: {error}"))?;
                Route::Target(destination)
            }
            door::Route::ServerName { directory: None } => Route::ServerName(None),
            door::Route::ServerName {
                directory: Some(directory),
            } => {
                let place = format!("{place}.route.directory");
                Route::ServerName(Some(self.directory(directory, &place)?))
            }
        };
        let millis = |millis: u32| Duration::from_millis(millis.into());
        let limits = Limits {
            connections: listener.limits.connections,
            per_client: listener.limits.connections_per_client,
            per_host: listener.limits.connections_per_host,
            hello: millis(listener.limits.hello_timeout_ms),
            connect: millis(listener.limits.connect_timeout_ms),
            // A tick counts 49 days; 24 are for ever.
            idle: millis(listener.limits.idle_timeout_ms.min(i32::MAX.unsigned_abs())),
        };
        if limits.hello.is_zero() || limits.connect.is_zero() {
            return Err(format!("{place}.limits: a time-out of 0 lets nobody in"));
        }
        let trusted = TrustedPeers::parse(&listener.accept_proxy)
            .map_err(|error| format!("{place}.accept_proxy: {error}"))?;
        let socket = self.socket(listener.descriptor, place)?;
        Ok(Listener {
            socket,
            terms: Arc::new(Terms {
                route,
                limits,
                admission: Admission {
                    trusted,
                    occupancy: self.books.occupancy(&listener.name),
                },
                keepalive: listener.keepalive,
                counters: self.books.listener(&listener.name, &listener.address),
                places: None,
            }),
        })
    }

    fn resolver(&mut self) -> Result<&Arc<Resolver>, String> {
        let held = self.books.resolver.take();
        let started = held.map_or_else(
            || Resolver::start(ResolverOptions::default()).map(Arc::new),
            Ok,
        );
        let started = started.map_err(|error| format!("the resolver does not start: {error}"))?;
        Ok(self.books.resolver.insert(started))
    }

    fn destination(
        &mut self,
        target: &door::Target,
        host: &str,
        (send_proxy, delivery): (door::SendProxy, Delivery),
        balance: Balance,
        app: Option<Arc<AppCounters>>,
    ) -> Result<Arc<Destination>, String> {
        let target = Target::new(target, balance)?;
        if !self.books.reach.covers(Reach::of(&target)) {
            return Err(format!(
                "{target} is out of reach: the door was started without its kind among --targets"
            ));
        }
        if delivery == Delivery::Handoff && target.remote().is_some() {
            return Err(format!(
                "{target} cannot be handed connections: only a Unix socket takes descriptors"
            ));
        }
        if let Some(remote) = target.remote().filter(|remote| remote.literal().is_none()) {
            remote.watch(self.resolver()?);
        }
        Ok(Arc::new(Destination {
            target,
            host: host.into(),
            send_proxy,
            delivery,
            app,
        }))
    }

    fn directory(
        &mut self,
        directory: &door::HostsDirectory,
        place: &str,
    ) -> Result<Arc<HostsDirectory>, String> {
        let form = |hashed| (directory.descriptor, hashed);
        if let Some(known) = self.directories.get(&form(directory.hashed)) {
            return Ok(Arc::clone(known));
        }
        let descriptor = match self.directories.get(&form(!directory.hashed)) {
            Some(other) => other
                .duplicate()
                .map_err(|error| format!("{place}: {error}"))?,
            None => self.take(directory.descriptor, place)?,
        };
        let opened = HostsDirectory::new(&directory.path, descriptor, directory.hashed)
            .map_err(|error| format!("{place} ({}): {error}", directory.path))?;
        let opened = Arc::new(opened);
        self.directories
            .insert(form(directory.hashed), Arc::clone(&opened));
        Ok(opened)
    }

    /// The socket, or the one that the door holds of the same queue.
    fn socket(&mut self, index: usize, place: &str) -> Result<Arc<ListeningSocket>, String> {
        let descriptor = self.take(index, place)?;
        let id = self.books.last_socket + 1;
        let socket = listening_socket(id, descriptor)
            .map_err(|error| format!("{place}.descriptor {index}: {error}"))?;
        let mut held = self.running.listeners.iter();
        if let Some(same) = held.find(|held| held.socket.inode == socket.inode) {
            return Ok(Arc::clone(&same.socket));
        }
        self.books.last_socket = id;
        Ok(socket)
    }

    fn take(&mut self, index: usize, place: &str) -> Result<OwnedFd, String> {
        let passed = self.descriptors.len();
        let slot = self.descriptors.get_mut(index).ok_or_else(|| {
            format!("{place}: descriptor {index} was not passed; there are {passed}")
        })?;
        slot.take()
            .ok_or_else(|| format!("{place}: descriptor {index} is used elsewhere already"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn snapshot(descriptor: usize) -> door::Snapshot {
        let target = door::Target::UnixPath {
            path: "/run/one".to_owned(),
        };
        door::Snapshot {
            generation: 7,
            workers: 1,
            log_connections: false,
            listeners: vec![door::Listener {
                name: "https".to_owned(),
                address: "127.0.0.1:1".to_owned(),
                descriptor,
                route: door::Route::ServerName { directory: None },
                accept_proxy: vec!["10.0.0.0/8".to_owned()],
                limits: door::Limits {
                    connections: 0,
                    connections_per_client: 0,
                    connections_per_host: 0,
                    hello_timeout_ms: 1,
                    connect_timeout_ms: 1,
                    idle_timeout_ms: 0,
                },
                keepalive: None,
            }],
            hosts: vec![door::HostRoute {
                host: "one.example".to_owned(),
                app: Some("one".to_owned()),
                target,
                send_proxy: door::SendProxy::None,
                delivery: door::Delivery::Relay,
            }],
        }
    }

    fn listener() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").expect("bound").into()
    }

    #[test]
    fn the_same_socket_stays_and_keeps_its_counters() {
        let mut books = Books::default();
        let socket = listener();
        let again = socket.try_clone().expect("a duplicate");
        let first = books
            .build(&snapshot(0), vec![socket], &Runtime::default())
            .expect("right");
        first.listeners[0].terms.counters.accepted.add(3);
        let second = books
            .build(&snapshot(0), vec![again], &first)
            .expect("right");
        assert!(Arc::ptr_eq(
            &first.listeners[0].socket,
            &second.listeners[0].socket
        ));
        assert_eq!(second.listeners[0].terms.counters.accepted.get(), 3);
        let third = books
            .build(&snapshot(0), vec![listener()], &second)
            .expect("right");
        assert_ne!(third.listeners[0].socket.id, second.listeners[0].socket.id);
    }

    #[test]
    fn what_is_wrong_is_named_and_changes_nothing() {
        let mut books = Books::default();
        let mut wrong_host = snapshot(0);
        wrong_host.hosts[0].host = "One.example".to_owned();
        let mut wrong_target = snapshot(0);
        wrong_target.hosts[0].target = door::Target::UnixPath {
            path: "relative".to_owned(),
        };
        let mut no_time = snapshot(0);
        no_time.listeners[0].limits.hello_timeout_ms = 0;
        let mut no_network = snapshot(0);
        no_network.listeners[0].accept_proxy[0].push('0');
        let mut far_handoff = snapshot(0);
        far_handoff.hosts[0].delivery = Delivery::Handoff;
        far_handoff.hosts[0].target = door::Target::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 1,
        };
        let mut twice = snapshot(0);
        twice.listeners.push(twice.listeners[0].clone());
        let mut far = snapshot(0);
        far.hosts[0].target = door::Target::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 1,
        };
        for (snapshot, part) in [
            (far, "--targets"),
            (wrong_host, "hosts[0] (One.example)"),
            (wrong_target, "hosts[0] (one.example).target"),
            (no_time, "listeners[0] (https).limits"),
            (far_handoff, "hosts[0] (one.example).target"),
            (no_network, "listeners[0] (https).accept_proxy"),
            (twice, "listeners[1] (https)"),
            (snapshot(1), "listeners[0] (https): descriptor 1"),
        ] {
            let error = books
                .build(&snapshot, vec![listener()], &Runtime::default())
                .expect_err(part);
            assert!(error.contains(part), "{error}");
            assert!(books.apps.is_empty() && books.listeners.is_empty());
        }
        let file = tempfile::tempfile().expect("a file").into();
        let error = books
            .build(&snapshot(0), vec![file], &Runtime::default())
            .expect_err("a file");
        assert!(error.contains("no socket"), "{error}");
    }
}
