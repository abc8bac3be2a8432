//! The hosts file and resolv.conf: reading them and hearing of their changes.
//!
//! Programs replace these files by rename(2), so the folder is watched, and the folder of
//! whatever a symbolic link on the way leads to: with systemd-resolved, /etc/resolv.conf leads
//! to /run. Containers mount another file over /etc/resolv.conf, whose changes happen in a
//! folder that cannot be seen: so the file is watched too. inotify(7) costs nothing while
//! nothing changes.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// resolv.conf is read up to here.
const LONGEST: u64 = 64 << 10;

/// Symbolic links that are followed to find folders; the kernel follows 40.
const LINKS: usize = 8;

/// Opens a regular file for reading, by openat2(2), or by openat(2) where the service manager
/// denies that one: systemd's `RestrictSUIDSGID=`, which `DynamicUser=` implies, has it fail
/// with `ENOSYS`. A FIFO in the file's place does not block.
///
/// # Errors
///
/// Those of either call; `InvalidInput` for what is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let descriptor = match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        Err(Errno::NOSYS) => openat(CWD, path, flags, Mode::empty())?,
        other => other?,
    };
    let kind = FileType::from_raw_mode(fstat(&descriptor)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no regular file",
        ));
    }
    Ok(File::from(descriptor))
}

/// The beginning of a file.
///
/// # Errors
///
/// Those of [`open`] and of reading.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    open(path)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// Hears when one of some files may have changed.
#[derive(Debug)]
pub struct Watcher {
    inotify: AsyncFd<OwnedFd>,
    paths: Vec<PathBuf>,
}

impl Watcher {
    /// Watches absolute paths, whether or not there is a file yet. To be made within the
    /// runtime. The descriptor is the watcher's.
    ///
    /// # Errors
    ///
    /// Those of inotify_init1(2), `EMFILE` where the user has too many, and of
    /// inotify_add_watch(2).
    pub fn new(paths: Vec<PathBuf>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // Deprecated since a type may name a descriptor that is not its own; this one does not.
        #[expect(
            deprecated,
            reason = "its successor is unsafe, which only crates/sys may be"
        )]
        let inotify = AsyncFd::new(inotify)?;
        let watcher = Self { inotify, paths };
        watcher.watch()?;
        Ok(watcher)
    }

    /// Watches all folders and files as they are now; watching one again changes nothing
    /// (inotify_add_watch(2)).
    fn watch(&self) -> io::Result<()> {
        let changed = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        let mut failure = None;
        for path in &self.paths {
            for folder in folders(path) {
                if let Err(error) = inotify::add_watch(&self.inotify, &folder, changed) {
                    failure = Some(error);
                }
            }
            // No file, no watch: its folder tells when it comes.
            let _ = inotify::add_watch(&self.inotify, path.as_path(), WatchFlags::CLOSE_WRITE);
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Returns once one of the files may have changed: something happened to its name, or to
    /// the name of what it leads to.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let touched = self.take()?;
            ready.clear_ready();
            if touched {
                // What a link leads to may lie elsewhere now.
                let _ = self.watch();
                return Ok(());
            }
        }
    }

    /// Takes all events; whether one is about a name of ours.
    fn take(&self) -> io::Result<bool> {
        let names = self.names();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
        let mut touched = false;
        loop {
            match reader.next() {
                // Without a name: the file itself, or a full queue that has lost some.
                Ok(event) => {
                    touched |= event.file_name().is_none_or(|name| {
                        let name = name.to_bytes();
                        names.iter().any(|known| known.as_slice() == name)
                    });
                }
                Err(Errno::AGAIN) => return Ok(touched),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn names(&self) -> Vec<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt;
        let steps = self.paths.iter().flat_map(|path| steps(path));
        let names = steps.filter_map(|step| Some(step.file_name()?.as_bytes().to_vec()));
        names.collect()
    }
}

/// A path and what the symbolic links at its end lead to, one after the other.
fn steps(path: &Path) -> Vec<PathBuf> {
    let mut steps = vec![path.to_owned()];
    while steps.len() <= LINKS
        && let Some(last) = steps.last()
        && let Ok(target) = readlinkat(CWD, last.as_path(), Vec::new())
    {
        use std::os::unix::ffi::OsStringExt;
        let target = PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()));
        let folder = last.parent().unwrap_or(Path::new("/"));
        steps.push(folder.join(target));
    }
    steps
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let steps = steps(path).into_iter();
    steps
        .filter_map(|step| Some(step.parent()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    fn run(test: impl Future<Output = ()>) {
        let builder = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        builder.expect("a runtime").block_on(test);
    }

    #[test]
    fn a_file_is_read_where_openat2_is_denied() {
        use cloister_sys::seccomp::{Action, Rule, filter};

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("resolv.conf");
        fs::write(&path, "nameserver 192.0.2.1\n").expect("written");
        // The filter is the thread's own.
        let thread = std::thread::spawn(move || {
            let openat2 = Rule {
                call: libc::SYS_openat2,
                arguments: &[],
            };
            filter(&[openat2], Action::Fail(libc::ENOSYS), Action::Allow).expect("a filter");
            read(&path)
        });
        let text = thread.join().expect("the thread ends").expect("read");
        assert_eq!(text, b"nameserver 192.0.2.1\n");
    }

    async fn changes(watcher: &Watcher) -> bool {
        let changed = tokio::time::timeout(Duration::from_secs(10), watcher.changed());
        changed.await.is_ok_and(|changed| changed.is_ok())
    }

    #[test]
    fn replaced_written_and_new_files_are_heard_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hosts");
        run(async {
            let watcher = Watcher::new(vec![path.clone()]).expect("inotify");
            fs::write(&path, "new").expect("written");
            assert!(changes(&watcher).await);
            fs::write(folder.path().join("next"), "next").expect("written");
            fs::rename(folder.path().join("next"), &path).expect("renamed");
            assert!(changes(&watcher).await);
            fs::remove_file(&path).expect("removed");
            assert!(changes(&watcher).await);
            assert!(!watcher.take().expect("read"), "there was more to hear");
            fs::write(folder.path().join("neighbour"), "").expect("written");
            assert!(!watcher.take().expect("read"), "a neighbour counts");
        });
    }

    #[test]
    fn what_a_link_leads_to_is_heard_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let (etc, run_folder) = (folder.path().join("etc"), folder.path().join("run"));
        fs::create_dir(&etc).expect("a folder");
        fs::create_dir(&run_folder).expect("a folder");
        fs::write(run_folder.join("stub.conf"), "").expect("written");
        symlink("../run/stub.conf", etc.join("resolv.conf")).expect("a link");
        run(async {
            let watcher = Watcher::new(vec![etc.join("resolv.conf")]).expect("inotify");
            fs::write(run_folder.join("fresh"), "").expect("written");
            fs::rename(run_folder.join("fresh"), run_folder.join("stub.conf")).expect("renamed");
            assert!(changes(&watcher).await);
        });
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(open(folder.path()).is_err());
        assert!(open(&folder.path().join("nothing")).is_err());
        let mode = Mode::RUSR | Mode::WUSR;
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, mode, 0).expect("a FIFO");
        assert!(open(&fifo).is_err());
    }
}
