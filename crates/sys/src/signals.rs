//! Signals as descriptors: signalfd(2).

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::returned::checked;

/// A descriptor from which blocked signals are read.
#[derive(Debug)]
pub struct SignalDescriptor(OwnedFd);

/// A signal that was pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingSignal {
    /// Its number.
    pub number: i32,
    /// Whether the kernel sent it by itself, as the terminal does to its whole foreground
    /// process group (sigaction(2) `SI_KERNEL`), rather than a process by kill(2).
    pub from_kernel: bool,
}

impl SignalDescriptor {
    /// Blocks the signals in the calling thread, and in every thread that it starts from now
    /// on, and opens a non-blocking, close-on-exec descriptor for them.
    ///
    /// # Errors
    ///
    /// Those of pthread_sigmask(3) and signalfd(2).
    pub fn block(signals: &[libc::c_int]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset(3) initialises the set that it is given.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        for &signal in signals {
            // SAFETY: the set is initialised; an unknown signal number is an error.
            checked(unsafe { libc::sigaddset(set.as_mut_ptr(), signal) })?;
        }
        // SAFETY: the set is initialised; a null pointer asks for no old set.
        let error =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: the set is initialised and is only read.
        let number =
            unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        checked(number)?;
        // SAFETY: signalfd(2) has just returned this new descriptor; nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(number) }))
    }

    /// The descriptor, for polling: readable while a signal is pending.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }

    /// Takes the next pending signal's number; `None` where none is pending.
    ///
    /// # Errors
    ///
    /// Those of read(2) other than `EAGAIN` and `EINTR`.
    pub fn next(&self) -> io::Result<Option<i32>> {
        Ok(self.next_with_origin()?.map(|signal| signal.number))
    }

    /// Takes the next pending signal with where it came from; `None` where none is pending.
    ///
    /// # Errors
    ///
    /// As [`SignalDescriptor::next`].
    pub fn next_with_origin(&self) -> io::Result<Option<PendingSignal>> {
        let mut information = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        // SAFETY: the pointer and the length describe the one local value.
        let count = unsafe {
            libc::read(
                self.0.as_raw_fd(),
                information.as_mut_ptr().cast(),
                size_of::<libc::signalfd_siginfo>(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            };
        }
        // SAFETY: read(2) from a signalfd fills whole structures or fails.
        let information = unsafe { information.assume_init() };
        Ok(i32::try_from(information.ssi_signo)
            .ok()
            .map(|number| PendingSignal {
                number,
                from_kernel: information.ssi_code == libc::SI_KERNEL,
            }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_once() {
        let signals = SignalDescriptor::block(&[libc::SIGUSR1]).expect("a signal descriptor");
        assert_eq!(signals.next().expect("readable"), None);
        // SAFETY: raise(3) sends to this thread, where the signal is blocked.
        unsafe { libc::raise(libc::SIGUSR1) };
        assert_eq!(signals.next().expect("readable"), Some(libc::SIGUSR1));
        assert_eq!(signals.next().expect("readable"), None);
    }
}
