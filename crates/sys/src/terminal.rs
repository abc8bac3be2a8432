//! Controlling terminals: tty(4), tcsetpgrp(3), credentials(7).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{ioctl_tiocsctty, setpgid, setsid};

use crate::returned::checked;

/// Starts a session, with the terminal as its controlling one.
///
/// # Errors
///
/// `EPERM` where the caller leads a process group, or where another session has the terminal;
/// `ENOTTY` where it is none.
pub fn lead_session(terminal: impl AsFd) -> io::Result<()> {
    setsid()?;
    Ok(ioctl_tiocsctty(terminal)?)
}

/// Makes the caller the leader of a process group of its own, which is the one in the
/// foreground of its controlling terminal. SIGTTOU stays blocked: the caller sets its mask
/// anew before it executes anything.
///
/// # Errors
///
/// Those of setpgid(2) and tcsetpgrp(3).
pub fn take_foreground(terminal: impl AsFd) -> io::Result<()> {
    setpgid(None, None)?;
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) initialises the set, which the other two then use.
    let result = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGTTOU);
        // A group in the background that moves the foreground is stopped otherwise.
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        libc::tcsetpgrp(terminal.as_fd().as_raw_fd(), libc::getpgrp())
    };
    checked(result)
}
