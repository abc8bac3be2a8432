//! Both flows of a connection: every byte, each end by itself, and broken ends as such.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use cloister_proto::messages::door::Outcome;
use support::{
    Door, NAME, Plan, check_pattern, end_writing, hello, read_all, read_until_reset, reset,
    send_pattern, wait_for,
};

/// Enough for several pipes and buffers.
const LONG: u64 = 9_000_000;

#[test]
fn the_client_ends_first() {
    let door = Door::start(&Plan::default());
    let (mut client, mut target) = door.relay();
    client.write_all(b"question").expect("sent");
    end_writing(&client);
    let mut question = String::new();
    target.read_to_string(&mut question).expect("the end");
    assert_eq!(question, "question");
    assert_eq!(door.workers.active(), 1, "the other direction is open");
    target.write_all(b"answer").expect("sent");
    drop(target);
    assert_eq!(read_all(&client), b"answer");
    let records = door.finish();
    assert_eq!(records[0].outcome, Outcome::Complete);
    assert_eq!(records[0].bytes_to_target, hello(NAME).len() as u64 + 8);
    assert_eq!(records[0].bytes_to_client, 6);
}

#[test]
fn the_target_ends_first() {
    let door = Door::start(&Plan::default());
    let (mut client, mut target) = door.relay();
    target.write_all(b"greeting").expect("sent");
    target.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(read_all(&client), b"greeting");
    client.write_all(b"farewell").expect("sent");
    end_writing(&client);
    assert_eq!(read_all(&target), b"farewell");
    assert_eq!(door.finish()[0].outcome, Outcome::Complete);
}

#[test]
fn both_end_at_once() {
    let door = Door::start(&Plan::default());
    let pairs: Vec<_> = (0..64).map(|_| door.relay()).collect();
    let ends = pairs.into_iter().map(|(mut client, mut target)| {
        let ender = thread::spawn(move || {
            target.write_all(b"from the target").expect("sent");
            target.shutdown(Shutdown::Write).expect("connected");
            assert_eq!(read_all(&target), b"from the client");
        });
        client.write_all(b"from the client").expect("sent");
        end_writing(&client);
        (client, ender)
    });
    for (client, ender) in ends.collect::<Vec<_>>() {
        assert_eq!(read_all(&client), b"from the target");
        ender.join().expect("the target's side is right");
    }
    let records = door.finish();
    assert_eq!(records.len(), 64);
    assert!(records.iter().all(|r| r.outcome == Outcome::Complete));
}

#[test]
fn bytes_before_the_end_of_a_closed_target_arrive() {
    let door = Door::start(&Plan::default());
    let (client, target) = door.relay();
    let sender = thread::spawn(move || send_pattern(target, 1, LONG));
    assert_eq!(check_pattern(&client, 1), LONG);
    sender.join().expect("sent");
    // The client says more to a target that is gone, and is not punished for it.
    (&client).write_all(b"close_notify").expect("sent");
    end_writing(&client);
    assert_eq!(read_all(&client), b"");
    drop(client);
    assert_eq!(door.finish()[0].outcome, Outcome::Complete);
}

#[test]
fn a_reset_of_the_client_ends_the_target() {
    let door = Door::start(&Plan::default());
    let (client, target) = door.relay();
    reset(client);
    assert_eq!(read_all(&target), b"");
    drop(target);
    assert_eq!(door.finish()[0].outcome, Outcome::ClientAborted);
}

#[test]
fn a_client_that_stays_after_its_target_is_closed() {
    let door = Door::start(&Plan::default());
    let (client, target) = door.relay();
    drop(target);
    assert_eq!(read_all(&client), b"");
    door.wait_idle();
    assert_eq!(door.finish()[0].outcome, Outcome::Complete);
}

#[test]
fn a_target_that_breaks_off_is_seen_as_a_reset_after_its_last_byte() {
    let door = Door::start(&Plan::default());
    let mut client = door.connect_with_receive_buffer(4096);
    client.write_all(&hello(NAME)).expect("sent");
    let target = door.accept();
    // Much more than the client's buffer takes: it waits in the door's own.
    send_pattern(&target, 2, 60_000);
    wait_for("the door to take it", || {
        (door.statistics().bytes_to_client == 60_000).then_some(())
    });
    // Closing a Unix socket with unread bytes is its reset; the hello is unread.
    drop(target);
    door.settle();
    let received = read_until_reset(&client);
    assert_eq!(check_pattern(received.as_slice(), 2), 60_000);
    let records = door.finish();
    assert!(records.iter().any(|r| r.outcome == Outcome::TargetAborted));
}

/// Streams both ways at once on many connections, through copies and pipes.
fn streams(connections: u64, length: u64) {
    let door = Door::start(&Plan {
        workers: 2,
        ..Plan::default()
    });
    let mut threads = Vec::new();
    for number in 0..connections {
        let (client, target) = door.relay();
        let (up, down) = (2 * number, 2 * number + 1);
        let (client_reader, target_reader) = (
            client.try_clone().expect("a duplicate"),
            target.try_clone().expect("a duplicate"),
        );
        threads.push(thread::spawn(move || {
            send_pattern(&client, up, length);
            end_writing(&client);
        }));
        threads.push(thread::spawn(move || {
            send_pattern(&target, down, length);
            target.shutdown(Shutdown::Write).expect("connected");
        }));
        threads.push(thread::spawn(move || {
            assert_eq!(check_pattern(client_reader, down), length);
        }));
        threads.push(thread::spawn(move || {
            assert_eq!(check_pattern(target_reader, up), length);
        }));
    }
    for thread in threads {
        thread.join().expect("every byte in its place");
    }
    let first = hello(NAME).len() as u64;
    let records = door.finish();
    assert_eq!(records.len() as u64, connections);
    for record in records {
        assert_eq!(record.outcome, Outcome::Complete);
        assert_eq!(record.bytes_to_target, first + length);
        assert_eq!(record.bytes_to_client, length);
    }
}

#[test]
fn every_byte_of_one_connection() {
    streams(1, LONG);
}

#[test]
fn every_byte_of_thirty_two_connections() {
    streams(32, 1_500_000);
}

#[test]
fn a_conversation_of_small_messages() {
    let door = Door::start(&Plan::default());
    let (mut client, mut target) = door.relay();
    let echo = thread::spawn(move || {
        let mut message = [0; 128];
        while target.read_exact(&mut message).is_ok() {
            target.write_all(&message).expect("sent");
        }
    });
    for round in 0..2000_u32 {
        let message: [u8; 128] = std::array::from_fn(|place| (round as usize + place) as u8);
        client.write_all(&message).expect("sent");
        let mut answer = [0; 128];
        client.read_exact(&mut answer).expect("the echo");
        assert_eq!(answer, message);
    }
    end_writing(&client);
    assert_eq!(read_all(&client), b"");
    echo.join().expect("ended");
    assert_eq!(door.finish()[0].outcome, Outcome::Complete);
}

#[test]
fn a_raw_listener_does_not_look_at_the_bytes() {
    let door = Door::start(&Plan {
        raw: true,
        ..Plan::default()
    });
    // The target speaks first, as in many protocols.
    let client = door.connect();
    let mut target = door.accept();
    target.write_all(b"220 ready\r\n").expect("sent");
    drop(target);
    assert_eq!(read_all(&client), b"220 ready\r\n");
    drop(client);
    assert_eq!(door.finish()[0].outcome, Outcome::Complete);
}
