//! A busy conversation of small messages, which a worker asks for by itself, delays nobody.

mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cloister_proto::messages::door::Outcome;
use support::{Door, Plan, end_writing, read_all};

/// Rounds of a conversation, many more than it takes to be one.
const ROUNDS: usize = 200;

#[test]
fn each_message_arrives_once_and_in_order() {
    let door = Door::start(&Plan::default());
    let (mut client, mut target) = door.relay();
    for round in 0..ROUNDS {
        let question = round.to_be_bytes();
        client.write_all(&question).expect("sent");
        let mut received = [0; size_of::<usize>()];
        target.read_exact(&mut received).expect("relayed");
        assert_eq!(received, question);
        let answer = (round * 7).to_be_bytes();
        target.write_all(&answer).expect("sent");
        client.read_exact(&mut received).expect("relayed");
        assert_eq!(received, answer);
    }
    // The side that is not expected to speak speaks, and ends.
    target.write_all(b"unasked").expect("sent");
    drop(target);
    assert_eq!(read_all(&client), b"unasked");
    drop(client);
    assert_eq!(door.finish()[0].outcome, Outcome::Complete);
}

#[test]
fn others_are_served_meanwhile() {
    let door = Door::start(&Plan::default());
    let (mut client, mut target) = door.relay();
    let over = Arc::new(AtomicBool::new(false));
    let conversation = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) || rounds < ROUNDS {
                client.write_all(&[1; 64]).expect("sent");
                target.read_exact(&mut [0; 64]).expect("relayed");
                target.write_all(&[2; 64]).expect("sent");
                client.read_exact(&mut [0; 64]).expect("relayed");
                rounds += 1;
            }
        }
    });
    for _ in 0..ROUNDS {
        let (client, mut target) = door.relay();
        target.write_all(b"answer").expect("sent");
        end_writing(&client);
        drop(target);
        assert_eq!(read_all(&client), b"answer");
    }
    over.store(true, Ordering::Relaxed);
    conversation.join().expect("every message was relayed");
    let records = door.finish();
    assert_eq!(records.len(), ROUNDS + 1);
    assert!(records.iter().all(|one| one.outcome == Outcome::Complete));
}
