//! Attributes of mounts: mount_setattr(2). The rest of the mount interface is in rustix.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use crate::returned::checked;

/// What may not be done on a mount; each is only ever switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Nothing can be written.
    pub read_only: bool,
    /// Set-user-id and set-group-id bits and file capabilities have no effect.
    pub no_set_user_id: bool,
    /// Device files cannot be opened.
    pub no_devices: bool,
    /// Nothing can be executed.
    pub no_execution: bool,
}

impl Restrictions {
    fn attributes(self) -> u64 {
        [
            (self.read_only, libc::MOUNT_ATTR_RDONLY),
            (self.no_set_user_id, libc::MOUNT_ATTR_NOSUID),
            (self.no_devices, libc::MOUNT_ATTR_NODEV),
            (self.no_execution, libc::MOUNT_ATTR_NOEXEC),
        ]
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .fold(0, |set, (_, attribute)| set | attribute)
    }
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Restricts the mount that a descriptor refers to and, where `recursive`, all below it, and
/// makes them private: what is mounted elsewhere later does not appear there.
///
/// The descriptor may be one of open_tree(2), fsmount(2), or `O_PATH` of the mount's root.
///
/// # Errors
///
/// Those of mount_setattr(2); `ENOSYS` before Linux 5.12.
pub fn restrict(mount: impl AsFd, restrictions: Restrictions, recursive: bool) -> io::Result<()> {
    let attributes = MountAttributes {
        set: restrictions.attributes(),
        propagation: libc::MS_PRIVATE,
        ..MountAttributes::default()
    };
    set(mount, &attributes, recursive)
}

/// Has the files of the mount that a descriptor refers to, and where `recursive` of all
/// below it, belong to whom a user namespace says: who is user 7 on the disk is the user that
/// is called 7 in the namespace. A mount that is attached already cannot be changed.
///
/// # Errors
///
/// Those of mount_setattr(2): `EINVAL` where the file system cannot do it or the mount has
/// owners mapped already, `EPERM` without CAP_SYS_ADMIN over the file system, `ENOSYS` before
/// Linux 5.12.
pub fn map_owners(mount: impl AsFd, namespace: impl AsFd, recursive: bool) -> io::Result<()> {
    let descriptor = namespace.as_fd().as_raw_fd();
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_IDMAP,
        user_namespace: u64::from(descriptor.unsigned_abs()),
        ..MountAttributes::default()
    };
    set(mount, &attributes, recursive)
}

fn set(mount: impl AsFd, attributes: &MountAttributes, recursive: bool) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is a constant C string, and the pointer and the length describe the
    // one value, which lives until the call is over; the kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    checked(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restrictions_become_the_kernels_attributes() {
        let all = Restrictions {
            read_only: true,
            no_set_user_id: true,
            no_devices: true,
            no_execution: true,
        };
        // linux/mount.h: 1, 2, 4 and 8.
        assert_eq!(all.attributes(), 15);
        assert_eq!(Restrictions::default().attributes(), 0);
    }

    #[test]
    fn what_is_no_mount_is_refused() {
        let (end, _other) = rustix::pipe::pipe().expect("a pipe");
        let read_only = Restrictions {
            read_only: true,
            ..Restrictions::default()
        };
        assert!(restrict(&end, read_only, false).is_err());
    }
}
