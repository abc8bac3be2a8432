//! Peers that stop reading: the door holds at most a buffer per direction for them.
//! A file of its own, because it measures the whole process.

mod support;

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use cloister_proto::messages::door::Outcome;
use support::{Door, NAME, Plan, check_pattern, end_writing, hello, send_pattern, wait_for};

const CONNECTIONS: u64 = 32;

/// A stalled direction's leftover is at most one thread buffer, here and in its pipe.
const BOUND: u64 = CONNECTIONS * 2 * 300 * 1024;

/// The process's own memory in bytes: anonymous pages, so that neither the program's text
/// nor what the kernel keeps in sockets counts.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .expect("Linux 4.5");
    let kilobytes: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kilobytes * 1024
}

/// Writes zeros to all until nobody takes more for a while.
fn fill<Socket: Write>(sockets: &mut [Socket]) {
    let block = vec![0; 1 << 16];
    let mut idle = 0_u32;
    while idle < 50 {
        idle += 1;
        for socket in &mut *sockets {
            match socket.write(&block) {
                Ok(count) => idle *= u32::from(count == 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        if idle > 0 {
            thread::sleep(Duration::from_millis(4));
        }
    }
}

#[test]
fn stalled_peers_cost_bounded_memory_and_nobody_elses_time() {
    let door = Door::start(&Plan::default());
    let pairs = (0..CONNECTIONS).map(|_| door.relay());
    let (mut clients, mut targets): (Vec<_>, Vec<_>) = pairs.unzip();
    let before = memory();
    for client in &clients {
        client.set_nonblocking(true).expect("set");
    }
    for target in &targets {
        target.set_nonblocking(true).expect("set");
    }
    fill(&mut clients);
    fill(&mut targets);
    let grown = memory().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes for stalled peers");
    // Meanwhile others are served.
    let (client, target) = door.relay();
    let sender = thread::spawn(move || send_pattern(&target, 5, 3_000_000));
    assert_eq!(check_pattern(&client, 5), 3_000_000);
    sender.join().expect("sent");
    drop((client, clients, targets));
    door.wait_idle();
}

#[test]
fn a_stalled_reader_gets_every_byte_once_it_reads() {
    let door = Door::start(&Plan::default());
    let length = 12_000_000;
    let (client, target) = door.relay();
    let (upward, downward) = (
        client.try_clone().expect("a duplicate"),
        target.try_clone().expect("a duplicate"),
    );
    let senders = [
        thread::spawn(move || {
            send_pattern(&upward, 1, length);
            end_writing(&upward);
        }),
        thread::spawn(move || {
            send_pattern(&downward, 2, length);
            downward.shutdown(Shutdown::Write).expect("connected");
        }),
    ];
    // Nobody reads until both directions stand still.
    let moved = || {
        let statistics = door.statistics();
        (statistics.bytes_to_target, statistics.bytes_to_client)
    };
    let mut last = moved();
    let mut still = 0;
    wait_for("both directions to stand still", || {
        let now = moved();
        still = if now == last { still + 1 } else { 0 };
        last = now;
        (still > 50).then_some(())
    });
    let first = hello(NAME).len() as u64;
    assert!(last.0 < length + first && last.1 < length, "{last:?}");
    let reader = thread::spawn(move || check_pattern(&target, 1));
    assert_eq!(check_pattern(&client, 2), length);
    assert_eq!(reader.join().expect("every byte"), length);
    for sender in senders {
        sender.join().expect("sent");
    }
    drop(client);
    assert_eq!(door.finish()[0].outcome, Outcome::Complete);
}
