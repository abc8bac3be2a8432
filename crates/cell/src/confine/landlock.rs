//! Landlock: what the mounts of the cell say, once more, and what no namespace says.
//!
//! The rules follow from the operations that made the view, so they cannot disagree with it:
//! everything in the cell may be read, what is mounted writable may be written, what is
//! mounted executable may be executed. It holds for processes that have found another way to
//! a file than the cell's mounts.

use cloister_proto::messages::cell::{Fence, Landlock};
use cloister_sys::landlock::{self, Access, Direction, Handled, Ruleset};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::failure::{AtPath, Problem};
use crate::operation::Operation;

/// The name of the fence in a report.
pub const NAME: &str = "landlock";

/// A place in the cell and what may be done there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path in the cell.
    pub path: String,
    /// What may be done.
    pub access: Access,
}

/// Everything that is restricted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// What the specification asks for.
    pub wanted: Landlock,
    /// The places; none where files are not restricted.
    pub places: Vec<Place>,
}

impl Restriction {
    /// What `wanted` means in the cell that `operations` make.
    #[must_use]
    pub fn new(wanted: &Landlock, own_mounts: bool, operations: &[Operation]) -> Self {
        let mut wanted = wanted.clone();
        wanted.files &= own_mounts;
        let places = if wanted.files {
            places(operations)
        } else {
            Vec::new()
        };
        Self { wanted, places }
    }

    /// The parts that are asked for, each with the version of Landlock that has it whole.
    fn parts(&self) -> Vec<(&'static str, u32)> {
        [
            (self.wanted.files, "files", landlock::FILES),
            (
                self.wanted.tcp_bind.is_some(),
                "TCP ports to bind",
                landlock::PORTS,
            ),
            (
                self.wanted.tcp_connect.is_some(),
                "TCP ports to connect to",
                landlock::PORTS,
            ),
            (self.wanted.signals, "signals", landlock::SCOPES),
            (
                self.wanted.abstract_sockets,
                "abstract sockets",
                landlock::SCOPES,
            ),
        ]
        .into_iter()
        .filter_map(|(wanted, name, since)| wanted.then_some((name, since)))
        .collect()
    }

    /// The restriction in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let parts: Vec<_> = self.parts().into_iter().map(|(name, _)| name).collect();
        format!(
            "restrict {} by Landlock, {}",
            parts.join(", "),
            if self.wanted.required {
                "completely or not at all"
            } else {
                "as far as the kernel can"
            }
        )
    }

    /// Restricts the calling thread and all that it starts; says what of it is in force.
    ///
    /// # Errors
    ///
    /// Those of the calls; `EOPNOTSUPP` where all of it is required and the kernel can less.
    pub fn apply(&self) -> Result<Fence, Problem> {
        let version = landlock::version();
        let fence = self.outcome(version);
        if self.wanted.required && !fence.active {
            return Err(Problem::from(Errno::OPNOTSUPP).hint(format!(
                "{}; take a newer kernel, or landlock = \"best-effort\"",
                fence.detail
            )));
        }
        let handled = Handled {
            files: self.wanted.files,
            bind: self.wanted.tcp_bind.is_some(),
            connect: self.wanted.tcp_connect.is_some(),
            abstract_sockets: self.wanted.abstract_sockets,
            signals: self.wanted.signals,
        };
        let can =
            |&(name, since): &(&str, u32)| version >= since || (name == "files" && version > 0);
        if !self.parts().iter().any(can) {
            return Ok(fence);
        }
        let rules = Ruleset::new(handled, version)?;
        for place in &self.places {
            allow(&rules, place)?;
        }
        for (direction, ports) in [
            (Direction::Bind, &self.wanted.tcp_bind),
            (Direction::Connect, &self.wanted.tcp_connect),
        ] {
            for port in ports
                .iter()
                .flatten()
                .filter(|_| version >= landlock::PORTS)
            {
                rules.allow_port(direction, *port)?;
            }
        }
        rules.restrict_self()?;
        Ok(fence)
    }

    /// What a kernel with this version of Landlock makes of it.
    fn outcome(&self, version: u32) -> Fence {
        let (whole, missing): (Vec<_>, Vec<_>) = self
            .parts()
            .into_iter()
            .partition(|(_, since)| version >= *since);
        let named = |parts: &[(&'static str, u32)]| {
            let names: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
            names.join(", ")
        };
        let detail = match (version, missing.is_empty()) {
            (0, _) => "the kernel has no Landlock, or it is switched off".to_owned(),
            (_, true) => format!("version {version}: {}", named(&whole)),
            (_, false) => format!(
                "version {version}: {}; not, or not completely: {}",
                if whole.is_empty() {
                    "nothing whole".to_owned()
                } else {
                    named(&whole)
                },
                named(&missing)
            ),
        };
        Fence {
            name: NAME.to_owned(),
            active: missing.is_empty(),
            detail,
        }
    }
}

