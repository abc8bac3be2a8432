//! Limits, refusals, snapshots and drains.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloister_proto::messages::door::Outcome;
use support::{
    Door, NAME, PATIENCE, Plan, end_writing, hello, read_all, read_until_reset, runtime, wait_for,
};

#[test]
fn one_connection_more_than_the_limit_is_reset() {
    let mut plan = Plan::default();
    plan.limits.connections = 2;
    let door = Door::start(&plan);
    let (first, first_target) = door.relay();
    let (_second, _second_target) = door.relay();
    assert_eq!(read_until_reset(door.connect()), b"");
    drop((first, first_target));
    wait_for("room", || (door.workers.active() == 1).then_some(()));
    let (_third, _third_target) = door.relay();
    let statistics = door.statistics();
    assert_eq!(statistics.outcomes["refused-limit"], 1);
    assert_eq!(statistics.accepted, 4);
}

#[test]
fn an_alert_arrives_although_the_client_goes_on_sending() {
    let door = Door::start(&Plan::default());
    let mut client = door.connect();
    // More than the door reads at once: closing now would reset the connection.
    let mut bytes = b"GET / HTTP/1.1\r\n".to_vec();
    bytes.resize(150_000, b'x');
    client.write_all(&bytes).expect("sent");
    for _ in 0..3 {
        door.settle();
        client.write_all(b"more").expect("sent");
    }
    door.settle();
    assert_eq!(read_all(&client), [21, 3, 3, 0, 2, 2, 10]);
    drop(client);
    let records = door.finish();
    let refused = records.iter().find(|r| r.outcome == Outcome::RefusedHello);
    assert_eq!(refused.expect("its record").bytes_to_target, 0);
}

#[test]
fn a_client_that_stays_after_its_alert_is_closed() {
    let door = Door::start(&Plan::default());
    let mut client = door.connect();
    client.write_all(&hello("other.example")).expect("sent");
    assert_eq!(read_all(&client), [21, 3, 3, 0, 2, 2, 112]);
    door.wait_idle();
    assert_eq!(door.finish()[0].outcome, Outcome::RefusedName);
}

#[test]
fn a_slow_hello_ends_with_an_alert() {
    let mut plan = Plan::default();
    plan.limits.hello = Duration::from_millis(150);
    let door = Door::start(&plan);
    let begin = Instant::now();
    let (silent, mut slow) = (door.connect(), door.connect());
    slow.write_all(&hello(NAME)[..40]).expect("sent");
    assert_eq!(read_all(&silent), [21, 3, 3, 0, 2, 2, 90]);
    assert_eq!(read_all(&slow), [21, 3, 3, 0, 2, 2, 90]);
    assert!(begin.elapsed() >= Duration::from_millis(150));
    drop((silent, slow));
    let records = door.finish();
    assert!(records.iter().all(|r| r.outcome == Outcome::HelloTimeout));
}

#[test]
fn a_hello_that_ends_early_is_answered() {
    let door = Door::start(&Plan::default());
    let mut client = door.connect();
    client.write_all(&hello(NAME)[..40]).expect("sent");
    end_writing(&client);
    assert_eq!(read_all(&client), [21, 3, 3, 0, 2, 2, 50]);
    assert_eq!(door.finish()[0].outcome, Outcome::HelloIncomplete);
}

#[test]
fn a_new_snapshot_closes_old_listeners_and_no_connection() {
    let door = Door::start(&Plan {
        workers: 2,
        ..Plan::default()
    });
    let (mut client, mut target) = door.relay();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound");
    let next = runtime(&Plan::default(), listener, 2, &door.path);
    assert!(door.workers.apply(&Arc::new(next)));
    // The old socket closes with its last holder, which is the test's.
    let Door {
        workers,
        runtime,
        address: old,
        ..
    } = door;
    drop(runtime);
    let error = TcpStream::connect(old).expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    client.write_all(b"still").expect("sent");
    let mut received = [0; 5];
    target.read_exact(&mut received).expect("relayed");
    assert_eq!(&received, b"still");
    TcpStream::connect(address).expect("the new listener");
    drop((client, target));
    assert!(workers.drain(PATIENCE));
    workers.join();
}

#[test]
fn a_drain_refuses_new_connections_and_ends_with_the_last_one() {
    let door = Door::start(&Plan::default());
    let (mut client, mut target) = door.relay();
    let Door {
        workers,
        runtime,
        address,
        ..
    } = door;
    drop(runtime);
    assert!(workers.drain(PATIENCE));
    let error = TcpStream::connect(address).expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(!workers.ended());
    target.write_all(b"last words").expect("sent");
    drop(target);
    assert_eq!(read_all(&client), b"last words");
    let _ = client.write_all(b"x");
    drop(client);
    wait_for("the end", || workers.ended().then_some(()));
    workers.join();
}

#[test]
fn a_drain_cuts_at_its_deadline() {
    let door = Door::start(&Plan::default());
    let (client, _target) = door.relay();
    let begin = Instant::now();
    let records = door.drain(Duration::from_millis(100));
    assert!(begin.elapsed() >= Duration::from_millis(100));
    assert_eq!(records[0].outcome, Outcome::Drained);
    assert_eq!(read_until_reset(&client), b"");
}

#[test]
fn connections_that_end_in_one_batch_do_not_touch_each_other() {
    // One worker, many ends at once, and new connections in the freed slots: an event for
    // one that ended earlier in its batch must find nobody.
    let door = Door::start(&Plan::default());
    for round in 0..20 {
        let pairs: Vec<_> = (0..40).map(|_| door.relay()).collect();
        let (mut kept, mut ended) = (Vec::new(), Vec::new());
        for (number, pair) in pairs.into_iter().enumerate() {
            if number % 4 == 0 {
                kept.push(pair);
            } else {
                ended.push(pair);
            }
        }
        for (client, target) in ended {
            // Both sides in one go: two events of one connection.
            drop(client);
            drop(target);
        }
        for (number, (client, target)) in kept.iter_mut().enumerate() {
            let message = [round, u8::try_from(number).expect("few")];
            client.write_all(&message).expect("sent");
            let mut received = [0; 2];
            target.read_exact(&mut received).expect("its own bytes");
            assert_eq!(received, message);
        }
        let (client, target) = door.relay();
        drop((client, target, kept));
    }
    door.wait_idle();
    let statistics = door.statistics();
    assert_eq!(statistics.accepted, 20 * 41);
    let ended: u64 = statistics.outcomes.values().sum();
    assert_eq!(ended, 20 * 41);
}
