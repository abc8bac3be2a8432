//! Connections that one batch of events brought for one target, in one message.

use cloister_proto::handoff::MAXIMUM_CONNECTIONS;

use super::Worker;
use crate::connection::handoff::send_together;
use crate::connection::{Connection, Next, Shared};
use crate::route::Reached;
use crate::slab::Key;

/// How far the company of a connection is looked for: however many targets a batch has, the
/// search costs each connection a bounded time.
const SEARCH: usize = 64;

impl Worker {
    /// Hands off what waits for the end of the batch, in the order in which it came.
    pub(super) fn hand_off(&mut self) {
        if self.shared.handing_off.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.shared.handing_off);
        while !waiting.is_empty() {
            let company = self.take_company(&mut waiting);
            match company.as_slice() {
                &[key] => self.serve(key, |one, shared| one.open_alone(key, shared)),
                several => self.hand_off_together(several),
            }
        }
        // Empty; its memory serves the next batch.
        self.shared.handing_off = waiting;
    }

    /// Takes the first out, and those that go with it. One that has ended is alone.
    fn take_company(&self, waiting: &mut Vec<Key>) -> Vec<Key> {
        let first = waiting[0];
        let mut company = Vec::with_capacity(MAXIMUM_CONNECTIONS);
        let mut position = 0;
        waiting.retain(|&key| {
            position += 1;
            let taken = company.is_empty()
                || company.len() < MAXIMUM_CONNECTIONS
                    && position <= SEARCH
                    && self.go_together(first, key);
            if taken {
                company.push(key);
            }
            !taken
        });
        company
    }

    fn go_together(&self, one: Key, other: Key) -> bool {
        match (self.connections.get(one), self.connections.get(other)) {
            (Some(one), Some(other)) => one.goes_with(other),
            _ => false,
        }
    }

    fn hand_off_together(&mut self, company: &[Key]) {
        let Some(&first) = company.first() else {
            return;
        };
        let reached = self.connections.get(first);
        let gone = match reached.and_then(Connection::reach_together) {
            None => 0,
            Some(Reached::Relay(socket, header)) => {
                self.serve(first, |one, shared| {
                    one.begin_instead(first, socket, header, shared)
                });
                1
            }
            Some(Reached::Handoff(control)) => {
                // All are there: nothing has ended since they were found to go together.
                let found = company.iter().map_while(|&key| self.connections.get(key));
                let gone = send_together(&control, &found.collect::<Vec<_>>());
                drop(control);
                for &key in &company[..gone] {
                    self.serve(key, |one, shared| one.handed_off(shared));
                }
                gone
            }
        };
        for &key in &company[gone..] {
            self.serve(key, |one, shared| one.open_alone(key, shared));
        }
    }

    fn serve(&mut self, key: Key, serve: impl FnOnce(&mut Connection, &mut Shared) -> Next) {
        if let Some(connection) = self.connections.get_mut(key) {
            let next = serve(connection, &mut self.shared);
            self.obey(key, next);
        }
    }
}
