//! M4: memory per connection that was relayed and says nothing.

use anyhow::{Context, Result, ensure};
use rustix::event::epoll::EventFlags;
use serde_json::{Value, json};

use super::{Peer, SETTLE};
use crate::backend::{INTACT, receive};
use crate::hello::Mode;
use crate::poll::Poll;

/// Opened and closed before the first look, so that what a proxy allocates once is not counted.
const WARM_UP: usize = 8;

/// Opens `count` connections and leaves them open while the proxy's memory is read.
///
/// # Errors
/// A connection fails, or there is no proxy.
pub fn idle(peer: &Peer, count: usize) -> Result<Value> {
    let process = peer
        .process
        .context("the memory of no process cannot be measured")?;
    drop(open(peer, WARM_UP)?);
    std::thread::sleep(SETTLE);
    let before = process.memory()?;
    let connections = open(peer, count)?;
    std::thread::sleep(SETTLE);
    let after = process.memory()?;
    ensure!(
        connections.len() == count,
        "{} connections are open",
        connections.len()
    );
    Ok(json!({"connections": count, "before_bytes": before, "after_bytes": after}))
}

fn open(peer: &Peer, count: usize) -> Result<Vec<std::os::fd::OwnedFd>> {
    let hello = peer.hello(Mode::Idle)?;
    let mut poll = Poll::new()?;
    let mut ready = Vec::new();
    let mut connections = Vec::with_capacity(count);
    for number in 0..count {
        let socket = peer.open(&hello)?;
        poll.add(&socket, number, EventFlags::IN)?;
        // The backend's answer tells that the hello was relayed.
        let mut answer = [0; 2];
        let received = loop {
            if let Some(received) = receive(&socket, &mut answer)? {
                break received;
            }
            poll.wait(Some(peer.deadline), &mut ready)?;
        };
        ensure!(
            answer[..received] == [INTACT],
            "connection {number} was not relayed"
        );
        connections.push(socket);
    }
    Ok(connections)
}
