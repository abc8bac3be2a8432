//! Taking connections from the listeners.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::{LISTENER_REST, ROOM, Worker};
use crate::clock::Moment;
use crate::complaint::Complaint;
use crate::connection::client::Client;
use crate::connection::{Connection, Details, Facts};
use crate::places::Places;
use crate::runtime::{Listener, ListeningSocket};
use crate::target::address::keep_alive;

/// Connections taken at once from one listener; more are for the other workers, or for the
/// next turn: the listener is watched level-triggered.
const ACCEPT: usize = 16;

/// What has run out.
static SHORTAGE: Complaint = Complaint::new();

/// Connections taken from one listener before it is closed, at most: a full queue is
/// shorter (`net.core.somaxconn`, 4096 by default), and an endless stream ends here.
const QUEUE: u64 = 65_536;

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
                // Those that only wait for the end of the batch give their places back.
                self.hand_off();
            }
            if self.connections.len() >= self.capacity {
                let capacity = self.capacity;
                self.pause(format_args!("all {capacity} places of a worker are taken"));
                return;
            }
            let places = listener.terms.places.as_ref();
            if let Some(places) = places
                && !places.enter()
            {
                self.await_room(places);
                return;
            }
            let accepted = acceptfrom_with(&listener.socket.descriptor, flags);
            if let (Err(_), Some(places)) = (&accepted, places) {
                places.cancel();
            }
            match accepted {
                Ok((socket, address)) => self.begin(socket, address, &listener),
                Err(Errno::AGAIN) => return,
                Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                    self.pause(format_args!("accept: {error}"));
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

    /// Takes what waits in the listeners' queues, for the last time: with the last holder of
    /// a socket its queue is closed, and those in it are reset (listen(2)). Where somebody
    /// else holds it they could stay, but a connection that is taken is served all the same.
    pub(super) fn accept_queues(&mut self) {
        if self.draining.is_some() {
            return;
        }
        for listener in self.shared.runtime.listeners.clone() {
            let accepted = || listener.terms.counters.accepted.get();
            let end = accepted() + QUEUE;
            let mut before = u64::MAX;
            while accepted() < end && accepted() != before {
                before = accepted();
                self.accept(u64::from(listener.socket.id));
                self.hand_off();
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
        let logged = self.shared.runtime.log_connections;
        let asked = terms.asks_for_client();
        let client = (logged || asked).then(|| Client::of(socket.as_fd(), address));
        let details = client.filter(|_| logged).map(|client| {
            Box::new(Details {
                client,
                facts: Facts::default(),
                choice: None,
            })
        });
        let tcp = listener.socket.tcp;
        if let (Some(keepalive), true) = (&terms.keepalive, tcp) {
            // Not once on the listening socket, which may be somebody else's too: those that
            // were in its queue before would go without. A client that is gone has no use.
            let _ = keep_alive(&socket, keepalive);
        }
        let connection = Connection::new(socket, tcp, Arc::clone(terms), Moment::now(), details);
        let limit = terms.limits.connections;
        if limit > 0 && before >= limit {
            self.refuse_limit(connection);
            return;
        }
        let key = self.connections.insert(connection);
        if let Some(connection) = self.connections.get_mut(key) {
            let next = connection.start(key, client.filter(|_| asked), &mut self.shared);
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
            Err(error) => self.pause(format_args!("epoll_ctl: {error}")),
        }
    }

    /// Rests because something has run out, and lets it be known.
    fn pause(&mut self, shortage: std::fmt::Arguments<'_>) {
        self.shared.counters.accept_pauses.add(1);
        SHORTAGE.say(
            self.shared.now,
            format_args!(
                "no more connections can be taken for now ({shortage}); clients wait in the \
                 listeners' queues; next: raise the limit of descriptors (LimitNOFILE= in \
                 systemd, ulimit -n) or of memory"
            ),
        );
        self.rest();
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

    /// Leaves clients in the listeners' queues until a connection ends.
    fn await_room(&mut self, places: &Arc<Places>) {
        if self.full.is_some() || !places.wait() {
            return;
        }
        let data = EventData::new_u64(ROOM);
        if epoll::add(
            &self.shared.epoll,
            places.descriptor(),
            data,
            EventFlags::IN,
        )
        .is_err()
        {
            self.rest();
            return;
        }
        self.full = Some(Arc::clone(places));
        for socket in &self.listening {
            let _ = epoll::delete(&self.shared.epoll, &socket.descriptor);
        }
    }

    /// Takes clients again, where this worker is the one that was woken for it.
    pub(super) fn room(&mut self) {
        let Some(places) = self.full.take_if(|places| places.woken()) else {
            return;
        };
        let _ = epoll::delete(&self.shared.epoll, places.descriptor());
        if self.resting.is_none() {
            self.wake_listeners();
        }
    }

    /// Puts the listeners back into the epoll set.
    pub(super) fn wake_listeners(&mut self) {
        self.resting = None;
        self.gathering.stop();
        if self.full.is_some() {
            return;
        }
        for socket in self.listening.clone() {
            self.listen(&socket);
        }
    }
}
