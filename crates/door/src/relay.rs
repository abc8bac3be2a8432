//! `cloister-door relay`: passed sockets, one target, no supervisor.

use std::io;
use std::sync::Arc;

use crate::admission::{Admission, Occupancy};
use crate::clock::Moment;
use crate::confine::{self, reach::Reach};
use crate::drain::{self, Idle};
use crate::inherited::{self, Passed};
use crate::log::Sink;
use crate::notify::Notifier;
use crate::options::Relay;
use crate::places::Places;
use crate::process;
use crate::resolve::{Resolver, ResolverOptions};
use crate::route::Destination;
use crate::runtime::{Limits, Listener, Route, Runtime, Terms};
use crate::standalone;
use crate::stats::ListenerCounters;
use crate::target::{Target, text};
use crate::workers::{Means, Workers};

/// Serves until a signal to stop or until it was idle for long enough, then until the last
/// connection has ended or the drain's time is over.
///
/// # Errors
///
/// What failed and what to do, for a person.
pub fn run(options: &Relay) -> Result<(), String> {
    let passed = inherited::take()?;
    let notifier = Notifier::from_environment();
    let destination = destination(options)?;
    let sink = Sink::new(io::stdout()).map_err(|error| format!("standard output: {error}"))?;
    let signals = process::block_signals()?;
    let means = Means::take();
    let places = Places::new(options.connections_max, Moment::now())
        .map_err(|error| format!("eventfd: {error}"))?;
    let places = Arc::new(places);
    let occupancy = Arc::default();
    let mut runtime = Runtime {
        generation: 1,
        log_connections: options.log_connections,
        ..Runtime::default()
    };
    for (id, passed) in (1..).zip(passed) {
        let listener = listener(options, id, passed, &destination, &places, &occupancy)?;
        runtime.listeners.push(listener);
    }
    notifier.store(&runtime.stored());
    let needs = match &destination.target {
        Target::Remote(_) => "use the network",
        _ => "write to the target's socket",
    };
    let user = standalone::user(options.user.as_deref(), needs)?;
    let number = options.workers.map_or_else(standalone::cpus, usize::from);
    standalone::report(confine::confine(
        user,
        false,
        Reach::of(&destination.target),
    )?);
    // After the confinement, which its thread shares; held until the last connection has ended.
    let _resolver = resolver(&destination.target)?;
    let workers = Workers::start(number, &sink, &means)
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let runtime = Arc::new(runtime);
    if !workers.apply(&runtime) {
        return Err("the worker threads do not start".to_owned());
    }
    let idle = options.exit_idle_time.map(|time| Idle {
        time,
        places,
        runtime,
    });
    drain::attend(workers, &signals, &notifier, options.drain, idle)
}

/// The resolver, where the target is a name.
fn resolver(target: &Target) -> Result<Option<Resolver>, String> {
    let Some(remote) = target.remote().filter(|remote| remote.literal().is_none()) else {
        return Ok(None);
    };
    let resolver = Resolver::start(ResolverOptions::default())
        .map_err(|error| format!("the resolver does not start: {error}"))?;
    remote.watch(&resolver);
    Ok(Some(resolver))
}

fn destination(options: &Relay) -> Result<Arc<Destination>, String> {
    // Only a port with a name needs the file; a policy (SELinux) may well deny it.
    let target = text::parse(&options.target, "").or_else(|_| {
        let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
        text::parse(&options.target, &services)
    })?;
    let target = Target::new(&target, options.balance)
        .map_err(|error| format!("the target {}: {error}", options.target))?;
    Ok(Arc::new(Destination {
        target,
        host: "".into(),
        delivery: cloister_proto::messages::door::Delivery::Relay,
        send_proxy: options.send_proxy,
        app: None,
    }))
}

fn listener(
    options: &Relay,
    id: u32,
    passed: Passed,
    destination: &Arc<Destination>,
    places: &Arc<Places>,
    occupancy: &Arc<Occupancy>,
) -> Result<Listener, String> {
    let (socket, name) = standalone::listening(id, passed)?;
    let address = inherited::address(&socket.descriptor);
    Ok(Listener {
        socket,
        terms: Arc::new(Terms {
            route: Route::Target(Arc::clone(destination)),
            limits: Limits {
                connections: 0,
                // No hello is awaited.
                hello: options.connect_timeout,
                connect: options.connect_timeout,
                per_client: options.admission.connections_per_client,
                // One target is one host, and its connections are counted already.
                per_host: options.admission.connections_per_host,
                idle: options.admission.idle_timeout,
            },
            admission: Admission {
                trusted: options.admission.accept_proxy.clone(),
                occupancy: Arc::clone(occupancy),
            },
            keepalive: options.keepalive,
            counters: ListenerCounters::new(&name, &address),
            places: Some(Arc::clone(places)),
        }),
    })
}
