//! Where the calling thread stands, so that it need not go where it is.
//!
//! A socket in a hosts directory is connected to by its name relative to the working directory
//! of the thread, which is the thread's own (`unshare(CLONE_FS)`). Clients of one host in a
//! row find it there already: one system call less for each.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::fchdir;

/// A folder's descriptor that several hold.
type Kept = Arc<dyn AsFd>;

thread_local! {
    /// The kept folder that the thread stands in. It is held, so that no other can take its
    /// address; the working directory holds the folder itself anyway.
    static STANDING: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Goes to a folder.
///
/// # Errors
///
/// Those of fchdir(2); then the thread stands where it stood.
pub fn go(folder: impl AsFd) -> Result<(), Errno> {
    fchdir(folder)?;
    STANDING.set(None);
    Ok(())
}

/// Goes to a kept folder, unless the thread stands there.
///
/// The right to enter it is then not asked for again: what is connected to in it is, and a
/// folder whose mode or owner has changed is not used as a kept one.
///
/// # Errors
///
/// Those of fchdir(2); then the thread stands where it stood.
pub fn go_to_kept<F: AsFd + 'static>(folder: &Arc<F>) -> Result<(), Errno> {
    let is_there = |standing: &Option<Kept>| {
        let standing = standing.as_ref();
        standing.is_some_and(|kept| std::ptr::addr_eq(Arc::as_ptr(kept), Arc::as_ptr(folder)))
    };
    if STANDING.with_borrow(is_there) {
        return Ok(());
    }
    fchdir(folder.as_fd())?;
    STANDING.set(Some(Arc::<F>::clone(folder)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{File, create_dir, write};

    use cloister_sys::threads::unshare_filesystem_attributes;

    use super::*;

    fn stands_in(content: &str) -> bool {
        std::fs::read_to_string("name").is_ok_and(|found| found == content)
    }

    #[test]
    fn the_thread_is_where_it_was_last_told_to_go() {
        unshare_filesystem_attributes().expect("needs no privilege");
        let root = tempfile::tempdir().expect("a folder");
        let folder = |name: &str| {
            let path = root.path().join(name);
            create_dir(&path).expect("made");
            write(path.join("name"), name).expect("written");
            File::open(path).expect("opened")
        };
        let [one, two] = ["one", "two"].map(folder);
        let kept = |folder: &File| Arc::new(folder.try_clone().expect("another descriptor"));
        let (kept_one, kept_two) = (kept(&one), kept(&two));
        for _ in 0..2 {
            go_to_kept(&kept_one).expect("there");
            assert!(stands_in("one"));
            go_to_kept(&kept_one).expect("there already");
            assert!(stands_in("one"));
            go_to_kept(&kept_two).expect("there");
            assert!(stands_in("two"));
            go(&one).expect("there");
            assert!(stands_in("one"));
            go_to_kept(&kept_two).expect("there again");
            assert!(stands_in("two"));
        }
        let no_folder = File::open("/dev/null").expect("opened");
        go(&no_folder).expect_err("no folder");
        go_to_kept(&Arc::new(no_folder)).expect_err("no folder");
        assert!(stands_in("two"));
    }
}
