//! M2 and M2u: many bytes one way over one connection.

use std::os::fd::AsFd;

use anyhow::{Result, ensure};
use rustix::event::epoll::EventFlags;
use serde_json::{Value, json};

use super::Peer;
use crate::backend::{INTACT, receive, send};
use crate::hello::Mode;
use crate::pattern::{CHUNK, Pattern};
use crate::poll::Poll;

/// Reads `bytes` from the backend to the end of the stream.
///
/// # Errors
/// Other bytes arrive, or another number of them.
pub fn download(peer: &Peer, bytes: u64) -> Result<Value> {
    let hello = peer.hello(Mode::Send(bytes))?;
    let pattern = Pattern::new();
    let mut buffer = vec![0; CHUNK];
    let ((), cpu, wall) = peer.measured(|| {
        let socket = peer.open(&hello)?;
        let mut position = 0;
        loop {
            let count = receive_waiting(peer, &socket, &mut buffer)?;
            if count == 0 {
                break;
            }
            ensure!(
                pattern.matches(position, &buffer[..count]),
                "changed after byte {position}"
            );
            position += count as u64;
        }
        ensure!(position == bytes, "{position} of {bytes} bytes arrived");
        Ok(())
    })?;
    Ok(json!({"bytes": bytes, "cpu_ns": cpu, "wall_ns": wall}))
}

/// Sends `bytes` and waits for the backend's word that they arrived intact. The stream is not
/// half-closed: not every proxy that is measured can relay that.
///
/// # Errors
/// The backend saw other bytes, or another number of them.
pub fn upload(peer: &Peer, bytes: u64) -> Result<Value> {
    let hello = peer.hello(Mode::Receive(bytes))?;
    let pattern = Pattern::new();
    let ((), cpu, wall) = peer.measured(|| {
        let socket = peer.open(&hello)?;
        let mut poll = Poll::new()?;
        poll.add(&socket, 0, EventFlags::OUT)?;
        let mut ready = Vec::new();
        let mut position = 0;
        while position < bytes {
            match send(&socket, pattern.at(position, bytes - position))? {
                Some(count) => position += count as u64,
                None => poll.wait(Some(peer.deadline), &mut ready)?,
            }
        }
        let mut answer = [0; 2];
        let count = receive_waiting(peer, &socket, &mut answer)?;
        ensure!(
            answer[..count] == [INTACT],
            "the backend did not get the bytes that were sent"
        );
        Ok(())
    })?;
    Ok(json!({"bytes": bytes, "cpu_ns": cpu, "wall_ns": wall}))
}

/// Blocks until there are bytes, the end of the stream (0), or the deadline.
fn receive_waiting(peer: &Peer, socket: impl AsFd, buffer: &mut [u8]) -> Result<usize> {
    loop {
        if let Some(count) = receive(&socket, buffer)? {
            return Ok(count);
        }
        let mut poll = Poll::new()?;
        poll.add(&socket, 0, EventFlags::IN)?;
        poll.wait(Some(peer.deadline), &mut Vec::new())?;
    }
}
