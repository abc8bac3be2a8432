//! Out of descriptors: new clients wait in the listener's queue, nobody spins, and a closed
//! connection makes room. A file of its own, because the limit is the whole process's.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Door, NAME, Plan, demand_quiet, hello, read_all, wait_for};

fn limit_descriptors(number: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = number;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("below the maximum");
}

#[test]
fn clients_wait_while_there_are_no_descriptors() {
    let door = Door::start(&Plan::default());
    let relayed: Vec<_> = (0..4).map(|_| door.relay()).collect();
    let unlimited = getrlimit(Resource::Nofile).current;
    // One descriptor is left: for the client's own end, since this process is also its.
    limit_descriptors(Some(lowest_free() + 1));
    let mut late = TcpStream::connect(door.address).expect("the queue takes it");
    late.set_read_timeout(Some(support::PATIENCE)).expect("set");
    late.write_all(&hello(NAME)).expect("sent");
    demand_quiet();
    assert_eq!(door.workers.active(), 4, "it waits in the queue");
    let pauses = door.statistics().accept_pauses;
    assert!((1..100).contains(&pauses), "{pauses} pauses");

    drop(relayed);
    wait_for("the door to take it", || {
        (door.statistics().accepted == 5).then_some(())
    });
    limit_descriptors(unlimited);
    let mut target = door.accept();
    let mut received = vec![0; hello(NAME).len()];
    target.read_exact(&mut received).expect("the hello");
    target.write_all(b"served").expect("sent");
    drop(target);
    assert_eq!(read_all(&late), b"served");
    drop(late);
    assert_eq!(door.finish().len(), 5);
}

/// The number that the next descriptor gets.
fn lowest_free() -> u64 {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::open("/dev/null").expect("opened");
    u64::try_from(file.as_raw_fd()).expect("positive")
}
