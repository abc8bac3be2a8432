//! New processes in new namespaces: clone3(2).

use std::io;
use std::mem::size_of;

use rustix::process::Pid;

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
/// where there are too many, `ENOSYS` before Linux 5.3.
pub fn clone_process(namespaces: NewNamespaces) -> io::Result<Process> {
    let arguments = CloneArguments {
        flags: namespaces.flags(),
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
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let id = i32::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    Ok(Pid::from_raw(id).map_or(Process::Child, Process::Parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{WaitOptions, waitpid};

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
