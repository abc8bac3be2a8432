//! M1: connect, hello, short reply, close.

use anyhow::{Result, ensure};
use rustix::event::epoll::EventFlags;
use serde_json::{Value, json};

use super::Peer;
use crate::backend::{REPLY_LENGTH, receive};
use crate::hello::Mode;
use crate::pattern::{CHUNK, Pattern};
use crate::poll::Poll;

/// Makes `count` connections, `parallel` at a time.
///
/// # Errors
/// A connection fails or brings other bytes than the reply.
pub fn short(peer: &Peer, count: usize, parallel: usize) -> Result<Value> {
    let hello = peer.hello(Mode::Reply)?;
    let pattern = Pattern::new();
    let mut buffer = vec![0; CHUNK];
    let ((), cpu, wall) = peer.measured(|| {
        let mut poll = Poll::new()?;
        let mut open = Vec::with_capacity(parallel);
        let mut left = count;
        for number in 0..parallel.min(count) {
            let socket = peer.open(&hello)?;
            poll.add(&socket, number, EventFlags::IN)?;
            open.push(Some((socket, 0_u64)));
            left -= 1;
        }
        let mut running = open.len();
        let mut ready = Vec::new();
        while running > 0 {
            poll.wait(Some(peer.deadline), &mut ready)?;
            for &number in &ready {
                let Some((socket, position)) = &mut open[number] else {
                    continue;
                };
                while let Some(bytes) = receive(&*socket, &mut buffer)? {
                    if bytes > 0 {
                        ensure!(
                            pattern.matches(*position, &buffer[..bytes]),
                            "the reply has changed"
                        );
                        *position += bytes as u64;
                        continue;
                    }
                    ensure!(
                        *position == REPLY_LENGTH,
                        "the reply ends after {position} bytes"
                    );
                    // Closed before the next one opens: never more than `parallel` at a time.
                    open[number] = None;
                    if left > 0 {
                        left -= 1;
                        let next = peer.open(&hello)?;
                        poll.add(&next, number, EventFlags::IN)?;
                        open[number] = Some((next, 0));
                    } else {
                        running -= 1;
                    }
                    break;
                }
            }
        }
        Ok(())
    })?;
    Ok(json!({"connections": count, "cpu_ns": cpu, "wall_ns": wall}))
}
