//! What the kernel says about a file, and when that can be relied on.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, StatxFlags, fstatfs, statx};
use rustix::io::Errno;

use crate::clock::wall_micros;

/// How much older than now a change must be before it is certain that a later one shows, in
/// seconds. A change gets the time of the kernel's last clock tick, so two within one tick
/// look alike; ext4 with small inodes knows whole seconds only.
const SETTLED_AFTER: i64 = 2;

/// File systems of this machine that give every change of a directory its time, by their
/// number in statfs(2). Of others (of a network, of a user by FUSE) the times prove nothing.
const TRUSTED: &[u64] = &[
    0xef53,      // ext4
    0x0102_1994, // tmpfs
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0xf2f5_2010, // f2fs
    0x2fc1_2fc1, // zfs
    0xca45_1a4e, // bcachefs
];

/// The number of procfs in statfs(2).
const PROC: u64 = 0x9fa0;

/// What a file is, whose, and when it was last changed. Two equal states of a folder: between
/// them nothing was added, removed or renamed in it, nor its owner or mode changed, as far as
/// the clock can tell; see [`State::is_settled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    device: (u32, u32),
    inode: u64,
    changed: (i64, u32),
    /// The owner's user id.
    pub owner: u32,
    mode: u16,
}

impl State {
    /// Of an open file.
    pub fn of(file: impl AsFd) -> Result<Self, Errno> {
        Self::ask(file, "", AtFlags::EMPTY_PATH)
    }

    /// Of an entry of a folder, which is not followed; `None` where there is none.
    pub fn of_entry(folder: impl AsFd, name: &str) -> Result<Option<Self>, Errno> {
        match Self::ask(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(state) => Ok(Some(state)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ask(file: impl AsFd, name: &str, flags: AtFlags) -> Result<Self, Errno> {
        let flags = flags | AtFlags::NO_AUTOMOUNT;
        let found = statx(file, name, flags, StatxFlags::BASIC_STATS)?;
        Ok(Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
            owner: found.stx_uid,
            mode: found.stx_mode,
        })
    }

    /// Its type.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode.into())
    }

    /// Whether only root can change what is in this folder. An access list that lets others
    /// in shows in the group's bits (acl(5)).
    pub fn is_roots_alone(&self) -> bool {
        self.owner == 0 && self.mode & 0o022 == 0
    }

    /// Whether every change after `now` will show: its time will differ from this one's.
    pub fn is_settled(&self, now: i64) -> bool {
        self.changed.0 < now.saturating_sub(SETTLED_AFTER)
    }
}

/// The time in whole seconds, at most one clock tick ahead of what the kernel would give a
/// change now. No system call: the vDSO answers.
pub fn now() -> i64 {
    wall_micros()
        .div_euclid(1_000_000)
        .try_into()
        .unwrap_or(i64::MAX)
}

/// Whether the times of this file's file system can be relied on.
pub fn has_trusted_times(file: impl AsFd) -> bool {
    fstatfs(file).is_ok_and(|system| TRUSTED.contains(&(system.f_type as u64)))
}

/// Whether this is a file of procfs.
pub fn is_proc(file: impl AsFd) -> bool {
    fstatfs(file).is_ok_and(|system| system.f_type as u64 == PROC)
}
