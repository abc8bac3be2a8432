//! M3 and M3n: a small message and its echo, again and again.

use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::{Result, ensure};
use rustix::event::epoll::EventFlags;
use serde_json::{Value, json};

use super::Peer;
use crate::backend::{receive, send};
use crate::hello::Mode;
use crate::poll::Poll;

/// Bytes of a message.
const MESSAGE: usize = 128;
/// Rounds per connection before the measured ones.
const WARM_UP: usize = 200;

struct Player {
    socket: OwnedFd,
    received: usize,
    warming: usize,
    sent: Instant,
    /// Changes with every round, so that an old echo is not taken for the new one.
    round: u8,
}

impl Player {
    fn serve(&mut self) -> Result<()> {
        self.round = self.round.wrapping_add(1);
        self.received = 0;
        self.sent = Instant::now();
        let sent = send(&self.socket, &[self.round; MESSAGE])?;
        ensure!(
            sent == Some(MESSAGE),
            "a message does not fit into an empty connection"
        );
        Ok(())
    }

    /// Whether the whole echo is here.
    fn take(&mut self) -> Result<bool> {
        let mut echo = [0; MESSAGE];
        let Some(count) = receive(&self.socket, &mut echo[self.received..])? else {
            return Ok(false);
        };
        ensure!(count > 0, "the connection ended in the middle of a round");
        ensure!(
            echo[self.received..][..count]
                .iter()
                .all(|byte| *byte == self.round),
            "the echo has changed"
        );
        self.received += count;
        Ok(self.received == MESSAGE)
    }
}

/// Plays `rounds` in all on `parallel` connections, each with one message on its way.
///
/// # Errors
/// A connection ends or brings other bytes.
pub fn small(peer: &Peer, rounds: usize, parallel: usize) -> Result<Value> {
    let hello = peer.hello(Mode::Echo)?;
    let mut poll = Poll::new()?;
    let mut players = Vec::with_capacity(parallel);
    for number in 0..parallel {
        let socket = peer.open(&hello)?;
        poll.add(&socket, number, EventFlags::IN)?;
        let now = Instant::now();
        players.push(Player {
            socket,
            received: 0,
            warming: WARM_UP / parallel + 1,
            sent: now,
            round: 0,
        });
    }
    let mut times = Vec::with_capacity(rounds);
    let mut ready = Vec::new();

    for player in &mut players {
        player.serve()?;
    }
    let mut warm = 0;
    while warm < players.len() {
        poll.wait(Some(peer.deadline), &mut ready)?;
        for &number in &ready {
            let player = &mut players[number];
            if player.take()? {
                player.warming -= 1;
                if player.warming == 0 {
                    warm += 1;
                } else {
                    player.serve()?;
                }
            }
        }
    }
    let ((), cpu, wall) = peer.measured(|| {
        let mut left = rounds;
        for player in players.iter_mut().take(rounds) {
            player.serve()?;
            left -= 1;
        }
        while times.len() < rounds {
            poll.wait(Some(peer.deadline), &mut ready)?;
            for &number in &ready {
                let player = &mut players[number];
                if player.take()? {
                    times.push(player.sent.elapsed().as_nanos() as u64);
                    if left > 0 {
                        left -= 1;
                        player.serve()?;
                    }
                }
            }
        }
        Ok(())
    })?;
    times.sort_unstable();
    let quantile =
        |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    Ok(json!({
        "rounds": rounds, "connections": parallel, "cpu_ns": cpu, "wall_ns": wall,
        "p50_ns": quantile(50), "p99_ns": quantile(99),
    }))
}
