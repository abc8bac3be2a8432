//! Folders that stay open between connections.
//!
//! While a folder is open its inode lives, so its number cannot become another's: a name that
//! leads to the same number leads to the same folder, and opening it anew would say nothing
//! more. An open folder keeps its file system from being unmounted, and a removed one its
//! inode on the disk, until it gives way to another or its name is asked for again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::{descriptor_limit, folder_budget};

/// Of the whole process, whose descriptors they are.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A folder's descriptor. Owns it.
#[derive(Debug)]
pub struct KeptFolder(OwnedFd);

impl KeptFolder {
    /// Keeps another descriptor of the folder; `None` where enough are open.
    pub fn new(folder: BorrowedFd<'_>) -> Option<Arc<Self>> {
        let budget = folder_budget(descriptor_limit());
        let one_more = |open: usize| (open < budget).then_some(open + 1);
        OPEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        match folder.try_clone_to_owned() {
            Ok(descriptor) => Some(Arc::new(Self(descriptor))),
            Err(_) => {
                OPEN.fetch_sub(1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl AsFd for KeptFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for KeptFolder {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_stay_open_than_the_process_has_descriptors_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = std::fs::File::open(folder.path()).expect("opened");
        let budget = folder_budget(descriptor_limit());
        let mut kept = Vec::new();
        while let Some(one) = KeptFolder::new(folder.as_fd()) {
            kept.push(one);
            assert!(kept.len() <= budget);
        }
        drop(kept.pop());
        let again = || KeptFolder::new(folder.as_fd());
        // Other tests keep folders as well, but none as many.
        assert!(kept.is_empty() || (0..1000).any(|_| again().is_some()));
    }
}
