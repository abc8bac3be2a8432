//! What a thread has of its own.

use std::io;

use rustix::thread::UnshareFlags;

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

#[cfg(test)]
mod tests {
    use super::*;

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
