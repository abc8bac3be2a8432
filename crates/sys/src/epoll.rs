//! Waiting for events for less than a millisecond.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event};
use rustix::io::Errno;

const _: () = assert!(size_of::<Event>() == size_of::<libc::epoll_event>());
const _: () = assert!(align_of::<Event>() == align_of::<libc::epoll_event>());

/// Blocks until an event comes or `timeout` is over, and puts the events that came, as many as
/// fit into its capacity, in the place of what is in `events`: none after the time-out. Exact to
/// the thread's timer slack (prctl(2), 50 us) from Linux 5.11 on; before, up to the next
/// millisecond.
///
/// # Errors
///
/// Those of epoll_pwait2(2): `INVAL` for no capacity as well, `INTR` where a signal came.
pub fn wait(
    epoll: BorrowedFd<'_>,
    events: &mut Vec<Event>,
    timeout: Duration,
) -> Result<(), Errno> {
    events.clear();
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    let room = events.spare_capacity_mut();
    // SAFETY: the kernel writes at most as many events as there is room for, whose layout is
    // epoll_event's (asserted above), reads one timespec of 64-bit fields (rustix's is the
    // kernel's __kernel_timespec), and keeps none of the pointers. There is no signal mask.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            room.as_mut_ptr(),
            i32::try_from(room.len()).unwrap_or(i32::MAX),
            &raw const timeout,
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    if let Ok(count) = usize::try_from(count) {
        // SAFETY: the kernel has written so many.
        unsafe { events.set_len(count) };
        return Ok(());
    }
    match Errno::from_io_error(&std::io::Error::last_os_error()) {
        // PERM: from a filter of system calls that does not know this one (containers).
        Some(Errno::NOSYS | Errno::PERM) if events.capacity() > 0 => {
            epoll::wait(
                epoll,
                rustix::buffer::spare_capacity(events),
                Some(&timeout),
            )?;
            Ok(())
        }
        Some(error) => Err(error),
        None => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Instant;

    use rustix::event::epoll::{CreateFlags, EventData, EventFlags};
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn events_are_written_with_their_data() {
        let set = epoll::create(CreateFlags::CLOEXEC).expect("an epoll set");
        let ready = [(); 3].map(|()| eventfd(1, EventfdFlags::CLOEXEC).expect("an eventfd"));
        for (number, one) in (0x1234_5678_9abc_def0..).zip(&ready) {
            let data = EventData::new_u64(number);
            epoll::add(&set, one, data, EventFlags::IN).expect("watched");
        }
        let mut events = Vec::with_capacity(2);
        wait(set.as_fd(), &mut events, Duration::from_secs(60)).expect("events");
        let found: Vec<_> = events
            .iter()
            .map(|one| (one.data.u64(), one.flags))
            .collect();
        let expected = [0x1234_5678_9abc_def0, 0x1234_5678_9abc_def1];
        assert_eq!(found, expected.map(|number| (number, EventFlags::IN)));
    }

    #[test]
    fn a_time_out_is_not_early_and_gives_nothing() {
        let set = epoll::create(CreateFlags::CLOEXEC).expect("an epoll set");
        let begin = Instant::now();
        let mut events = Vec::with_capacity(4);
        wait(set.as_fd(), &mut events, Duration::from_micros(300)).expect("nothing");
        assert!(events.is_empty());
        assert!(begin.elapsed() >= Duration::from_micros(300));
    }

    #[test]
    fn no_room_is_an_error() {
        let set = epoll::create(CreateFlags::CLOEXEC).expect("an epoll set");
        let outcome = wait(set.as_fd(), &mut Vec::new(), Duration::ZERO);
        assert_eq!(outcome, Err(Errno::INVAL));
    }
}
