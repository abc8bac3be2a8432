//! A level-triggered epoll set that gives up at a deadline.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::event::{Timespec, epoll};

/// Events taken by one call: the parallel connections of every load but the idle one.
const BATCH: usize = 64;

/// Descriptors by number, waited for together.
pub struct Poll {
    set: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    /// An empty set.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn new() -> Result<Self> {
        Ok(Self {
            set: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(BATCH),
        })
    }

    /// Waits for `descriptor` under `number`; it leaves the set when it is closed.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn add(
        &self,
        descriptor: impl AsFd,
        number: usize,
        flags: epoll::EventFlags,
    ) -> Result<()> {
        Ok(epoll::add(
            &self.set,
            descriptor,
            epoll::EventData::new_u64(number as u64),
            flags,
        )?)
    }

    /// Changes what is waited for.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn change(
        &self,
        descriptor: impl AsFd,
        number: usize,
        flags: epoll::EventFlags,
    ) -> Result<()> {
        Ok(epoll::modify(
            &self.set,
            descriptor,
            epoll::EventData::new_u64(number as u64),
            flags,
        )?)
    }

    /// Waits until something can be done and puts its numbers into `ready`.
    ///
    /// # Errors
    /// Nothing happened until the deadline, where there is one.
    pub fn wait(&mut self, deadline: Option<Instant>, ready: &mut Vec<usize>) -> Result<()> {
        let timeout = deadline.map(|deadline| {
            let left = deadline
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        ready.clear();
        self.events.clear();
        match epoll::wait(
            &self.set,
            rustix::buffer::spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        ensure!(
            !self.events.is_empty() || deadline.is_none_or(|deadline| Instant::now() < deadline),
            "nothing moved until the deadline"
        );
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
