//! The load generators, one per measure.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::hello::{HELLO_LENGTH, Mode, encode};
use crate::process::ProcessTree;

mod bulk;
mod idle;
mod short;
mod small;

pub use bulk::{download, upload};
pub use idle::idle;
pub use short::short;
pub use small::small;

/// The proxy closes and frees after the client has seen the end. What it does then belongs to
/// the connection, so the clock of its CPU stops this much later.
const SETTLE: Duration = Duration::from_millis(30);

/// Where to connect, and until when.
pub struct Peer {
    /// The proxy, or the backend itself.
    pub address: SocketAddr,
    /// The server name of the hello.
    pub name: String,
    /// The proxy's process; `None` where there is none between.
    pub process: Option<ProcessTree>,
    /// When the whole run has failed.
    pub deadline: Instant,
}

impl Peer {
    fn hello(&self, mode: Mode) -> Result<[u8; HELLO_LENGTH]> {
        encode(&self.name, mode)
    }

    /// Connects and sends the hello. The kernel answers on loopback within the call.
    fn open(&self, hello: &[u8; HELLO_LENGTH]) -> Result<OwnedFd> {
        let left = self
            .deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        let stream = TcpStream::connect_timeout(&self.address, left)
            .with_context(|| format!("cannot connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        let socket = OwnedFd::from(stream);
        let sent = crate::backend::send(&socket, hello)?;
        anyhow::ensure!(
            sent == Some(HELLO_LENGTH),
            "the hello does not fit into a new connection"
        );
        Ok(socket)
    }

    fn cpu(&self) -> Result<u64> {
        self.process.map_or(Ok(0), ProcessTree::cpu)
    }

    /// Runs `work` and tells the proxy's CPU time and the time that passed, in nanoseconds.
    fn measured<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, u64, u64)> {
        let before = self.cpu()?;
        let started = Instant::now();
        let value = work()?;
        let wall = started.elapsed().as_nanos() as u64;
        std::thread::sleep(SETTLE);
        Ok((value, self.cpu()? - before, wall))
    }
}
