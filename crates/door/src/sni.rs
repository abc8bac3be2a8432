//! `cloister-door sni`: one hosts directory on passed sockets, without a supervisor.

use std::io;
use std::sync::Arc;
use std::thread::available_parallelism;

use cloister_sys::signals::SignalDescriptor;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::confine::{self, user::User};
use crate::inherited::{self, Passed};
use crate::log::Sink;
use crate::options::Sni;
use crate::process;
use crate::route::hosts_directory::HostsDirectory;
use crate::runtime::{Limits, Listener, Route, Runtime, Terms};
use crate::spin::Spin;
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
    let directory = open_hosts(options)?;
    let sink = Sink::new(io::stdout()).map_err(|error| format!("standard output: {error}"))?;
    let signals = process::block_signals()?;
    let descriptors = process::raise_descriptor_limit();
    let mut runtime = Runtime {
        generation: 1,
        log_connections: options.log_connections,
        ..Runtime::default()
    };
    for (id, passed) in (1..).zip(passed) {
        runtime
            .listeners
            .push(listener(options, id, passed, &directory)?);
    }
    let user = user(options)?;
    let means = Means {
        spin: Spin::new(process::cpus_online() > 1),
        descriptors,
    };
    let number = options.workers.map_or_else(cpus, usize::from);
    for protection in confine::confine(user, false)? {
        if !protection.active {
            let (name, detail) = (protection.name, protection.detail);
            eprintln!("cloister-door: without protection {name:?}: {detail}");
        }
    }
    let workers = Workers::start(number, &sink, &means)
        .map_err(|error| format!("cannot start threads: {error}"))?;
    if !workers.apply(&Arc::new(runtime)) {
        return Err("the worker threads do not start".to_owned());
    }
    wait_for_signal(&signals)?;
    let _ = workers.drain(options.drain);
    workers.join();
    Ok(())
}

/// Whom to become. Root does not stay root unless told to: what it can reach is the whole
/// host.
fn user(options: &Sni) -> Result<Option<User>, String> {
    match &options.user {
        Some(name) => User::parse(name).map(Some),
        None if rustix::process::geteuid().is_root() => {
            let User { uid, gid } = User::NOBODY;
            eprintln!(
                "cloister-door: started as root without --user: becoming nobody ({uid}:{gid}), \
                 who must be able to enter the hosts directory and to write to its sockets"
            );
            Ok(Some(User::NOBODY))
        }
        None => Ok(None),
    }
}

fn open_hosts(options: &Sni) -> Result<Arc<HostsDirectory>, String> {
    let path = options.hosts.display().to_string();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, options.hosts.as_path(), flags, Mode::empty());
    let directory = opened.and_then(|descriptor| HostsDirectory::new(&path, descriptor));
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
) -> Result<Listener, String> {
    let name = passed.name;
    let socket = inherited::listening_socket(id, passed.descriptor).map_err(|error| {
        format!(
            "{name}: {error}; pass listening sockets by LISTEN_FDS (systemd-socket-activate) \
             or one as standard input"
        )
    })?;
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
                hello: options.hello_timeout,
                connect: options.connect_timeout,
            },
            counters: ListenerCounters::new(&name, &address),
        }),
    })
}

fn cpus() -> usize {
    available_parallelism().map_or(1, usize::from)
}

fn wait_for_signal(signals: &SignalDescriptor) -> Result<(), String> {
    loop {
        let mut waiting = [PollFd::from_borrowed_fd(
            signals.descriptor(),
            PollFlags::IN,
        )];
        // An error is EINTR, or a shortage that a second try outlives.
        let _ = poll(&mut waiting, None);
        match signals.next() {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(error) => return Err(format!("cannot read signals: {error}")),
        }
    }
}
