//! `cloister-door sni`: one hosts directory on passed sockets, without a supervisor.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{chdir, chroot};

use crate::admission::{Admission, Occupancy};
use crate::clock::Moment;
use crate::confine::{self, reach::Reach};
use crate::drain::{self, Idle};
use crate::inherited::{self, Passed};
use crate::log::Sink;
use crate::notify::Notifier;
use crate::options::Sni;
use crate::places::Places;
use crate::process;
use crate::route::hosts_directory::HostsDirectory;
use crate::runtime::{Limits, Listener, Route, Runtime, Terms};
use crate::standalone;
use crate::stats::ListenerCounters;
use crate::workers::{Means, Workers};

/// Serves until a signal to stop, then until the last connection has ended or the drain's
/// time is over.
///
/// # Errors
///
/// What failed and what to do, for a person.
pub fn run(options: &Sni) -> Result<(), String> {
    let passed = inherited::take()?;
    let notifier = Notifier::from_environment();
    let needs = "enter the hosts directory and write to its sockets";
    // While there is still an /etc/passwd to look a name up in.
    let user = standalone::user(options.user.as_deref(), needs)?;
    if let Some(root) = &options.chroot {
        change_root(root)?;
    }
    let directory = open_hosts(options)?;
    let sink = Sink::new(io::stdout()).map_err(|error| format!("standard output: {error}"))?;
    let signals = process::block_signals()?;
    let means = Means::take();
    let mut runtime = Runtime {
        generation: 1,
        log_connections: options.log_connections,
        ..Runtime::default()
    };
    // Only whoever ends when idle counts what all listeners have together.
    let places = match options.exit_idle_time {
        Some(_) => Some(Arc::new(
            Places::new(u32::MAX, Moment::now()).map_err(|error| format!("eventfd: {error}"))?,
        )),
        None => None,
    };
    let occupancy = Arc::default();
    for (id, passed) in (1..).zip(passed) {
        runtime.listeners.push(listener(
            options, id, passed, &directory, &places, &occupancy,
        )?);
    }
    notifier.store(&runtime.stored());
    let number = options.workers.map_or_else(standalone::cpus, usize::from);
    standalone::report(confine::confine(user, false, Reach::default())?);
    let workers = Workers::start(number, &sink, &means)
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let runtime = Arc::new(runtime);
    if !workers.apply(&runtime) {
        return Err("the worker threads do not start".to_owned());
    }
    let idle = options
        .exit_idle_time
        .zip(places)
        .map(|(time, places)| Idle {
            time,
            places,
            runtime,
        });
    drain::attend(workers, &signals, &notifier, options.drain, idle)
}

/// Leaves the host's file system behind.
fn change_root(root: &Path) -> Result<(), String> {
    chroot(root).and_then(|()| chdir("/")).map_err(|error| {
        let root = root.display();
        format!("--chroot {root}: {error}; it takes an existing directory and CAP_SYS_CHROOT")
    })
}

fn open_hosts(options: &Sni) -> Result<Arc<HostsDirectory>, String> {
    let path = options.hosts.display().to_string();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, options.hosts.as_path(), flags, Mode::empty());
    let directory =
        opened.and_then(|descriptor| HostsDirectory::new(&path, descriptor, options.hashed));
    match directory {
        Ok(directory) => Ok(Arc::new(directory)),
        Err(error) => Err(format!(
            "the hosts directory {path}: {error}; name it by --hosts DIR or start in it"
        )),
    }
}

fn listener(
    options: &Sni,
    id: u32,
    passed: Passed,
    directory: &Arc<HostsDirectory>,
    places: &Option<Arc<Places>>,
    occupancy: &Arc<Occupancy>,
) -> Result<Listener, String> {
    let (socket, name) = standalone::listening(id, passed)?;
    if let (Some(seconds), true) = (options.defer_accept, socket.tcp) {
        cloister_sys::sockets::defer_accept(&socket.descriptor, seconds)
            .map_err(|error| format!("{name}: TCP_DEFER_ACCEPT: {error}"))?;
    }
    let address = inherited::address(&socket.descriptor);
    Ok(Listener {
        socket,
        terms: Arc::new(Terms {
            route: Route::ServerName(Some(Arc::clone(directory))),
            limits: Limits {
                connections: options.connections,
                per_client: options.admission.connections_per_client,
                per_host: options.admission.connections_per_host,
                hello: options.hello_timeout,
                connect: options.connect_timeout,
                idle: options.admission.idle_timeout,
            },
            admission: Admission {
                trusted: options.admission.accept_proxy.clone(),
                occupancy: Arc::clone(occupancy),
            },
            keepalive: None,
            counters: ListenerCounters::new(&name, &address),
            places: places.clone(),
        }),
    })
}
