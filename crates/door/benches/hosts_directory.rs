//! How long looking a name up takes, by the number of folders in the hosts directory.
//!
//! `make bench-hosts`, or `cargo bench -p cloister-door --bench hosts_directory -- NUMBER...`.
//! One lookup is everything between a parsed hello and a connected socket. The directory is
//! made below `$TMPDIR` and removed again. All folders are there; those that are asked for,
//! at most 10,000 spread over all, have a socket, which is one socket under many names.

use std::fs;
use std::io::{Error, Result};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use cloister_door::route::hosts_directory::{HostsDirectory, Wanted};
use cloister_proto::hostname::Hostname;

/// Folders that are asked for.
const ASKED: usize = 10_000;

/// Lookups of each kind.
const LOOKUPS: usize = 50_000;

/// New names that are asked for as soon as they are made.
const NEW: usize = 1_000;

/// After this long every look is remembered; see `state.rs`.
const SETTLE: Duration = Duration::from_millis(3_100);

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let mut numbers: Vec<usize> = arguments.filter_map(|word| word.parse().ok()).collect();
    if numbers.is_empty() {
        numbers = vec![10, 1_000, 100_000, 1_000_000];
    }
    cloister_sys::threads::unshare_filesystem_attributes()?;
    println!("folders    kind          p50 us   p99 us   max us");
    for number in numbers {
        measure(number)?;
    }
    Ok(())
}

fn measure(number: usize) -> Result<()> {
    let root = tempfile::tempdir()?;
    let directory = root.path().join("hosts");
    fs::create_dir(&directory)?;
    let socket = root.path().join("socket");
    let listener = UnixListener::bind(&socket)?;
    listener.set_nonblocking(true)?;
    let step = number.div_ceil(ASKED);
    for index in 0..number {
        let folder = directory.join(name(index));
        fs::create_dir(&folder)?;
        if index % step == 0 {
            fs::hard_link(&socket, folder.join("tls-socket"))?;
        }
    }
    let asked: Vec<usize> = (0..number).step_by(step).collect();
    let opened = fs::File::open(&directory)?.into();
    let hosts = HostsDirectory::new("hosts", opened, false)?;
    let bench = Bench { hosts, listener };

    let mut fresh = Times::default();
    for index in 0..NEW {
        let folder = directory.join(format!("new-{index}.example"));
        bench.expect_nobody(&format!("new-{index}.example"))?;
        fs::create_dir(&folder)?;
        fs::hard_link(&socket, folder.join("tls-socket"))?;
        fresh.add(bench.connect(&format!("new-{index}.example"))?);
    }
    fresh.print(number, "new");

    std::thread::sleep(SETTLE);
    // Few names that are asked for often, as most are; then all, which are more than are
    // remembered.
    let few = &asked[..asked.len().min(1_000)];
    for (kind, names) in [("remembered", few), ("any", &asked[..])] {
        for &index in names {
            bench.connect(&name(index))?;
        }
        let mut times = Times::default();
        for lookup in 0..LOOKUPS {
            // A stride that is prime to the number visits all, far from one another.
            let index = names[lookup * 7_919 % names.len()];
            times.add(bench.connect(&name(index))?);
        }
        times.print(number, kind);
    }
    let mut unknown = Times::default();
    for lookup in 0..LOOKUPS {
        unknown.add(bench.expect_nobody(&format!("unknown-{lookup}.example"))?);
    }
    unknown.print(number, "unknown");
    drop(bench);
    remove(&directory, number)
}

fn name(index: usize) -> String {
    format!("host-{index}.example")
}

/// One directory, and the socket behind all its names.
struct Bench {
    hosts: HostsDirectory,
    listener: UnixListener,
}

impl Bench {
    fn connect(&self, name: &str) -> Result<Duration> {
        let name = Hostname::parse(name.as_bytes()).map_err(Error::other)?;
        let begin = Instant::now();
        let found = self.hosts.connect(Some(&name), &[], Wanted::Any);
        let took = begin.elapsed();
        found.map_err(|error| Error::other(format!("{name}: {error:?}")))?;
        self.listener.accept()?;
        Ok(took)
    }

    fn expect_nobody(&self, name: &str) -> Result<Duration> {
        let name = Hostname::parse(name.as_bytes()).map_err(Error::other)?;
        let begin = Instant::now();
        let found = self.hosts.connect(Some(&name), &[], Wanted::Any);
        let took = begin.elapsed();
        match found {
            Err(_) => Ok(took),
            Ok(_) => Err(Error::other(format!("{name}: nobody should serve it"))),
        }
    }
}

#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    fn print(mut self, number: usize, kind: &str) {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = |share: usize| self.0[last * share / 100].as_secs_f64() * 1e6;
        println!(
            "{number:<10} {kind:<12} {:>7.1}  {:>7.1}  {:>7.1}",
            at(50),
            at(99),
            at(100)
        );
    }
}

/// Faster than the temporary folder's own removal, which sorts out what is what.
fn remove(directory: &Path, number: usize) -> Result<()> {
    for index in 0..number {
        let folder = directory.join(name(index));
        let _ = fs::remove_file(folder.join("tls-socket"));
        fs::remove_dir(folder)?;
    }
    Ok(())
}
