//! What a process does to itself before it executes another program, or before it stays.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec};

use crate::returned::checked;

/// Gives every signal its default action and blocks none, as a new program expects it:
/// ignored and blocked signals outlive execve(2).
pub fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL runs no code. It fails for SIGKILL and SIGSTOP, which have no other
        // action, and for the two that the C library keeps for itself.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) initialises the set, which sigprocmask(2) then only reads.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Executes a program in place of the calling one and returns only when that failed.
///
/// Without a slash in its name it is looked up in `search`, a `PATH`; the first error that
/// is not "no such file" counts, as execvp(3) does it.
#[must_use]
pub fn execute(
    program: &CStr,
    arguments: &[CString],
    environment: &[CString],
    search: &[u8],
) -> io::Error {
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    if program.to_bytes().contains(&b'/') {
        return execute_at(program, &arguments, &environment);
    }
    let mut failure = io::Error::from(Errno::NOENT);
    for folder in search.split(|&byte| byte == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let Ok(path) = CString::new([folder, b"/", program.to_bytes()].concat()) else {
            continue;
        };
        let error = execute_at(&path, &arguments, &environment);
        if !matches!(
            error.raw_os_error(),
            Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES)
        ) {
            return error;
        }
        if error.raw_os_error() == Some(libc::EACCES) {
            failure = error;
        }
    }
    failure
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let mut list: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
    list.push(std::ptr::null());
    list
}

fn execute_at(
    path: &CStr,
    arguments: &[*const libc::c_char],
    environment: &[*const libc::c_char],
) -> io::Error {
    // SAFETY: all three are C strings or null-terminated lists of such, made by `pointers`
    // from values that the caller still holds. On success nothing here runs any more.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends the calling process at once: nothing is flushed, no destructor runs.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) touches no memory and does not return.
    unsafe { libc::_exit(code) }
}

/// Ends the calling process by a signal, so that its parent sees the same wait status as
/// the caller saw; returns where the signal's default action is not to end a process.
pub fn end_by_signal(signal: i32) {
    // SAFETY: the default action runs no code of this program; the set is initialised by
    // sigemptyset(3) before it is used.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// Overwrites the environment that the process was started with, and forgets it.
///
/// Call it in a program without further threads: getenv(3) in another one would read
/// memory that changes.
pub fn erase_environment() {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: `environ` is null or a null-terminated list of C strings (environ(7)), which
    // lie in the writable memory of this process; nobody else uses them, as the caller
    // promises, and afterwards the list is empty.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let length = libc::strlen(*entry);
            std::ptr::write_bytes(*entry, 0, length);
            entry = entry.add(1);
        }
        environ = std::ptr::null_mut();
    }
}

