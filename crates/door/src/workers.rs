//! All workers of the process.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cloister_proto::messages::door::Statistics;
use cloister_sys::threads::unshare_filesystem_attributes;
use rustix::event::{EventfdFlags, eventfd};

use crate::clock::Moment;
use crate::log::{Log, Sink};
use crate::pipes;
use crate::process;
use crate::runtime::Runtime;
use crate::spin::Spin;
use crate::stats::{self, WorkerCounters};
use crate::worker::Worker;
use crate::worker::mailbox::{Command, Mailbox};

/// How long the workers may take to obey; they never wait for anything, so more means that
/// the machine is out of CPU time.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a worker's thread needs of the stack: it keeps its buffers on the heap.
const STACK: usize = 128 * 1024;

/// Descriptors of one worker: its epoll set and its mailbox.
const OWN: usize = 2;

struct Hand {
    mailbox: Arc<Mailbox>,
    counters: Arc<WorkerCounters>,
    thread: JoinHandle<()>,
}

/// What the machine offers; to be found out before the process is confined.
#[derive(Clone, Debug)]
pub struct Means {
    /// Whether and how much to poll.
    pub spin: Spin,
    /// Descriptors that the process may have open.
    pub descriptors: usize,
}

impl Means {
    /// Asks the machine for all that serving wants of it: turns that come soon, and as many
    /// descriptors as there are.
    #[must_use]
    pub fn take() -> Self {
        process::run_promptly();
        Self {
            spin: Spin::new(process::cpus_online() > 1),
            descriptors: process::raise_descriptor_limit(),
        }
    }
}

/// The worker threads and the way to command them.
pub struct Workers {
    hands: Vec<Hand>,
    sink: Arc<Sink>,
    /// Counts the workers that have ended, and those of them that were seen.
    ended: Arc<OwnedFd>,
    gone: Cell<u64>,
}

impl Workers {
    /// Starts this many threads (at least one), without listeners.
    ///
    /// # Errors
    ///
    /// Those of starting threads and opening their descriptors.
    pub fn start(number: usize, sink: &Arc<Sink>, means: &Means) -> io::Result<Self> {
        let number = number.max(1);
        let mut hands = Vec::with_capacity(number);
        let ended = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        // The kernel gives out the lowest free number, so the newest one tells how many are
        // open; /proc/self/fd is closed to a process that may not be dumped.
        let open = usize::try_from(ended.as_raw_fd()).unwrap_or(0) + 1;
        let capacity =
            process::connection_capacity(means.descriptors, open + OWN * number, 2 * pipes::LIMIT);
        for index in 0..number {
            let mailbox = Arc::new(Mailbox::new()?);
            let counters = Arc::new(WorkerCounters::default());
            let log = Log::new(Arc::clone(sink));
            let worker = Worker::new(
                Arc::clone(&mailbox),
                Arc::clone(&counters),
                log,
                (pipes::LIMIT / number).max(1),
                (capacity / number).max(1),
                means.spin.clone(),
            )?;
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .stack_size(STACK)
                .spawn({
                    let (ended, mailbox) = (Arc::clone(&ended), Arc::clone(&mailbox));
                    move || serve(worker, &mailbox, &ended)
                })?;
            hands.push(Hand {
                mailbox,
                counters,
                thread,
            });
        }
        Ok(Self {
            hands,
            sink: Arc::clone(sink),
            ended,
            gone: Cell::new(0),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn number(&self) -> usize {
        self.hands.len()
    }

    /// Puts a snapshot in force; true once every worker has it.
    #[must_use]
    pub fn apply(&self, runtime: &Arc<Runtime>) -> bool {
        self.command(&Command::Apply(Arc::clone(runtime)))
    }

    /// Closes the listeners; true once every worker has.
    #[must_use]
    pub fn drain(&self, deadline: Duration) -> bool {
        let until = Moment::now().after(deadline);
        self.command(&Command::Drain { until })
    }

    /// Whether every worker that has not ended answers within the patience: none is stuck.
    #[must_use]
    pub fn answer(&self, patience: Duration) -> bool {
        let until = Moment::now().after(patience);
        let send = |hand: &Hand| hand.mailbox.send(Command::Answer);
        let numbers: Vec<u64> = self.hands.iter().map(send).collect();
        self.hands.iter().zip(numbers).all(|(hand, number)| {
            let left = until.since(Moment::now());
            hand.mailbox.wait(number, left)
        })
    }

    fn command(&self, command: &Command) -> bool {
        let send = |hand: &Hand| hand.mailbox.send(command.clone());
        let numbers: Vec<u64> = self.hands.iter().map(send).collect();
        self.hands
            .iter()
            .zip(numbers)
            .all(|(hand, number)| hand.mailbox.wait(number, PATIENCE))
    }

    /// Readable once a worker has ended.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Whether all have ended; takes what made [`Workers::descriptor`] readable.
    #[must_use]
    pub fn ended(&self) -> bool {
        let mut count = [0; 8];
        // EAGAIN: none has since the last look.
        if rustix::io::read(&*self.ended, &mut count).is_ok() {
            let count = u64::from_ne_bytes(count);
            self.gone.set(self.gone.get() + count);
        }
        self.gone.get() >= self.hands.len() as u64
    }

    /// Connections open now.
    #[must_use]
    pub fn active(&self) -> u64 {
        let active = |hand: &Hand| u64::from(hand.counters.active.get());
        self.hands.iter().map(active).sum()
    }

    /// The sums of all workers' counters.
    #[must_use]
    pub fn statistics(&self, generation: u64) -> Statistics {
        let number = u16::try_from(self.hands.len()).unwrap_or(u16::MAX);
        let mut sums = stats::nothing(generation, number);
        for hand in &self.hands {
            hand.counters.add_to(&mut sums);
        }
        sums.log_lines_lost = self.sink.lost.get();
        sums
    }

    /// Waits for the end of all workers, then for the log's reader, a second at most.
    pub fn join(self) {
        for hand in self.hands {
            // A worker does not panic; if one did, the others have ended in order.
            let _ = hand.thread.join();
        }
        self.sink.finish();
    }
}

fn serve(worker: Worker, mailbox: &Mailbox, ended: &OwnedFd) {
    if let Err(error) = unshare_filesystem_attributes() {
        eprintln!("cloister-door: no working directory of its own for a worker: {error}");
        std::process::exit(1);
    }
    if let Err(error) = worker.run() {
        eprintln!("cloister-door: epoll: {error}");
        std::process::exit(1);
    }
    mailbox.close();
    let _ = rustix::io::write(ended, &1u64.to_ne_bytes());
}