fn allow(rules: &Ruleset, place: &Place) -> Result<(), Problem> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = match openat(CWD, place.path.as_str(), flags, Mode::empty()) {
        // A source that may be missing, or a folder that the application cannot enter.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(()),
        other => other.at(&place.path)?,
    };
    let folder = FileType::from_raw_mode(fstat(&opened)?.st_mode) == FileType::Directory;
    rules
        .allow_files(std::os::fd::AsFd::as_fd(&opened), folder, place.access)
        .at(&place.path)
}

/// What the operations have put where.
fn places(operations: &[Operation]) -> Vec<Place> {
    let read = Access {
        read: true,
        ..Access::default()
    };
    let root = Place {
        path: "/".into(),
        access: read,
    };
    std::iter::once(root)
        .chain(operations.iter().filter_map(|operation| {
            let (path, access) = match operation {
                // A root file system of the application's own.
                Operation::ShowRoot { restrictions, .. } => (
                    "/",
                    Access {
                        write: !restrictions.read_only,
                        execute: !restrictions.no_execution,
                        ..read
                    },
                ),
                Operation::AttachSource {
                    destination,
                    restrictions,
                    ..
                } => (
                    destination.as_str(),
                    Access {
                        // A device is written to though its mount is read-only.
                        write: !restrictions.read_only || !restrictions.no_devices,
                        execute: !restrictions.no_execution,
                        devices: !restrictions.no_devices,
                        ..read
                    },
                ),
                Operation::MountTemporary(memory) => (
                    memory.path.as_str(),
                    Access {
                        write: true,
                        execute: memory.executable,
                        ..read
                    },
                ),
                Operation::MountTerminals => (
                    "/dev/pts",
                    Access {
                        write: true,
                        devices: true,
                        ..read
                    },
                ),
                // The settings of one's own processes.
                Operation::MountProc { .. } => (
                    "/proc",
                    Access {
                        write: true,
                        ..read
                    },
                ),
                _ => return None,
            };
            Some(Place {
                path: path.to_owned(),
                access,
            })
        }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restriction(required: bool, tcp_bind: Option<Vec<u16>>) -> Restriction {
        let wanted = Landlock {
            required,
            files: true,
            signals: true,
            abstract_sockets: true,
            tcp_bind,
            tcp_connect: None,
        };
        Restriction::new(&wanted, true, &[])
    }

    #[test]
    fn what_a_kernel_cannot_do_is_said() {
        let all = restriction(false, Some(vec![80]));
        let outcome = |version| {
            let fence = all.outcome(version);
            (fence.active, fence.detail)
        };
        assert_eq!(
            outcome(0),
            (
                false,
                "the kernel has no Landlock, or it is switched off".into()
            )
        );
        assert_eq!(
            outcome(1),
            (
                false,
                "version 1: nothing whole; not, or not completely: files, TCP ports to bind, \
                 signals, abstract sockets"
                    .into()
            )
        );
        assert_eq!(
            outcome(5),
            (
                false,
                "version 5: files, TCP ports to bind; not, or not completely: signals, abstract \
                 sockets"
                    .into()
            )
        );
        assert_eq!(
            outcome(6),
            (
                true,
                "version 6: files, TCP ports to bind, signals, abstract sockets".into()
            )
        );
    }

    #[test]
    fn a_root_of_the_applications_own_is_used_as_its_mount_allows() {
        for read_only in [false, true] {
            let root = Operation::ShowRoot {
                slot: 0,
                source: "/srv/image".into(),
                restrictions: cloister_sys::mount::Restrictions {
                    read_only,
                    ..Default::default()
                },
            };
            let whole = places(&[root]).pop();
            let access = whole.map(|place| (place.path, place.access.write, place.access.execute));
            assert_eq!(access, Some(("/".into(), !read_only, true)));
        }
    }

    #[test]
    fn files_are_left_alone_where_the_mounts_are_the_hosts() {
        let wanted = restriction(false, None).wanted;
        let here = Restriction::new(&wanted, false, &[]);
        assert!(here.places.is_empty());
        assert!(!here.describe().contains("files"));
    }
}
