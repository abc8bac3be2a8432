//! Which address of a set comes first for the next connection, and which ones rest.
//!
//! Pure: time is an argument. A [`Pool`] keeps what it knows of an address for as long as the
//! address stays in the set, has connections, or rests after a failure; so a name server that
//! answers another subset each time makes nothing forgotten.

use std::net::SocketAddr;
use std::time::Duration;

use cloister_proto::messages::door::Balance;

use crate::clock::Moment;

use super::Address;

/// How long an address rests after its first failure; each further one doubles it.
const FIRST_REST: Duration = Duration::from_secs(1);

/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Addresses known at once, those that have left the set included.
const KNOWN: usize = 4 * super::ADDRESSES;

#[derive(Debug)]
struct Entry {
    address: Address,
    present: bool,
    /// Smooth weighted round-robin: grows by the weight with each choice, and falls by the sum
    /// of all weights when chosen.
    credit: i64,
    connections: u32,
    failures: u32,
    rests_until: Moment,
}

impl Entry {
    const fn new(address: Address) -> Self {
        Self {
            address,
            present: true,
            credit: 0,
            connections: 0,
            failures: 0,
            rests_until: Moment::from_micros(0),
        }
    }

    fn rests(&self, now: Moment) -> bool {
        now < self.rests_until
    }

    /// RFC 2782: a weight of 0 means "a very small chance" beside others, and nothing where
    /// all weights are 0.
    fn share(&self) -> i64 {
        i64::from(self.address.weight) * 100 + 1
    }
}

/// The addresses of one target and what became of connections to them.
#[derive(Debug, Default)]
pub struct Pool {
    entries: Vec<Entry>,
}

impl Pool {
    /// Takes a new set; order within it is the order of preference.
    pub fn update(&mut self, now: Moment, addresses: &[Address]) {
        let mut old = std::mem::take(&mut self.entries);
        for address in addresses {
            if self.find(address.socket).is_some() {
                continue;
            }
            let known = old.iter().position(|e| e.address.socket == address.socket);
            let mut entry = known.map_or_else(|| Entry::new(*address), |at| old.swap_remove(at));
            entry.address = *address;
            entry.present = true;
            self.entries.push(entry);
        }
        let room = KNOWN.saturating_sub(self.entries.len());
        old.retain(|entry| entry.connections > 0 || entry.rests(now));
        old.truncate(room);
        for mut entry in old {
            entry.present = false;
            self.entries.push(entry);
        }
    }

    /// All addresses of the set in the order in which to try them: those with the best
    /// priority that do not rest, then those of worse priority, then those that rest, which
    /// are tried only where nothing else is left. Within each group the families alternate
    /// (RFC 8305 section 4). Empty for an empty set.
    pub fn choose(&mut self, now: Moment, balance: Balance) -> Vec<SocketAddr> {
        let Some(first) = self.first(now, balance) else {
            return Vec::new();
        };
        let number = self.entries.len();
        let after = |index: &usize| (*index + number - first) % number;
        let mut order: Vec<usize> = (0..number).filter(|i| self.entries[*i].present).collect();
        let group = |index: &usize| {
            let entry = &self.entries[*index];
            let until = entry.rests(now).then_some(entry.rests_until);
            (until, entry.address.priority)
        };
        order.sort_by_key(|index| (group(index), after(index)));
        let groups = order.chunk_by(|left, right| group(left) == group(right));
        let mut sockets = Vec::with_capacity(order.len());
        for group in groups {
            let group = group.iter().map(|index| self.entries[*index].address);
            sockets.extend(super::order::interleave(group.collect(), |a| {
                a.socket.is_ipv6()
            }));
        }
        sockets.iter().map(|address| address.socket).collect()
    }

    /// The index of the address that comes first; takes its turn.
    fn first(&mut self, now: Moment, balance: Balance) -> Option<usize> {
        let rank = |entry: &Entry| {
            (
                entry.rests(now).then_some(entry.rests_until),
                entry.address.priority,
            )
        };
        let best = self.entries.iter().filter(|e| e.present).map(rank).min()?;
        let mut sum = 0;
        for entry in &mut self.entries {
            if entry.present && rank(entry) == best {
                entry.credit += entry.share();
                sum += entry.share();
            }
        }
        let eligible = self.entries.iter().enumerate();
        let eligible = eligible.filter(|(_, entry)| entry.present && rank(entry) == best);
        let (chosen, _) = eligible.min_by(|(_, left), (_, right)| {
            let turn = right.credit.cmp(&left.credit);
            match balance {
                Balance::RoundRobin => turn,
                Balance::LeastConnections => {
                    let load = |e: &Entry, of: &Entry| i64::from(e.connections) * of.share();
                    load(left, right).cmp(&load(right, left)).then(turn)
                }
            }
        })?;
        self.entries[chosen].credit -= sum;
        Some(chosen)
    }

    /// An address has taken a connection, which [`Pool::closed`] ends.
    pub fn succeeded(&mut self, address: SocketAddr) {
        if let Some(entry) = self.find(address) {
            entry.failures = 0;
            entry.rests_until = Moment::from_micros(0);
            entry.connections += 1;
        }
    }

    /// A connection to an address has ended.
    pub fn closed(&mut self, address: SocketAddr) {
        if let Some(entry) = self.find(address) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }

    /// An address has refused, or has not answered in time. Many failures at once count as
    /// one: those that meet an address that rests already.
    pub fn failed(&mut self, now: Moment, address: SocketAddr) {
        if let Some(entry) = self.find(address)
            && !entry.rests(now)
        {
            let rest = FIRST_REST.saturating_mul(1 << entry.failures.min(16));
            entry.failures = entry.failures.saturating_add(1);
            entry.rests_until = now.after(rest.min(LONGEST_REST));
        }
    }

    fn find(&mut self, address: SocketAddr) -> Option<&mut Entry> {
        self.entries
            .iter_mut()
            .find(|e| e.address.socket == address)
    }
}

#[cfg(test)]
mod tests;
