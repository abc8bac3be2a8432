//! Taking connections from the listeners.

use std::sync::Arc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::{LISTENER_REST, Worker};
use crate::clock::Moment;
use crate::connection::client::Client;
use crate::connection::{Connection, Details, Facts};
use crate::runtime::{Listener, ListeningSocket};

/// Connections taken at once from one listener; more are for the other workers, or for the
/// next turn: the listener is watched level-triggered.
const ACCEPT: usize = 16;

impl Worker {
    /// Takes connections from the listener with this number.
    pub(super) fn accept(&mut self, id: u64) {
        let listeners = &self.shared.runtime.listeners;
        let listener = listeners
            .iter()
            .find(|listener| u64::from(listener.socket.id) == id);
        let Some(listener) = listener.cloned() else {
            return;
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        for _ in 0..ACCEPT {
            // One that finds no descriptor for its target later would be refused; in the
            // queue it waits for one that ends, or for another worker.
            if self.connections.len() >= self.capacity {
                self.rest();
                return;
            }
            match acceptfrom_with(&listener.socket.descriptor, flags) {
                Ok((socket, address)) => self.begin(socket, address, &listener),
                Err(Errno::AGAIN) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.rest();
                    return;
                }
                // EINVAL: no longer listening, which another holder of the socket did.
                Err(Errno::INVAL | Errno::BADF | Errno::NOTSOCK) => {
                    self.rest();
                    return;
                }
                // accept(2): whatever else is an error of the one connection, which is gone.
                Err(_) => {}
            }
        }
    }

    fn begin(
        &mut self,
        socket: std::os::fd::OwnedFd,
        address: Option<rustix::net::SocketAddrAny>,
        listener: &Listener,
    ) {
        let terms = &listener.terms;
        terms.counters.accepted.add(1);
        self.shared.counters.accepted.add(1);
        self.shared.counters.active.enter();
        let before = terms.counters.active.enter();
        let details = self.shared.runtime.log_connections.then(|| {
            use std::os::fd::AsFd;
            Box::new(Details {
                client: Client::of(socket.as_fd(), address),
                facts: Facts::default(),
                choice: None,
            })
        });
        let tcp = listener.socket.tcp;
        let connection = Connection::new(socket, tcp, Arc::clone(terms), Moment::now(), details);
        let limit = terms.limits.connections;
        if limit > 0 && before >= limit {
            self.refuse_limit(connection);
            return;
        }
        let key = self.connections.insert(connection);
        if let Some(connection) = self.connections.get_mut(key) {
            let next = connection.start(key, &mut self.shared);
            self.obey(key, next);
        }
    }

    /// Adds a listening socket to the epoll set, unless it is there.
    pub(super) fn listen(&mut self, socket: &ListeningSocket) {
        let data = EventData::new_u64(u64::from(socket.id));
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        match epoll::add(&self.shared.epoll, &socket.descriptor, data, flags) {
            Ok(()) | Err(Errno::EXIST) => {}
            // Only memory or the watch limit can be short: later, like after EMFILE.
            Err(_) => self.resting = Some(self.now.after(LISTENER_REST)),
        }
    }

    /// Takes all listeners out of the epoll set: level-triggered, they would wake this
    /// worker over and over for connections that it cannot take.
    fn rest(&mut self) {
        for socket in &self.listening {
            // ENOENT for one that rests already.
            let _ = epoll::delete(&self.shared.epoll, &socket.descriptor);
        }
        self.resting = Some(Moment::now().after(LISTENER_REST));
    }

    /// Puts the listeners back into the epoll set.
    pub(super) fn wake_listeners(&mut self) {
        self.resting = None;
        for socket in self.listening.clone() {
            self.listen(&socket);
        }
    }
}
