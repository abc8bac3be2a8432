//! New processes in new namespaces: clone3(2).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::returned::checked;

/// Which namespaces a new process gets for its own (namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewNamespaces {
    /// user_namespaces(7).
    pub user: bool,
    /// mount_namespaces(7).
    pub mount: bool,
    /// pid_namespaces(7): the new process is its process 1.
    pub pid: bool,
    /// ipc_namespaces(7).
    pub ipc: bool,
    /// uts_namespaces(7).
    pub uts: bool,
    /// cgroup_namespaces(7).
    pub cgroup: bool,
    /// network_namespaces(7).
    pub network: bool,
}

impl NewNamespaces {
    fn flags(self) -> u64 {
        [
            (self.user, libc::CLONE_NEWUSER),
            (self.mount, libc::CLONE_NEWNS),
            (self.pid, libc::CLONE_NEWPID),
            (self.ipc, libc::CLONE_NEWIPC),
            (self.uts, libc::CLONE_NEWUTS),
            (self.cgroup, libc::CLONE_NEWCGROUP),
            (self.network, libc::CLONE_NEWNET),
        ]
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .fold(0, |flags, (_, flag)| {
            flags | u64::from(flag.cast_unsigned())
        })
    }
}

/// In which of the two processes [`clone_process`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// In the old one; this is the new one's id.
    Parent(Pid),
    /// In the new one.
    Child,
}

/// `CLONE_INTO_CGROUP` of linux/sched.h; the constant of the C library's bindings has 32 bits.
const INTO_CGROUP: u64 = 1 << 33;

/// `struct clone_args` of linux/sched.h, as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Copies the calling process as fork(2) does, into namespaces of its own.
///
/// The copy has one thread, the caller's; the parent gets SIGCHLD when it ends. Call it in
/// a program without further threads: a lock that another thread holds stays locked in the
/// copy for ever.
///
/// # Errors
///
/// Those of clone(2): `EPERM` where a namespace is not permitted, `ENOSPC` and `EUSERS`
/// where there are too many. `EACCES` and `EBUSY` where the group may not be entered.
pub fn clone_process(namespaces: NewNamespaces) -> io::Result<Process> {
    clone_into(namespaces, None)
}

/// As [`clone_process`]; the new process begins its life in a control group of version 2,
/// whose directory is open. The caller stays where it is. Under a filter that denies
/// clone3(2) the new process is moved there before this returns to the caller.
///
/// # Errors
///
/// As [`clone_process`], and `EACCES`, `EBUSY` and `ENODEV` for the group.
pub fn clone_into(namespaces: NewNamespaces, group: Option<BorrowedFd<'_>>) -> io::Result<Process> {
    let number = group.map_or(0, |directory| directory.as_raw_fd());
    let arguments = CloneArguments {
        flags: namespaces.flags() | group.map_or(0, |_| INTO_CGROUP),
        cgroup: u64::from(number.cast_unsigned()),
        exit_signal: libc::SIGCHLD.cast_unsigned().into(),
        ..CloneArguments::default()
    };
    // SAFETY: the pointer and the length describe the one local value, which the kernel only
    // reads. Without CLONE_VM the child has a copy of the memory, the stack included, so it
    // returns from here as after fork(2).
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<CloneArguments>(),
        )
    };
    let result = match checked(result) {
        // Filters cannot read flags that lie in memory: a seccomp policy about namespaces, such
        // as systemd's RestrictNamespaces=, says that there is no clone3(2).
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            clone_and_move(namespaces, group)?
        }
        Err(error) => return Err(error),
        Ok(()) => result,
    };
    let id = i32::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    Ok(Pid::from_raw(id).map_or(Process::Child, Process::Parent))
}

/// The same by clone(2); the caller puts the new process into the group, before it goes on.
fn clone_and_move(
    namespaces: NewNamespaces,
    group: Option<BorrowedFd<'_>>,
) -> io::Result<libc::c_long> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let members = group
        .map(|directory| rustix::fs::openat(directory, "cgroup.procs", flags, Mode::empty()))
        .transpose()?;
    let result = clone_by_registers(namespaces);
    checked(result)?;
    if let (Some(members), Some(child)) =
        (members, i32::try_from(result).ok().and_then(Pid::from_raw))
        && let Err(error) = rustix::io::write(&members, child.to_string().as_bytes())
    {
        let _ = kill_process(child, Signal::KILL);
        let _ = waitpid(Some(child), WaitOptions::empty());
        return Err(error.into());
    }
    Ok(result)
}

/// The same by clone(2), whose flags stand in registers.
fn clone_by_registers(namespaces: NewNamespaces) -> libc::c_long {
    let flags = namespaces.flags() | u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: without CLONE_VM the child has a copy of the memory, the stack included, so a
    // null stack means the caller's, as for fork(2). No flag makes the kernel use a pointer.
    unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_learns_the_child_and_its_end() {
        match clone_process(NewNamespaces::default()).expect("a process") {
            // SAFETY: _exit(2) ends the child without running anything of the test harness.
            Process::Child => unsafe { libc::_exit(7) },
            Process::Parent(child) => {
                let (id, status) = waitpid(Some(child), WaitOptions::empty())
                    .expect("the child is ours")
                    .expect("it has ended");
                assert_eq!(id, child);
                assert_eq!(status.exit_status(), Some(7));
            }
        }
    }

    #[test]
    fn a_filter_that_denies_clone3_is_no_obstacle() {
        use crate::seccomp::{Action, Rule, filter};
        // The filter is the thread's own.
        let thread = std::thread::spawn(|| {
            let clone3 = Rule {
                call: libc::SYS_clone3,
                arguments: &[],
            };
            crate::credentials::set_no_new_privileges().expect("always permitted");
            filter(&[clone3], Action::Fail(libc::ENOSYS), Action::Allow).expect("a filter");
            match clone_process(NewNamespaces::default()).expect("a process") {
                // SAFETY: _exit(2) ends the child without running anything of the harness.
                Process::Child => unsafe { libc::_exit(9) },
                Process::Parent(child) => {
                    let (_, status) = waitpid(Some(child), WaitOptions::empty())
                        .expect("the child is ours")
                        .expect("it has ended");
                    assert_eq!(status.exit_status(), Some(9));
                }
            }
        });
        thread.join().expect("the thread ends");
    }

    #[test]
    fn what_is_not_permitted_is_an_error() {
        // SAFETY: fork(3) leaves the allocator usable in the child, which ends by _exit(2).
        let child = unsafe { libc::fork() };
        if child == 0 {
            let nobody = rustix::process::Uid::from_raw(65534);
            let _ = rustix::thread::set_thread_res_uid(nobody, nobody, nobody);
            let hostname_alone = NewNamespaces {
                uts: true,
                ..NewNamespaces::default()
            };
            let refused = clone_process(hostname_alone)
                .is_err_and(|error| error.raw_os_error() == Some(libc::EPERM));
            // SAFETY: as above.
            unsafe { libc::_exit(i32::from(!refused)) };
        }
        let (_, status) = waitpid(Pid::from_raw(child), WaitOptions::empty())
            .expect("the child is ours")
            .expect("it has ended");
        assert_eq!(status.exit_status(), Some(0));
    }

    #[test]
    fn every_namespace_has_its_flag() {
        let all = NewNamespaces {
            user: true,
            mount: true,
            pid: true,
            ipc: true,
            uts: true,
            cgroup: true,
            network: true,
        };
        assert_eq!(all.flags().count_ones(), 7);
        assert_eq!(NewNamespaces::default().flags(), 0);
    }
}
