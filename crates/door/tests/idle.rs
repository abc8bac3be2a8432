//! The idle time-out: who is cut, who is not, and what it costs.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cloister_proto::messages::door::Outcome;
use support::{Door, NAME, Plan, end_writing, hello, read_all, read_until_reset, wait_for};

const IDLE: Duration = Duration::from_millis(300);

fn door() -> Door {
    let mut plan = Plan::default();
    plan.limits.idle = IDLE;
    Door::start(&plan)
}

#[test]
fn a_silent_connection_is_reset_and_not_before_its_time() {
    let door = door();
    let (client, target) = door.relay();
    let begun = Instant::now();
    assert_eq!(read_until_reset(&client), b"");
    assert!(
        begun.elapsed() > IDLE - Duration::from_millis(50),
        "{:?}",
        begun.elapsed()
    );
    drop((client, target));
    let records = door.finish();
    assert_eq!(records[0].outcome, Outcome::IdleTimeout);
    assert_eq!(records[0].reason.as_deref(), Some("no byte for 0.3 s"));
}

#[test]
fn a_byte_in_either_direction_keeps_it() {
    let door = door();
    let (mut client, mut target) = door.relay();
    let begun = Instant::now();
    let mut turn = 0_u32;
    while begun.elapsed() < 4 * IDLE {
        std::thread::sleep(IDLE / 3);
        turn += 1;
        if turn.is_multiple_of(2) {
            client.write_all(b"?").expect("alive");
            target.read_exact(&mut [0]).expect("alive");
        } else {
            target.write_all(b"!").expect("alive");
            client.read_exact(&mut [0]).expect("alive");
        }
    }
    drop(client);
    drop(target);
    assert_eq!(door.finish()[0].outcome, Outcome::Complete);
}

#[test]
fn half_closed_connections_are_cut_as_well() {
    let door = door();
    let (client, target) = door.relay();
    end_writing(&client);
    assert_eq!(read_all(&target), b"", "the end is handed on");
    assert_eq!(read_until_reset(&client), b"");
    drop((client, target));
    assert_eq!(door.finish()[0].outcome, Outcome::IdleTimeout);
}

#[test]
fn a_slow_hello_does_not_shorten_the_time() {
    let door = door();
    let mut client = door.connect();
    let hello = hello(NAME);
    let (first, rest) = hello.split_at(9);
    client.write_all(first).expect("sent");
    std::thread::sleep(IDLE / 2);
    client.write_all(rest).expect("sent");
    let mut target = door.accept();
    target
        .read_exact(&mut vec![0; hello.len()])
        .expect("the hello");
    let begun = Instant::now();
    assert_eq!(read_until_reset(&client), b"");
    assert!(begun.elapsed() > IDLE - Duration::from_millis(50));
}

/// The client reads slowly; all is with the kernel, and the target has said its last word.
#[test]
fn what_the_kernel_still_delivers_is_not_idle() {
    const BYTES: usize = 150_000;
    let door = door();
    let mut client: TcpStream = door.connect_with_receive_buffer(4096);
    client.write_all(&hello(NAME)).expect("sent");
    let mut target = door.accept();
    target
        .read_exact(&mut vec![0; hello(NAME).len()])
        .expect("the hello");
    let writer = std::thread::spawn(move || {
        target.write_all(&vec![7; BYTES]).expect("sent");
        target.shutdown(std::net::Shutdown::Write).expect("ended");
        target
    });
    let (begun, mut received) = (Instant::now(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        std::thread::sleep(IDLE / 8);
        match client.read(&mut buffer).expect("no reset") {
            0 => break,
            count => received += count,
        }
    }
    assert_eq!(received, BYTES);
    assert!(
        begun.elapsed() > 3 * IDLE,
        "slow enough to tell: {:?}",
        begun.elapsed()
    );
    drop(client);
    drop(writer.join());
    assert_eq!(door.finish()[0].outcome, Outcome::Complete);
}

#[test]
fn one_that_stops_reading_is_cut() {
    let door = door();
    let mut client: TcpStream = door.connect_with_receive_buffer(4096);
    client.write_all(&hello(NAME)).expect("sent");
    let mut target = door.accept();
    target
        .read_exact(&mut vec![0; hello(NAME).len()])
        .expect("the hello");
    let begun = Instant::now();
    // Until the door resets it.
    let block = vec![0; 1 << 16];
    while target.write_all(&block).is_ok() {}
    assert!(begun.elapsed() > IDLE);
    wait_for("its end", || (door.workers.active() == 0).then_some(()));
    assert_eq!(door.finish()[0].outcome, Outcome::IdleTimeout);
}

#[test]
fn without_a_time_out_nothing_is_cut() {
    let door = Door::start(&Plan::default());
    let (mut client, mut target) = door.relay();
    std::thread::sleep(2 * IDLE);
    client.write_all(b"?").expect("alive");
    target.read_exact(&mut [0]).expect("alive");
}
