//! A target whose queue is full: unix(7) says `EAGAIN`, and no client may suffer for it.

mod support;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use cloister_proto::messages::door::Outcome;
use support::{Door, NAME, PATIENCE, Plan, end_writing, hello, read_all, reset, wait_for};

/// Clients, and places in the target's queue: listen(2) of 0 takes one connection.
const CLIENTS: usize = 12;

fn door_with_short_queue(connect: Duration) -> Door {
    let mut plan = Plan::default();
    plan.limits.connect = connect;
    let door = Door::start(&plan);
    rustix::net::listen(&door.target, 0).expect("listens");
    door
}

#[test]
fn everybody_is_served_once_there_is_room() {
    let door = door_with_short_queue(PATIENCE);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| door.connect()).collect();
    for client in &mut clients {
        client.write_all(&hello(NAME)).expect("sent");
        client.write_all(b"more").expect("sent");
    }
    wait_for("the door to take all", || {
        (door.workers.active() == CLIENTS as u64).then_some(())
    });
    for _ in 0..CLIENTS {
        let mut target = door.accept();
        let mut received = vec![0; hello(NAME).len() + 4];
        target.read_exact(&mut received).expect("everything");
        assert!(received.ends_with(b"more"));
        target.write_all(b"served").expect("sent");
    }
    for client in &mut clients {
        let mut answer = [0; 6];
        client.read_exact(&mut answer).expect("the answer");
        assert_eq!(&answer, b"served");
    }
    drop(clients);
    let records = door.finish();
    assert!(records.iter().all(|r| r.outcome == Outcome::Complete));
}

#[test]
fn the_deadline_ends_the_wait_with_an_alert() {
    let door = door_with_short_queue(Duration::from_millis(200));
    let (_filler, begin) = (door.relay_without_accept(), Instant::now());
    let mut client = door.connect();
    client.write_all(&hello(NAME)).expect("sent");
    assert_eq!(read_all(&client), [21, 3, 3, 0, 2, 2, 80]);
    assert!(begin.elapsed() >= Duration::from_millis(200));
    drop(client);
    let records = wait_records(door, 1);
    assert_eq!(records[0].outcome, Outcome::TargetTimeout);
}

#[test]
fn a_client_that_leaves_while_waiting_is_let_go() {
    let door = door_with_short_queue(PATIENCE);
    let _filler = door.relay_without_accept();
    let mut client = door.connect();
    client.write_all(&hello(NAME)).expect("sent");
    wait_for("the door to take both", || {
        (door.workers.active() == 2).then_some(())
    });
    reset(client);
    wait_for("the door to let it go", || {
        (door.workers.active() == 1).then_some(())
    });
    assert_eq!(door.statistics().outcomes["client-aborted"], 1);
}

#[test]
fn a_client_that_ends_its_direction_while_waiting_is_served() {
    let door = door_with_short_queue(PATIENCE);
    let _filler = door.relay_without_accept();
    let mut client = door.connect();
    client.write_all(&hello(NAME)).expect("sent");
    end_writing(&client);
    wait_for("the door to take both", || {
        (door.workers.active() == 2).then_some(())
    });
    drop(door.accept());
    let mut target = door.accept();
    let mut received = Vec::new();
    target.read_to_end(&mut received).expect("the end");
    assert_eq!(received, hello(NAME));
    target.write_all(b"answer").expect("sent");
    drop(target);
    assert_eq!(read_all(&client), b"answer");
}

#[test]
fn nobody_listening_is_an_unrecognized_name() {
    let door = Door::start(&Plan::default());
    std::fs::remove_file(&door.path).expect("removed");
    let mut client = door.connect();
    client.write_all(&hello(NAME)).expect("sent");
    assert_eq!(read_all(&client), [21, 3, 3, 0, 2, 2, 112]);
    drop(client);
    let records = wait_records(door, 1);
    assert_eq!(records[0].outcome, Outcome::TargetUnreachable);
}

fn wait_records(
    door: Door,
    number: usize,
) -> Vec<cloister_proto::messages::door::ConnectionRecord> {
    wait_for("connections to end", || {
        let statistics = door.statistics();
        let ended: u64 = statistics.outcomes.values().sum();
        (ended >= number as u64).then_some(())
    });
    door.cut()
}
