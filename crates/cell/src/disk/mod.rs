//! What an application may have on a disk: obeys one order of project quotas and says what came
//! of it. It has no policy: which project, which places and how much stand in the order.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use cloister_proto::messages::disk::{Action, Answer, DiskOrder, DiskUse, Kind};
use cloister_sys::quota::{ProjectUse, limit_project, membership, project_quotas, project_use};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, open, openat2};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::Problem;
use walk::{Change, Walk};

mod walk;

/// The largest order, in bytes.
pub const LIMIT: u64 = 1024 * 1024;

/// Reads an order to the end of the file. Blocks until then.
///
/// # Errors
///
/// What is wrong with it, for people.
pub fn read(descriptor: OwnedFd) -> Result<DiskOrder, String> {
    let mut text = Vec::new();
    File::from(descriptor)
        .take(LIMIT + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("the order cannot be read: {error}"))?;
    if text.len() as u64 > LIMIT {
        return Err(format!("the order is larger than {LIMIT} bytes"));
    }
    serde_json::from_slice(&text).map_err(|error| format!("the order is no order: {error}"))
}

/// Does one action after the other, and writes an answer for each; whether all succeeded.
/// Blocks for as long as the trees take that are walked.
///
/// # Errors
///
/// Those of writing.
pub fn obey(order: &DiskOrder, answers: &mut impl Write) -> std::io::Result<bool> {
    // One for each folder on the way down.
    let most = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most,
            maximum: most,
        },
    );
    for action in &order.actions {
        let answer = answer(action);
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        answers.write_all(&line)?;
        answers.flush()?;
        if matches!(answer, Answer::Failed { .. }) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn answer(action: &Action) -> Answer {
    let (done, path, description) = match action {
        Action::Look { path, project } => (
            look(path, *project),
            path,
            format!("look at what project {project} has there"),
        ),
        Action::Mark {
            path,
            project,
            replaceable,
        } => (
            change(path, Change::join(*project, *replaceable)),
            path,
            format!("have everything there belong to project {project}"),
        ),
        Action::Unmark { path, project } => (
            change(path, Change::leave(*project)),
            path,
            format!("have nothing there belong to project {project} any more"),
        ),
        Action::Bound {
            path,
            project,
            bytes,
            files,
        } => (
            bound(path, *project, *bytes, *files),
            path,
            format!("bound what project {project} may have there"),
        ),
    };
    done.unwrap_or_else(|failed| Answer::Failed {
        description,
        errno: failed.problem.errno.raw_os_error(),
        path: failed.problem.path.unwrap_or_else(|| path.clone()),
        foreign: failed.foreign,
    })
}

/// Why an action failed.
#[derive(Debug)]
struct Failed {
    problem: Problem,
    /// The project that a file belongs to already.
    foreign: Option<u32>,
}

impl<E: Into<Problem>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self {
            problem: error.into(),
            foreign: None,
        }
    }
}

fn look(path: &str, project: u32) -> Result<Answer, Failed> {
    let place = anything(path)?;
    let found = fstat(&place)?;
    let kind = kind_of(found.st_mode);
    let file_system = fstatfs(&place)?;
    // What cannot be asked belongs to nobody.
    let own = if kind == Kind::Other {
        None
    } else {
        readable(&place).ok().and_then(|file| membership(file).ok())
    };
    let quotas = project_quotas(&place);
    let usage = match quotas {
        Ok(quotas) if quotas.accounted => project_use(&place, project),
        _ => Ok(ProjectUse::default()),
    };
    let number = |error: &std::io::Error| error.raw_os_error().unwrap_or(0);
    let refusal = quotas
        .as_ref()
        .err()
        .or(usage.as_ref().err())
        .map_or(0, number);
    let (quotas, usage) = (quotas.ok(), usage.unwrap_or_default());
    Ok(Answer::Seen {
        kind,
        device: found.st_dev,
        inode: found.st_ino,
        #[allow(clippy::cast_sign_loss, reason = "a magic number of 32 bits")]
        file_system: file_system.f_type as u64 & 0xFFFF_FFFF,
        project: own.map_or(0, |own| own.project),
        inherited: own.is_some_and(|own| own.inherited),
        accounted: quotas.is_some_and(|quotas| quotas.accounted),
        enforced: quotas.is_some_and(|quotas| quotas.enforced),
        refusal,
        usage: DiskUse {
            bytes: usage.bytes,
            files: usage.files,
            bytes_limit: usage.bytes_limit,
            files_limit: usage.files_limit,
        },
    })
}

fn change(path: &str, change: Change) -> Result<Answer, Failed> {
    let place = anything(path)?;
    let mut walk = Walk::new(change, path);
    match kind_of(fstat(&place)?.st_mode) {
        Kind::Folder => walk.folder(readable(&place)?)?,
        Kind::File => walk.file(&readable(&place)?)?,
        Kind::Other => {}
    }
    Ok(Answer::Marked {
        entries: walk.entries,
        changed: walk.changed,
    })
}

fn bound(path: &str, project: u32, bytes: u64, files: u64) -> Result<Answer, Failed> {
    limit_project(anything(path)?, project, bytes, files)?;
    Ok(Answer::Bounded {})
}

/// What is at a path, without opening it: devices and pipes do something when they are. Whoever
/// may exchange a folder on the way for a link must not choose what root changes.
fn anything(path: &str) -> Result<OwnedFd, Errno> {
    openat2(
        CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// The same folder or regular file, opened.
fn readable(place: impl AsFd) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    open(
        format!("/proc/self/fd/{}", place.as_fd().as_raw_fd()),
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn kind_of(mode: u32) -> Kind {
    match FileType::from_raw_mode(mode) {
        FileType::Directory => Kind::Folder,
        FileType::RegularFile => Kind::File,
        _ => Kind::Other,
    }
}
