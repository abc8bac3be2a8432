//! Project quotas: quotactl_fd(2), ioctl_xfs_fsgetxattr(2), file_setattr(2).
//!
//! The commands are those that began with XFS (linux/dqblk_xfs.h): ext4 and f2fs answer them
//! too, and only they say whether limits are enforced.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::returned::checked;

/// `PRJQUOTA` of linux/quota.h.
const PROJECTS: u32 = 2;
/// `Q_XGETQUOTA`, `Q_XSETQLIM` and `Q_XGETQSTATV`.
const GET: u32 = command(3);
const SET_LIMITS: u32 = command(4);
const GET_STATE: u32 = command(8);
/// `FS_DQUOT_VERSION` and `FS_PROJ_QUOTA`.
const DISK_QUOTA_VERSION: i8 = 1;
const DISK_QUOTA_OF_PROJECT: i8 = 2;
/// `FS_DQ_ISOFT`, `FS_DQ_IHARD`, `FS_DQ_BSOFT` and `FS_DQ_BHARD`.
const ALL_LIMITS: u16 = 0b1111;
/// `FS_QSTATV_VERSION1`.
const STATE_VERSION: i8 = 1;
/// `FS_QUOTA_PDQ_ACCT` and `FS_QUOTA_PDQ_ENFD`.
const ACCOUNTED: u16 = 1 << 4;
const ENFORCED: u16 = 1 << 5;
/// Bytes that limits and use are counted in.
const BLOCK: u64 = 512;
/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR`.
const GET_ATTRIBUTES: libc::Ioctl = 0x801c_581f_u32 as libc::Ioctl;
const SET_ATTRIBUTES: libc::Ioctl = 0x401c_5820_u32 as libc::Ioctl;
/// `FS_XFLAG_IMMUTABLE` and `FS_XFLAG_PROJINHERIT`.
const IMMUTABLE: u32 = 0x8;
const INHERITED: u32 = 0x200;
/// The numbers of file_getattr(2) and file_setattr(2) on every architecture, which the C
/// library does not know yet.
const FILE_GETATTR: libc::c_long = 468;
const FILE_SETATTR: libc::c_long = 469;

/// `QCMD(XQM_CMD(number), PRJQUOTA)`.
const fn command(number: u32) -> u32 {
    ((((b'X' as u32) << 8) + number) << 8) | PROJECTS
}

/// `struct fs_disk_quota`.
#[repr(C)]
#[derive(Default)]
struct DiskQuota {
    version: i8,
    flags: i8,
    fields: u16,
    id: u32,
    block_hard_limit: u64,
    block_soft_limit: u64,
    inode_hard_limit: u64,
    inode_soft_limit: u64,
    blocks: u64,
    inodes: u64,
    inode_timer: i32,
    block_timer: i32,
    inode_warnings: u16,
    block_warnings: u16,
    timers_high: [i8; 4],
    realtime_hard_limit: u64,
    realtime_soft_limit: u64,
    realtime_blocks: u64,
    realtime_timer: i32,
    realtime_warnings: u16,
    padding: [u8; 10],
}

/// `struct fs_quota_statv`; what is not read stands as bytes.
#[repr(C)]
struct State {
    version: i8,
    padding: u8,
    flags: u16,
    in_core: u32,
    rest: [u64; 19],
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct InodeAttributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

/// `struct file_attr`.
#[repr(C)]
#[derive(Default)]
struct FileAttributes {
    flags: u64,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
}

/// Whether a file system counts what projects have, and keeps them to their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectQuotas {
    /// Counts.
    pub accounted: bool,
    /// Keeps.
    pub enforced: bool,
}

/// What a project has on a file system, and may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProjectUse {
    /// On the disk, with what is written and not there yet.
    pub bytes: u64,
    /// Files of every kind, folders too.
    pub files: u64,
    /// 0 for no limit.
    pub bytes_limit: u64,
    /// 0 for no limit.
    pub files_limit: u64,
}

/// Which project a file or folder belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// 0 is everybody's.
    pub project: u32,
    /// Of a folder: whether what is made in it belongs there too.
    pub inherited: bool,
    /// Whether nobody can change the file.
    pub immutable: bool,
}

/// What the file system that a descriptor is on does for projects.
///
/// # Errors
///
/// Those of quotactl(2): `ENOSYS` where the kernel, or the file system, has no quotas or none
/// are on, or before Linux 5.14.
pub fn project_quotas(place: impl AsFd) -> io::Result<ProjectQuotas> {
    let mut state = State {
        version: STATE_VERSION,
        padding: 0,
        flags: 0,
        in_core: 0,
        rest: [0; 19],
    };
    quotactl(place, GET_STATE, 0, &mut state)?;
    Ok(ProjectQuotas {
        accounted: state.flags & ACCOUNTED != 0,
        enforced: state.flags & ENFORCED != 0,
    })
}

/// What a project has, and may have, on the file system that a descriptor is on.
///
/// # Errors
///
/// Those of quotactl(2): `EPERM` without CAP_SYS_ADMIN over the host. A project that nobody
/// has heard of has nothing.
pub fn project_use(place: impl AsFd, project: u32) -> io::Result<ProjectUse> {
    let mut quota = DiskQuota::default();
    match quotactl(place, GET, project, &mut quota) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(ProjectUse::default()),
        Err(error) => Err(error),
        Ok(()) => Ok(ProjectUse {
            bytes: quota.blocks.saturating_mul(BLOCK),
            files: quota.inodes,
            bytes_limit: quota.block_hard_limit.saturating_mul(BLOCK),
            files_limit: quota.inode_hard_limit,
        }),
    }
}

/// Bounds what a project may have on the file system that a descriptor is on; 0 is no bound.
/// Bytes are counted in whole blocks of 512.
///
/// # Errors
///
/// Those of quotactl(2): `EPERM` without CAP_SYS_ADMIN over the host.
pub fn limit_project(place: impl AsFd, project: u32, bytes: u64, files: u64) -> io::Result<()> {
    let mut quota = DiskQuota {
        version: DISK_QUOTA_VERSION,
        flags: DISK_QUOTA_OF_PROJECT,
        fields: ALL_LIMITS,
        id: project,
        // A bound below one block would be none.
        block_hard_limit: if bytes == 0 {
            0
        } else {
            (bytes / BLOCK).max(1)
        },
        inode_hard_limit: files,
        ..DiskQuota::default()
    };
    quotactl(place, SET_LIMITS, project, &mut quota)
}

/// The project of an open file or folder; the descriptor may not be `O_PATH`.
///
/// # Errors
///
/// Those of ioctl_xfs_fsgetxattr(2): `ENOTTY` or `EOPNOTSUPP` where the file system knows none.
pub fn membership(file: impl AsFd) -> io::Result<Membership> {
    let attributes = attributes(file)?;
    Ok(Membership {
        project: attributes.project,
        inherited: attributes.flags & INHERITED != 0,
        immutable: attributes.flags & IMMUTABLE != 0,
    })
}

/// Has an open file or folder belong to a project, and where `inherited` what will be made in
/// the folder, too.
///
/// # Errors
///
/// Those of ioctl_xfs_fsgetxattr(2): `EINVAL` in a user namespace that is not the host's,
/// `EOPNOTSUPP` where the file system has no projects, `EDQUOT` or `ENOSPC` where the project
/// may not have what the file has.
pub fn join(file: impl AsFd, project: u32, inherited: bool) -> io::Result<()> {
    let mut changed = attributes(&file)?;
    changed.project = project;
    changed.flags = with_inherited(changed.flags, inherited);
    // SAFETY: the kernel reads the one value, which lives until the call is over.
    let result = unsafe {
        libc::ioctl(
            file.as_fd().as_raw_fd(),
            SET_ATTRIBUTES,
            std::ptr::from_ref(&changed),
        )
    };
    checked(result)
}

/// Has what is called `name` in an open folder belong to the project that `change` says for the
/// one that it belongs to, whatever it is: links, sockets, pipes and devices, which cannot be
/// opened. Links are not followed.
///
/// # Errors
///
/// Those of file_setattr(2): `ENOSYS` before Linux 6.17, `EOPNOTSUPP` where the file system
/// cannot do it.
pub fn join_unopened(
    folder: impl AsFd,
    name: &CStr,
    change: impl FnOnce(u32) -> Option<u32>,
) -> io::Result<()> {
    let folder = folder.as_fd().as_raw_fd();
    let mut attributes = FileAttributes::default();
    let size = size_of::<FileAttributes>();
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the name ends with NUL; the kernel writes at most `size` bytes, which the value
    // has and which have no invalid values.
    let result = unsafe {
        libc::syscall(
            FILE_GETATTR,
            folder,
            name.as_ptr(),
            std::ptr::from_mut(&mut attributes),
            size,
            flags,
        )
    };
    checked(result)?;
    let Some(project) = change(attributes.project) else {
        return Ok(());
    };
    attributes.project = project;
    // SAFETY: as above, and the kernel only reads.
    let result = unsafe {
        libc::syscall(
            FILE_SETATTR,
            folder,
            name.as_ptr(),
            std::ptr::from_ref(&attributes),
            size,
            flags,
        )
    };
    checked(result)
}

fn with_inherited(flags: u32, inherited: bool) -> u32 {
    if inherited {
        flags | INHERITED
    } else {
        flags & !INHERITED
    }
}

fn attributes(file: impl AsFd) -> io::Result<InodeAttributes> {
    let mut attributes = InodeAttributes::default();
    // SAFETY: the kernel writes one `struct fsxattr`, whose every pattern of bits is valid.
    let result = unsafe {
        libc::ioctl(
            file.as_fd().as_raw_fd(),
            GET_ATTRIBUTES,
            std::ptr::from_mut(&mut attributes),
        )
    };
    checked(result)?;
    Ok(attributes)
}

/// `T` is what the command reads or writes.
fn quotactl<T>(place: impl AsFd, command: u32, id: u32, value: &mut T) -> io::Result<()> {
    // SAFETY: each command here reads or writes exactly the one value that its caller passes,
    // which lives until the call is over and whose every pattern of bits is valid.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            place.as_fd().as_raw_fd(),
            command,
            id,
            std::ptr::from_mut(value),
        )
    };
    checked(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn the_values_are_as_large_as_the_kernels() {
        assert_eq!(size_of::<DiskQuota>(), 112);
        assert_eq!(size_of::<State>(), 160);
        assert_eq!(size_of::<InodeAttributes>(), 28);
        assert_eq!(size_of::<FileAttributes>(), 24);
    }

    #[test]
    fn the_commands_are_the_kernels() {
        assert_eq!(GET, 0x0058_0302);
        assert_eq!(SET_LIMITS, 0x0058_0402);
        assert_eq!(GET_STATE, 0x0058_0802);
    }

    #[test]
    fn only_one_flag_changes() {
        assert_eq!(with_inherited(0x8000_0008, true), 0x8000_0208);
        assert_eq!(with_inherited(0x8000_0208, false), 0x8000_0008);
    }

    #[test]
    fn a_file_system_without_quotas_says_so() {
        let place = File::open("/proc/self").expect("a folder");
        assert!(project_quotas(&place).is_err());
        assert!(membership(&place).is_err());
    }
}
