//! The thread that asks, and the way to it.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, Semaphore, watch};

use super::configuration::Configuration;
use super::endpoint::Endpoint;
use super::files::{self, Watcher};
use super::lookup::Asker;
use super::task::{self, Shared};
use super::{Address, Answer, NAMES, Query, State};

/// Takes one line for a person, without the program's name and the line's end; called by the
/// resolver's thread.
pub type Report = Box<dyn Fn(&str) + Send + Sync>;

/// The thread's stack; its tasks live on the heap. Only pages that are touched count.
const STACK: usize = 512 * 1024;

/// Questions under way at once; each has a socket.
const QUESTIONS: usize = 32;

/// Who replaces both files at once need not be asked for each.
const SETTLING: Duration = Duration::from_millis(20);

/// Where names come from.
pub struct ResolverOptions {
    /// Servers in place of those that resolv.conf names; empty for those.
    pub nameservers: Vec<SocketAddr>,
    /// The hosts file, absolute.
    pub hosts: PathBuf,
    /// resolv.conf, absolute.
    pub resolv_conf: PathBuf,
    /// Hears of names that stop resolving and of files that cannot be read.
    pub report: Report,
}

impl Default for ResolverOptions {
    /// The system's files; reports go to standard error.
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            hosts: "/etc/hosts".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            report: Box::new(|line| {
                // Nobody may read it.
                let _ = writeln!(io::stderr(), "cloister-door: {line}");
            }),
        }
    }
}

/// The thread that asks. Dropping it ends the thread; endpoints keep their last answers.
pub struct Resolver {
    handle: Handle,
    shared: Arc<Shared>,
    asker: watch::Receiver<Arc<Asker>>,
    names: Mutex<HashMap<Query, Weak<Endpoint>>>,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Resolver {
    /// Starts the thread, which reads the files from then on: in a confined process it sees
    /// them as that process does, and says so when it cannot.
    ///
    /// # Errors
    ///
    /// Those of starting a thread and of epoll(7).
    pub fn start(options: ResolverOptions) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared {
            questions: Semaphore::new(QUESTIONS),
            report: options.report,
        });
        let sources = Sources {
            nameservers: options.nameservers,
            hosts: options.hosts,
            resolv_conf: options.resolv_conf,
        };
        let (watcher, first) = {
            let _inside = runtime.enter();
            // Before the first look, so that no change falls between.
            let watcher = sources.watcher(&shared);
            let configuration = sources.read(&shared, None);
            let first = sources.asker(configuration).map_err(io::Error::other)?;
            (watcher, first)
        };
        let (sender, asker) = watch::channel(first);
        let stop = Arc::new(Notify::new());
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new()
            .name("resolver".to_owned())
            .stack_size(STACK)
            .spawn({
                let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
                move || {
                    runtime.block_on(async move {
                        tokio::select! {
                            () = follow(&sources, watcher, &shared, &sender) => {}
                            () = stop.notified() => {}
                        }
                    });
                }
            })?;
        Ok(Self {
            handle,
            shared,
            asker,
            names: Mutex::default(),
            stop,
            thread: Some(thread),
        })
    }

    /// The endpoint of a name, the same for the same query as long as somebody holds it. The
    /// name is looked up at once; a name that does not resolve is reported, no error.
    pub fn watch(&self, query: Query) -> Arc<Endpoint> {
        if let Some(socket) = query.literal() {
            return fixed(query, vec![Address::plain(socket)], State::Fresh);
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = names.get(&query).and_then(Weak::upgrade) {
            return endpoint;
        }
        names.retain(|_, endpoint| endpoint.strong_count() > 0);
        if names.len() >= NAMES {
            let reason = format!("more than {NAMES} names at once");
            return fixed(query, Vec::new(), State::Failed(reason.into()));
        }
        let signal = Arc::new(Notify::new());
        let pending = Answer {
            addresses: Vec::new(),
            state: State::Pending,
            generation: 0,
        };
        let endpoint = Endpoint::new(query.clone(), pending, Arc::clone(&signal));
        let weak = Arc::downgrade(&endpoint);
        names.insert(query.clone(), Weak::clone(&weak));
        let (shared, asker) = (Arc::clone(&self.shared), self.asker.clone());
        self.handle
            .spawn(task::run(weak, query, signal, shared, asker));
        endpoint
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, there is nothing left to end.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// An endpoint that nobody keeps: its answer stays.
fn fixed(query: Query, addresses: Vec<Address>, state: State) -> Arc<Endpoint> {
    let answer = Answer {
        addresses,
        state,
        generation: 1,
    };
    Endpoint::new(query, answer, Arc::new(Notify::new()))
}

struct Sources {
    nameservers: Vec<SocketAddr>,
    hosts: PathBuf,
    resolv_conf: PathBuf,
}

impl Sources {
    /// What resolv.conf says now; `before` where it cannot be read, or is between two
    /// versions. Reports what cannot be read.
    fn read(&self, shared: &Shared, before: Option<&Configuration>) -> Configuration {
        let kept = || before.cloned().unwrap_or_default();
        let text =
            files::read(&self.resolv_conf).map_err(|error| (error.kind(), error.to_string()));
        let (configuration, problem) = match text {
            Ok(text) => match Configuration::parse(&text) {
                Ok(configuration) => (configuration, None),
                Err(error) => (kept(), Some(error)),
            },
            // Between two versions of it.
            Err((io::ErrorKind::NotFound, _)) if before.is_some() => (kept(), None),
            Err((_, error)) => (kept(), Some(error)),
        };
        let configuration = configuration.with_servers(&self.nameservers);
        if let Some(problem) = problem {
            let (path, servers) = (self.resolv_conf.display(), configuration.describe());
            (shared.report)(&format!("{path}: {problem}; asking {servers}"));
        }
        match files::open(&self.hosts) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = self.hosts.display();
                (shared.report)(&format!("{path}: {error}; going on without it"));
            }
            _ => {}
        }
        configuration
    }

    fn watcher(&self, shared: &Shared) -> Option<Watcher> {
        let paths = vec![self.hosts.clone(), self.resolv_conf.clone()];
        let watcher = Watcher::new(paths);
        watcher
            .map_err(|error| (shared.report)(&unseen(&error)))
            .ok()
    }

    fn asker(&self, configuration: Configuration) -> Result<Arc<Asker>, String> {
        Asker::new(configuration, self.hosts.clone())
    }
}

/// Replaces the asker when a file has changed; every name in use then asks anew.
async fn follow(
    sources: &Sources,
    watcher: Option<Watcher>,
    shared: &Shared,
    sender: &watch::Sender<Arc<Asker>>,
) {
    while let Some(watcher) = &watcher {
        if let Err(error) = watcher.changed().await {
            (shared.report)(&unseen(&error));
            break;
        }
        tokio::time::sleep(SETTLING).await;
        let before = Arc::clone(&sender.borrow());
        let configuration = sources.read(shared, Some(before.configuration()));
        match sources.asker(configuration) {
            Ok(asker) => {
                sender.send_replace(asker);
            }
            Err(error) => (shared.report)(&error),
        }
    }
    std::future::pending().await
}

fn unseen(error: &io::Error) -> String {
    format!(
        "changes of the hosts file and of resolv.conf are not seen: {error}; start the door \
         anew after such a change"
    )
}
