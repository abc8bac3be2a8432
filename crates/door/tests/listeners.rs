//! Listeners that leave while somebody else holds their socket. A file of its own, because it
//! measures the whole process.

mod support;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustix::io::dup;
use support::{Door, Plan, demand_quiet, runtime};

#[test]
fn a_listener_that_left_wakes_nobody() {
    let door = Door::start(&Plan::default());
    // What a supervisor does: its duplicate keeps the socket, and its queue, alive.
    let held = dup(&door.runtime.listeners[0].socket.descriptor).expect("a duplicate");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let next = runtime(&Plan::default(), listener, 2, &door.path);
    assert!(door.workers.apply(&Arc::new(next)));
    let _waiting = TcpStream::connect(door.address).expect("the queue takes it");
    demand_quiet();
    assert_eq!(door.statistics().accepted, 0);
    drop(held);
}
