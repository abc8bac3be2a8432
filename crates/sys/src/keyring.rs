//! Session keyrings: session-keyring(7), keyctl(2).

use std::io;

use crate::returned::checked;

/// `KEYCTL_JOIN_SESSION_KEYRING` of linux/keyctl.h.
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Leaves the session keyring for a fresh anonymous one, which belongs to the caller's user.
///
/// Namespaces do not separate keyrings: without this a process keeps its parent's.
///
/// # Errors
///
/// `ENOSYS` where the kernel has no keyrings: there is nothing to leave then. `EDQUOT` where
/// the user has too many keys.
pub fn join_new_session_keyring() -> io::Result<()> {
    // SAFETY: a null name asks for an anonymous keyring; no memory is read or written.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    checked(result)
}
