//! What the C library's functions for system calls return.

use std::io;

/// An error, whose number the calling thread's `errno` has, where `result` is negative. To be
/// called before anything else can change that number.
pub(crate) fn checked(result: impl Into<libc::c_long>) -> io::Result<()> {
    if result.into() < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn a_negative_result_is_the_error_of_the_call() {
        // SAFETY: close(2) of a number that is never open touches nothing.
        let error = checked(unsafe { libc::close(-1) }).expect_err("no descriptor");
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn any_other_result_is_a_success() {
        // SAFETY: getpid(2) cannot fail.
        checked(unsafe { libc::getpid() }).expect("a number");
        checked(0).expect("nothing");
    }
}
