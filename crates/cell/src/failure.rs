//! What goes wrong, as a value, and its way to whoever launched the cell.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use cloister_proto::messages::cell::{Effect, Failure};
use rustix::io::Errno;
use serde::Serialize;

use crate::description::shortened;

/// The exit code where the cell could not be made, as env(1) has it for itself.
pub const CELL_FAILED: i32 = 125;
/// The exit code where the program was found and could not be executed.
pub const NOT_EXECUTABLE: i32 = 126;
/// The exit code where the program was not found.
pub const NOT_FOUND: i32 = 127;

/// The largest text in a report, in bytes.
const TEXT_LIMIT: usize = 4096;

/// Why one operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The system's error number.
    pub errno: Errno,
    /// The path that it concerns.
    pub path: Option<String>,
    /// What to do about it, where the operation knows better than the general table.
    pub hint: Option<String>,
}

impl Problem {
    /// Names the path, unless a more precise one is named already.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.path.get_or_insert_with(|| path.to_owned());
        self
    }

    /// Says what to do about it, unless that is said already.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }
}

impl From<Errno> for Problem {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            path: None,
            hint: None,
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).unwrap_or(Errno::IO).into()
    }
}

/// Names the path of a failed call.
pub trait AtPath<T> {
    /// The same result, its error with the path.
    fn at(self, path: &str) -> Result<T, Problem>;
}

impl<T, E: Into<Problem>> AtPath<T> for Result<T, E> {
    fn at(self, path: &str) -> Result<T, Problem> {
        self.map_err(|error| error.into().at(path))
    }
}

/// Where failures are reported. Closing it, by executing a program too, reports success.
#[derive(Debug)]
pub enum Report {
    /// To this descriptor, as one JSON message.
    Descriptor(OwnedFd),
    /// To standard error, as text.
    StandardError,
}

impl Report {
    /// Moves the descriptor, if there is one, to a number that is at least `first`.
    ///
    /// # Errors
    ///
    /// `EMFILE` where none is free.
    pub fn move_above(&mut self, first: i32) -> Result<(), Problem> {
        if let Self::Descriptor(descriptor) = self {
            *descriptor = rustix::io::fcntl_dupfd_cloexec(&*descriptor, first)?;
        }
        Ok(())
    }

    /// Writes the failure. Blocks while a pipe is full. That nobody reads it any more is no
    /// error: the exit code still tells.
    pub fn send(&self, failure: &Failure) {
        // What readers take at once, and what a pipe takes without blocking, is 64 KiB.
        let short = |text: &String| shortened(text, TEXT_LIMIT);
        let failure = &Failure {
            step: failure.step.clone(),
            description: short(&failure.description),
            errno: failure.errno,
            path: failure.path.as_ref().map(short),
            hint: failure.hint.as_ref().map(short),
        };
        match self {
            Self::Descriptor(descriptor) => write_line(descriptor, failure),
            Self::StandardError => {
                let _ = write_all(rustix::stdio::stderr(), text(failure).as_bytes());
            }
        }
    }

    /// Writes what is in force; to standard error nothing, which is the application's now.
    pub fn send_effect(&self, effect: &Effect) {
        if let Self::Descriptor(descriptor) = self {
            write_line(descriptor, effect);
        }
    }
}

fn write_line(descriptor: &OwnedFd, message: &impl Serialize) {
    if let Ok(mut line) = serde_json::to_vec(message) {
        line.push(b'\n');
        let _ = write_all(descriptor, &line);
    }
}

fn write_all(descriptor: impl AsFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&descriptor, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The failure for people: what, where, why, what to do next.
#[must_use]
pub fn text(failure: &Failure) -> String {
    let reason = io::Error::from_raw_os_error(failure.errno);
    let place = failure
        .path
        .as_ref()
        .map_or_else(String::new, |path| format!("{path}: "));
    let hint = failure
        .hint
        .as_ref()
        .map_or_else(String::new, |hint| format!("next: {hint}\n"));
    format!(
        "cloister-cell: {} ({}): {place}{reason}\n{hint}",
        failure.description, failure.step
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn failure() -> Failure {
        Failure {
            step: "mount-bind".into(),
            description: "show /srv/blog at /srv/blog, read-only".into(),
            errno: Errno::NOENT.raw_os_error(),
            path: Some("/srv/blog".into()),
            hint: Some("make the folder".into()),
        }
    }

    #[test]
    fn people_read_what_where_why_and_what_next() {
        assert_eq!(
            text(&failure()),
            "cloister-cell: show /srv/blog at /srv/blog, read-only (mount-bind): /srv/blog: \
             No such file or directory (os error 2)\nnext: make the folder\n"
        );
    }

    #[test]
    fn programs_read_one_message_and_the_end() {
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        let report = Report::Descriptor(write);
        report.send(&failure());
        drop(report);
        let mut bytes = Vec::new();
        std::fs::File::from(read)
            .read_to_end(&mut bytes)
            .expect("readable");
        let read: Failure = serde_json::from_slice(&bytes).expect("a failure");
        assert_eq!(read, failure());
    }

    #[test]
    fn no_report_is_too_long_for_a_pipe() {
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        let long = "ü".repeat(1_000_000);
        Report::Descriptor(write).send(&Failure {
            description: long.clone(),
            path: Some(long.clone()),
            hint: Some(long),
            ..failure()
        });
        let report = std::io::read_to_string(std::fs::File::from(read)).expect("readable");
        let read: Failure = serde_json::from_str(&report).expect("a failure");
        assert_eq!(read.description.chars().count(), TEXT_LIMIT / 2 + 1);
        assert!(read.description.ends_with('…'));
    }

    #[test]
    fn the_most_precise_path_counts() {
        let problem = Problem::from(Errno::PERM).at("/inner").at("/outer");
        assert_eq!(problem.path.as_deref(), Some("/inner"));
    }
}