/// Puts copies of the descriptors at `first` and upwards, in their order, inheritable by
/// execve(2). Whatever was open at those numbers is closed: nobody may own them any more.
///
/// # Errors
///
/// `EMFILE` where too many descriptors are open.
pub fn place_descriptors(descriptors: &[BorrowedFd<'_>], first: RawFd) -> io::Result<()> {
    let count = RawFd::try_from(descriptors.len()).map_err(|_| io::Error::from(Errno::MFILE))?;
    // Copies above the range first, or placing one would overwrite another's original.
    let copies = descriptors
        .iter()
        .map(|descriptor| fcntl_dupfd_cloexec(descriptor, first + count))
        .collect::<Result<Vec<_>, _>>()?;
    for (number, copy) in (first..).zip(&copies) {
        // SAFETY: dup2(2) touches no memory. That the number's former owner is gone is this
        // function's documented condition.
        checked(unsafe { libc::dup2(copy.as_raw_fd(), number) })?;
    }
    Ok(())
}

/// Marks every descriptor from `first` upwards close-on-exec: close_range(2).
///
/// # Errors
///
/// `ENOSYS` before Linux 5.9, `EINVAL` before Linux 5.11.
pub fn close_from_on_exec(first: RawFd) -> io::Result<()> {
    close_range(first, RawFd::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` upwards but `kept`. Nobody may own one of them.
///
/// # Errors
///
/// `ENOSYS` before Linux 5.9.
pub fn close_all_but(kept: &[BorrowedFd<'_>], first: RawFd) -> io::Result<()> {
    let mut numbers: Vec<_> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    numbers.sort_unstable();
    let mut next = first;
    for number in numbers {
        if number > next {
            close_range(next, number - 1, 0)?;
        }
        next = next.max(number + 1);
    }
    close_range(next, RawFd::MAX, 0)
}

fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: close_range(2) touches no memory; the callers' documentation demands that
    // nobody owns what it closes.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    checked(result)
}

/// Whether the descriptor is closed by execve(2).
///
/// # Errors
///
/// `EBADF` where it is not open.
pub fn closes_on_exec(descriptor: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(rustix::io::fcntl_getfd(descriptor)?.contains(FdFlags::CLOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};
    use std::os::fd::{AsFd, IntoRawFd};

    /// Runs the closure in a process of its own and returns how that ended.
    fn in_child(work: impl FnOnce() -> i32) -> WaitStatus {
        // SAFETY: fork(3) leaves the allocator usable in the child, which runs the closure
        // alone and ends by _exit(2) without anything of the test harness.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above.
            unsafe { libc::_exit(work()) };
        }
        waitpid(Pid::from_raw(child), WaitOptions::empty())
            .expect("the child is ours")
            .expect("it has ended")
            .1
    }

    fn c(text: &str) -> CString {
        CString::new(text).expect("no NUL")
    }

    #[test]
    fn a_program_is_executed_with_exactly_this_environment() {
        let status = in_child(|| {
            let script = r#"[ "$(env | grep -v ^PWD= | grep -v ^_= | grep -v ^SHLVL=)" = A=b ]"#;
            let arguments = [c("sh"), c("-c"), c(script)];
            let _ = execute(
                c"sh",
                &arguments,
                &[c("A=b")],
                b"/nonexistent:/bin:/usr/bin",
            );
            99
        });
        // `env` and `grep` are found by the shell's own default PATH.
        assert_eq!(status.exit_status(), Some(0));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let error = execute(c"/nonexistent/program", &[c("x")], &[], b"");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let error = execute(c"no-such-program", &[c("x")], &[], b"/usr/bin");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let error = execute(c"passwd", &[c("x")], &[], b"/etc:/nonexistent");
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    }

    #[test]
    fn a_process_ends_by_the_signal_that_it_is_given() {
        let status = in_child(|| {
            end_by_signal(libc::SIGTERM);
            99
        });
        assert_eq!(status.terminating_signal(), Some(libc::SIGTERM));
    }

    #[test]
    fn the_environment_is_gone() {
        let status = in_child(|| {
            erase_environment();
            i32::try_from(std::env::vars_os().count()).unwrap_or(99)
        });
        assert_eq!(status.exit_status(), Some(0));
    }

    #[test]
    fn descriptors_are_placed_in_order_though_they_overlap() {
        let status = in_child(|| {
            let (read, write) = rustix::pipe::pipe().expect("a pipe");
            let first = read.as_raw_fd();
            // In reverse: each one's place is the other one's number.
            place_descriptors(&[write.as_fd(), read.as_fd()], first).expect("placed");
            // SAFETY: both numbers have just been opened; they are only borrowed here.
            let [write, read] = [first, first + 1].map(|n| unsafe { BorrowedFd::borrow_raw(n) });
            assert!(!closes_on_exec(write).expect("open"));
            rustix::io::write(write, b"x").expect("the write end");
            let mut byte = [0];
            rustix::io::read(read, &mut byte).expect("the read end");
            i32::from(byte[0])
        });
        assert_eq!(status.exit_status(), Some(i32::from(b'x')));
    }

    #[test]
    fn all_but_the_kept_descriptors_are_closed() {
        let status = in_child(|| {
            let (read, write) = rustix::pipe::pipe().expect("a pipe");
            let write = write.into_raw_fd();
            close_all_but(&[read.as_fd()], 3).expect("closed");
            // SAFETY: the number is only asked about.
            let other = unsafe { BorrowedFd::borrow_raw(write) };
            assert!(closes_on_exec(other).is_err());
            i32::from(closes_on_exec(read.as_fd()).is_err())
        });
        assert_eq!(status.exit_status(), Some(0));
    }
}
