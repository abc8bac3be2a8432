//! What both ways of serving do to the process.

use std::time::Duration;

use cloister_sys::signals::SignalDescriptor;
use cloister_sys::threads::ask_for_slice;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

/// Has the signals that mean "stop" read from a descriptor, in every thread.
///
/// # Errors
///
/// What failed, for a person.
pub fn block_signals() -> Result<SignalDescriptor, String> {
    let stop = [Signal::HUP, Signal::TERM, Signal::INT, Signal::USR1].map(Signal::as_raw);
    SignalDescriptor::block(&stop).map_err(|error| format!("cannot block signals: {error}"))
}

/// Takes as many descriptors as the system allows, since each relayed connection needs two;
/// returns how many that are.
#[must_use]
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Raising the soft limit to the hard one needs no privilege; should it fail, the old
    // limit serves, and reaching it pauses the listeners.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    descriptor_limit()
}

/// The shortest that there is. A relayed piece takes some 10 us of it.
const SLICE: Duration = Duration::from_micros(100);

/// Has every thread that starts from now on run soon after it was woken, beside whatever keeps
/// the processors busy: otherwise each piece that is relayed may wait for a tick of some
/// milliseconds. To be called before the process is confined.
pub fn run_promptly() {
    // Where a filter denies it (systemd's `@resources`), the door relays what it relayed before
    // there was such a wish, in Linux 6.12, and protects nobody less.
    let _ = ask_for_slice(SLICE);
}

/// How many descriptors this process may have.
#[must_use]
pub fn descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// How many of `limit` descriptors hosts' folders may keep: they save calls, no more.
#[must_use]
pub fn folder_budget(limit: usize) -> usize {
    (limit / 64).min(64)
}

/// CPUs that the kernel runs, wherever this process may run.
#[must_use]
pub fn cpus_online() -> usize {
    // One CPU in the affinity mask of a larger machine is no reason not to poll: the peers
    // run on the others.
    std::fs::read_to_string("/sys/devices/system/cpu/online").map_or_else(
        // A root without /sys.
        |_| std::thread::available_parallelism().map_or(1, usize::from),
        |list| count_cpus(list.trim()),
    )
}

/// Counts a list like `0-3,8`.
fn count_cpus(list: &str) -> usize {
    let range = |part: &str| -> Option<usize> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    list.split(',').filter_map(range).sum()
}

/// Descriptors that workers hold for a moment: a lookup's folder, an accepted client.
const MOMENTARY: usize = 16;

/// For how many connections `limit` descriptors are enough: two for each, after those `open`
/// for good, those of hosts' folders, those held for a moment, and `pipes` descriptors of pipes, which are dispensable
/// and get at most a quarter.
#[must_use]
pub fn connection_capacity(limit: usize, open: usize, pipes: usize) -> usize {
    let reserved = MOMENTARY + folder_budget(limit);
    let rest = limit.saturating_sub(open.saturating_add(reserved));
    (rest - pipes.min(rest / 4)) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_counted() {
        for (list, count) in [("0", 1), ("0-1", 2), ("0-3,8", 5), ("", 0)] {
            assert_eq!(count_cpus(list), count, "{list}");
        }
    }

    #[test]
    fn two_descriptors_for_each_connection() {
        assert_eq!(
            connection_capacity(1024, 16, 64),
            (1024 - 16 - 16 - 16 - 64) / 2
        );
        assert_eq!(connection_capacity(60, 12, 64), (32 - 8) / 2);
        assert_eq!(connection_capacity(10, 12, 64), 0);
    }
}
