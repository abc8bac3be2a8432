//! Descriptors that a program was started with.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::io::{Errno, FdFlags};

use crate::returned::checked;

/// The numbers handed out by [`take_inherited`], so that none gets two owners.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes ownership of a descriptor that the parent process passed under a known number, and
/// marks it close-on-exec.
///
/// Call it first thing in the program: a number that the program itself has opened since
/// cannot be told from an inherited one. Descriptors 0 to 2 belong to the standard streams
/// and are refused.
///
/// # Errors
///
/// `EBADF` where the number is not open, `EBUSY` where it was taken before, `EINVAL` for 0
/// to 2 and negative numbers.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(Errno::INVAL.into());
    }
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if taken.contains(&number) {
        return Err(Errno::BUSY.into());
    }
    // SAFETY: fcntl(2) F_GETFD reads no memory and fails with EBADF for a closed number.
    checked(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: the number is open, as just seen, and this is its only owner: the set above
    // hands out each number once, and the caller's program has not opened it itself.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    taken.insert(number);
    rustix::io::fcntl_setfd(descriptor.as_fd(), FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::IntoRawFd;

    #[test]
    fn each_number_is_handed_out_once() {
        let (end, _other) = rustix::pipe::pipe().expect("a pipe");
        let number = end.into_raw_fd();
        let taken = take_inherited(number).expect("the number is open");
        assert!(
            rustix::io::fcntl_getfd(&taken)
                .expect("open")
                .contains(FdFlags::CLOEXEC)
        );
        let error = take_inherited(number).expect_err("taken already");
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    }

    #[test]
    fn closed_and_standard_numbers_are_refused() {
        let closed = take_inherited(999_999).expect_err("not open");
        assert_eq!(closed.raw_os_error(), Some(libc::EBADF));
        let standard = take_inherited(1).expect_err("standard output");
        assert_eq!(standard.raw_os_error(), Some(libc::EINVAL));
    }
}
