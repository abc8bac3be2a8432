//! Supervisor ↔ `cloister-cell disk`: what an application may have on a disk, by project quotas.
//!
//! One order, a JSON object, is read from the descriptor that `--order-fd` names. Each of its
//! actions is answered on standard output, a JSON object on a line of its own, in their order;
//! an [`Answer::Failed`] is the last one.

use serde::{Deserialize, Serialize};

/// What is to be done, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskOrder {
    /// At least one.
    pub actions: Vec<Action>,
}

/// One thing to be done. Paths are absolute, and have no links in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Looks at a place and at what a project has there. Answered by [`Answer::Seen`].
    Look {
        /// A file or folder.
        path: String,
        /// The project.
        project: u32,
    },
    /// Has a place and all below it belong to a project, and in folders all that will be made
    /// there. What is mounted there is left alone, links are not followed. Answered by
    /// [`Answer::Marked`].
    Mark {
        /// A file or folder.
        path: String,
        /// The project.
        project: u32,
        /// Files of other projects than these, and than 0, are refused.
        replaceable: Projects,
    },
    /// Has all of a project at a place and below belong to nobody any more. Answered by
    /// [`Answer::Marked`].
    Unmark {
        /// A file or folder.
        path: String,
        /// The project.
        project: u32,
    },
    /// Bounds what a project may have on the file system of a place. Answered by
    /// [`Answer::Bounded`].
    Bound {
        /// A file or folder.
        path: String,
        /// The project.
        project: u32,
        /// 0 for no bound.
        bytes: u64,
        /// Files of every kind; 0 for no bound.
        files: u64,
    },
}

/// A run of project numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projects {
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
}

/// What came of one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// What is at a place.
    Seen {
        /// What it is.
        kind: Kind,
        /// Which file system it is on: stat(2)'s `st_dev`.
        device: u64,
        /// Its number there.
        inode: u64,
        /// The file system's kind: statfs(2)'s `f_type`.
        file_system: u64,
        /// The project that the place belongs to; 0 where it cannot belong to any.
        project: u32,
        /// Whether what is made in it belongs there too.
        inherited: bool,
        /// Whether the file system counts what projects have.
        accounted: bool,
        /// Whether it keeps them to their limits.
        enforced: bool,
        /// Why it was not told whether it does, or what the project has; 0 where it was.
        refusal: i32,
        /// What the project that was asked for has; nothing where that is not counted.
        usage: DiskUse,
    },
    /// Files and folders belong, or do not belong any more, to the project.
    Marked {
        /// That were looked at.
        entries: u64,
        /// That were changed.
        changed: u64,
    },
    /// The bound is in force.
    Bounded {},
    /// It did not work; what was done before stays done.
    Failed {
        /// What was to be done.
        description: String,
        /// The system's error number.
        errno: i32,
        /// The path that it concerns.
        path: String,
        /// The foreign project that the path belongs to, where that is the reason.
        foreign: Option<u32>,
    },
}

/// What a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// Something that takes no room: a device, a pipe, a socket.
    Other,
}

/// What a project has on a file system, and may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskUse {
    /// On the disk, with what is written and not there yet.
    pub bytes: u64,
    /// Of every kind.
    pub files: u64,
    /// 0 for no limit.
    pub bytes_limit: u64,
    /// 0 for no limit.
    pub files_limit: u64,
}
