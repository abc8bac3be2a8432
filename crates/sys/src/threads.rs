//! What a thread has of its own.

use std::io;
use std::time::Duration;

use rustix::thread::UnshareFlags;

use crate::returned::checked;

/// Gives the calling thread a working directory, root and umask of its own (unshare(2)
/// `CLONE_FS`), so that its fchdir(2) moves no other thread. Needs no privilege.
///
/// # Errors
///
/// Those of unshare(2).
pub fn unshare_filesystem_attributes() -> io::Result<()> {
    // SAFETY: CLONE_FS copies the working directory, root and umask; no descriptor, memory
    // or identifier is affected.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.map_err(io::Error::from)
}

/// Gives the calling process a cgroup namespace whose root is the group that it is in.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN` over its user namespace.
pub fn unshare_control_groups() -> io::Result<()> {
    // SAFETY: no descriptor of the process is affected, only what names of groups mean to it.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }.map_err(io::Error::from)
}

/// Has the calling thread, and those that it starts from now on, ask the scheduler for the
/// processor in pieces of `slice`: 0.1 to 100 ms, others are cut to that. It gets no more of it,
/// but sooner: what wakes up with a shorter slice than the running thread's interrupts that
/// (Documentation/scheduler/sched-eevdf.rst). Needs no privilege; its nice value stays.
///
/// Without effect before Linux 6.12, and on a thread of another policy than `SCHED_OTHER`,
/// which somebody has given it on purpose.
///
/// # Errors
///
/// Those of sched_setattr(2): `EPERM` or `ENOSYS` where a filter denies it.
pub fn ask_for_slice(slice: Duration) -> io::Result<()> {
    let mut attributes = scheduling()?;
    if attributes.sched_policy != libc::SCHED_OTHER.unsigned_abs() {
        return Ok(());
    }
    attributes.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the kernel reads as many bytes as the structure says that it has.
    checked(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
}

fn scheduling() -> io::Result<libc::sched_attr> {
    const SIZE: u32 = size_of::<libc::sched_attr>() as u32;
    let mut attributes = libc::sched_attr {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most the size that it is told, which is the structure's.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    checked(result)?;
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice() -> Duration {
        let attributes = scheduling().expect("every thread may ask for its own");
        Duration::from_nanos(attributes.sched_runtime)
    }

    #[test]
    fn a_slice_holds_for_threads_that_start_later_and_leaves_the_nice_value() {
        std::thread::spawn(|| {
            let asked = Duration::from_micros(300);
            rustix::process::nice(3).expect("to be nicer needs no privilege");
            let before = slice();
            ask_for_slice(asked).expect("needs no privilege");
            let nice = scheduling().expect("as before").sched_nice;
            assert_eq!(nice, 3, "of this thread alone");
            let of_thread = std::thread::spawn(slice).join().expect("it ends");
            // Linux before 6.12 says nothing, and does nothing.
            let expected = if before.is_zero() { before } else { asked };
            assert_eq!(of_thread, expected);
        })
        .join()
        .expect("the thread ends");
    }

    #[test]
    fn a_thread_of_another_policy_stays_as_it_is() {
        std::thread::spawn(|| {
            let mut attributes = scheduling().expect("every thread may");
            attributes.sched_policy = libc::SCHED_BATCH.unsigned_abs();
            attributes.sched_runtime = 0;
            // SAFETY: as in `ask_for_slice`.
            let set =
                unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
            checked(set).expect("needs no privilege");
            let before = slice();
            ask_for_slice(Duration::from_micros(300)).expect("nothing to do");
            assert_eq!(slice(), before);
            let policy = scheduling().expect("as before").sched_policy;
            assert_eq!(policy, libc::SCHED_BATCH.unsigned_abs());
        })
        .join()
        .expect("the thread ends");
    }

    #[test]
    fn a_thread_changes_its_directory_alone() {
        let before = std::env::current_dir().expect("a working directory");
        std::thread::spawn(|| {
            unshare_filesystem_attributes().expect("needs no privilege");
            std::env::set_current_dir("/").expect("the root");
        })
        .join()
        .expect("the thread ends");
        assert_eq!(std::env::current_dir().expect("still there"), before);
    }
}
