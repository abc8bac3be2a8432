//! A client is in, and there is no descriptor for its target: it waits for one, within the
//! time to connect. A file of its own, because the limit is the whole process's.

mod support;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use cloister_proto::messages::door::Outcome;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Door, NAME, Plan, demand_quiet, hello, wait_for};

fn limit_descriptors(number: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = number;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("below the maximum");
}

/// The number that the next descriptor gets.
fn lowest_free() -> u64 {
    let file = std::fs::File::open("/dev/null").expect("opened");
    u64::try_from(file.as_raw_fd()).expect("positive")
}

#[test]
fn a_client_waits_while_there_is_no_descriptor_for_its_target() {
    let door = Door::start(&Plan::default());
    let (mut other, mut other_target) = door.relay();
    let unlimited = getrlimit(Resource::Nofile).current;
    // Two descriptors are left: this client's own, and the door's end of it.
    let free = lowest_free();
    limit_descriptors(Some(free + 2));
    let mut client = door.connect();
    client.write_all(&hello(NAME)).expect("sent");
    wait_for("the door to take it", || {
        (door.workers.active() == 2).then_some(())
    });
    demand_quiet();
    other.write_all(b"undisturbed").expect("sent");
    let mut received = [0; 11];
    other_target.read_exact(&mut received).expect("relayed");
    assert_eq!(door.workers.active(), 2, "nobody was refused");

    limit_descriptors(unlimited);
    let mut target = door.accept();
    let mut received = vec![0; hello(NAME).len()];
    target.read_exact(&mut received).expect("the hello");
    assert_eq!(received, hello(NAME));
    drop((client, target, other, other_target));
    let outcomes: Vec<_> = door.finish().iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes, [Outcome::Complete; 2]);
}
