//! Which system calls the door makes once it serves.
//!
//! Two filters. Calls that only an attacker would make kill the process: the supervisor sees
//! that and starts another door on the same listeners. Every other call that is not on the
//! list fails with `EPERM`: a newer C library may try a call that this list does not know,
//! and has its fallback; to kill a serving door for that would trade a certain harm for no
//! protection. What is denied is the same either way.
//!
//! `openat2` is the one way to a file. Its flags lie in memory where a filter cannot look, so
//! what it may open is left to the file permissions of the door's own user. Where names are
//! looked up, `openat` is another, for reading only.

use std::io;

use super::reach::Reach;
use cloister_sys::seccomp::{Action, Argument, Rule, filter};

const fn any(call: i64) -> Rule {
    Rule {
        call,
        arguments: &[],
    }
}

const fn only(call: i64, arguments: &'static [Argument]) -> Rule {
    Rule { call, arguments }
}

/// Only these bits may be set.
const fn at_most(index: u8, bits: u32) -> Argument {
    Argument {
        index,
        mask: !bits,
        value: 0,
    }
}

/// None of these bits may be set.
const fn without(index: u8, bits: i32) -> Argument {
    Argument {
        index,
        mask: bits as u32,
        value: 0,
    }
}

const fn equals(index: u8, value: i32) -> Argument {
    Argument {
        index,
        mask: u32::MAX,
        value: value as u32,
    }
}

/// The flags with which the C library starts a thread, and nothing that makes a process.
const THREAD: u32 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as u32;

/// Memory that can be written or read, never run.
const DATA: u32 = (libc::PROT_READ | libc::PROT_WRITE) as u32;

/// What the workers and the main thread need.
const NEEDED: &[Rule] = &[
    // Connections.
    any(libc::SYS_accept4),
    any(libc::SYS_recvfrom),
    any(libc::SYS_sendto),
    any(libc::SYS_sendmsg),
    any(libc::SYS_shutdown),
    any(libc::SYS_connect),
    any(libc::SYS_getsockname),
    any(libc::SYS_getpeername),
    any(libc::SYS_getsockopt),
    any(libc::SYS_setsockopt),
    any(libc::SYS_splice),
    any(libc::SYS_pipe2),
    only(libc::SYS_socket, &[equals(0, libc::AF_UNIX)]),
    // Listeners that arrive, and how much of a client's output is on its way.
    only(libc::SYS_ioctl, &[equals(1, libc::FIONBIO as i32)]),
    only(libc::SYS_ioctl, &[equals(1, libc::TIOCOUTQ as i32)]),
    any(libc::SYS_recvmsg),
    // Hosts directories.
    any(libc::SYS_openat2),
    any(libc::SYS_fchdir),
    any(libc::SYS_readlinkat),
    any(libc::SYS_fstatfs),
    only(libc::SYS_unshare, &[equals(0, libc::CLONE_FS)]),
    // Waiting.
    any(libc::SYS_epoll_create1),
    any(libc::SYS_epoll_ctl),
    any(libc::SYS_epoll_pwait),
    any(libc::SYS_epoll_pwait2),
    any(libc::SYS_eventfd2),
    any(libc::SYS_ppoll),
    any(libc::SYS_futex),
    any(libc::SYS_clock_gettime),
    any(libc::SYS_restart_syscall),
    // Descriptors: the log, the snapshot, signals.
    any(libc::SYS_read),
    any(libc::SYS_write),
    any(libc::SYS_writev),
    any(libc::SYS_close),
    any(libc::SYS_lseek),
    any(libc::SYS_fstat),
    any(libc::SYS_statx),
    any(libc::SYS_fcntl),
    // Memory.
    only(libc::SYS_mmap, &[at_most(2, DATA)]),
    only(libc::SYS_mprotect, &[at_most(2, DATA)]),
    any(libc::SYS_munmap),
    any(libc::SYS_mremap),
    any(libc::SYS_madvise),
    any(libc::SYS_brk),
    any(libc::SYS_getrandom),
    // Threads: their start and their end. clone3's flags lie in memory: see `OLDER`.
    only(libc::SYS_clone, &[at_most(0, THREAD), equals_thread()]),
    any(libc::SYS_clone3),
    any(libc::SYS_set_robust_list),
    any(libc::SYS_rseq),
    any(libc::SYS_sigaltstack),
    any(libc::SYS_rt_sigprocmask),
    any(libc::SYS_rt_sigreturn),
    any(libc::SYS_sched_getaffinity),
    any(libc::SYS_sched_yield),
    any(libc::SYS_gettid),
    any(libc::SYS_getpid),
    only(libc::SYS_prctl, &[equals(0, libc::PR_SET_NAME)]),
    // Dying: abort(3) sends itself SIGABRT, and the standard library's handler of the other
    // two gives the signal its default action and returns to the faulting instruction. Denied,
    // both would turn in circles for ever instead of making room for a successor.
    only(libc::SYS_tgkill, &[equals(2, libc::SIGABRT)]),
    only(libc::SYS_rt_sigaction, &[equals(0, libc::SIGABRT)]),
    only(libc::SYS_rt_sigaction, &[equals(0, libc::SIGSEGV)]),
    only(libc::SYS_rt_sigaction, &[equals(0, libc::SIGBUS)]),
    any(libc::SYS_exit),
    any(libc::SYS_exit_group),
];

/// Stream sockets and the flags with which the door makes them.
const STREAM: i32 = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

/// What TCP targets need.
const TCP: &[Rule] = &[
    only(
        libc::SYS_socket,
        &[equals(0, libc::AF_INET), equals(1, STREAM)],
    ),
    only(
        libc::SYS_socket,
        &[equals(0, libc::AF_INET6), equals(1, STREAM)],
    ),
];

/// Datagram sockets likewise.
const DATAGRAM: i32 = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

/// What looking names up needs beside [`TCP`]: questions by UDP from a random port, and to
/// hear when the hosts file or resolv.conf is replaced. There is no listen(2), so a bound
/// stream socket is of no use to anybody.
const NAMES: &[Rule] = &[
    // resolv.conf where openat2 is denied: see `resolve::files::open`.
    only(
        libc::SYS_openat,
        &[without(
            2,
            libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE,
        )],
    ),
    only(
        libc::SYS_socket,
        &[equals(0, libc::AF_INET), equals(1, DATAGRAM)],
    ),
    only(
        libc::SYS_socket,
        &[equals(0, libc::AF_INET6), equals(1, DATAGRAM)],
    ),
    any(libc::SYS_bind),
    any(libc::SYS_inotify_init1),
    any(libc::SYS_inotify_add_watch),
    any(libc::SYS_readlinkat),
];

/// What targets in virtual machines need.
const VSOCK: &[Rule] = &[only(
    libc::SYS_socket,
    &[equals(0, libc::AF_VSOCK), equals(1, STREAM)],
)];

/// A thread, not a process.
const fn equals_thread() -> Argument {
    Argument {
        index: 0,
        mask: libc::CLONE_THREAD as u32,
        value: libc::CLONE_THREAD as u32,
    }
}

/// The same under the names that only older processors have.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[Rule] = &[any(libc::SYS_poll), any(libc::SYS_epoll_wait)];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[Rule] = &[];

/// "There is no such call" sends the C library to clone(2), whose flags a filter can read.
const OLDER: &[Rule] = &[any(libc::SYS_clone3)];

/// What nobody but an attacker calls here.
const HOSTILE: &[Rule] = &[
    any(libc::SYS_execve),
    any(libc::SYS_execveat),
    any(libc::SYS_ptrace),
    any(libc::SYS_process_vm_readv),
    any(libc::SYS_process_vm_writev),
    any(libc::SYS_pidfd_getfd),
    any(libc::SYS_bpf),
    any(libc::SYS_perf_event_open),
    any(libc::SYS_userfaultfd),
    any(libc::SYS_io_uring_setup),
    any(libc::SYS_keyctl),
    any(libc::SYS_add_key),
    any(libc::SYS_mount),
    any(libc::SYS_move_mount),
    any(libc::SYS_open_tree),
    any(libc::SYS_pivot_root),
    any(libc::SYS_chroot),
    any(libc::SYS_setns),
    any(libc::SYS_open_by_handle_at),
    any(libc::SYS_init_module),
    any(libc::SYS_finit_module),
    any(libc::SYS_kexec_load),
    any(libc::SYS_setuid),
    any(libc::SYS_setresuid),
    any(libc::SYS_setgid),
    any(libc::SYS_setresgid),
    any(libc::SYS_capset),
];

/// Puts the filters on the calling thread and on all that it starts.
///
/// # Errors
///
/// Those of seccomp(2).
pub fn install(reach: Reach) -> io::Result<()> {
    filter(OLDER, Action::Fail(libc::ENOSYS), Action::Allow)?;
    filter(HOSTILE, Action::Kill, Action::Allow)?;
    let mut rules = [NEEDED, LEGACY].concat();
    if reach.tcp {
        rules.extend_from_slice(TCP);
    }
    if reach.names {
        rules.extend_from_slice(NAMES);
    }
    if reach.vsock {
        rules.extend_from_slice(VSOCK);
    }
    filter(&rules, Action::Allow, Action::Fail(libc::EPERM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_serving_does_not_need_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        // The filter is the thread's own.
        let thread = std::thread::spawn(move || {
            install(Reach::default()).expect("a filter");
            let denied = |result: io::Result<()>| {
                let number = result.expect_err("denied").raw_os_error();
                assert_eq!(number, Some(libc::EPERM));
            };
            denied(File::open("/etc/passwd").map(drop));
            denied(File::create("/tmp/cloister-door-test").map(drop));
            denied(TcpStream::connect(address).map(drop));
            denied(TcpListener::bind("127.0.0.1:0").map(drop));
            denied(std::fs::remove_file("/tmp/cloister-door-test"));
            denied(std::fs::create_dir("/tmp/cloister-door-test"));
            // socketpair(2) is not needed either.
            denied(UnixStream::pair().map(drop));
        });
        thread.join().expect("the thread ends");
    }

    #[test]
    fn a_target_opens_its_own_family_only() {
        let attempt = |family| {
            rustix::net::socket_with(
                family,
                rustix::net::SocketType::STREAM,
                rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC,
                None,
            )
            .map(drop)
        };
        let inside = move |reach: Reach| {
            use rustix::net::AddressFamily as Family;
            let thread = std::thread::spawn(move || {
                install(reach).expect("a filter");
                [
                    Family::UNIX,
                    Family::INET,
                    Family::INET6,
                    Family::VSOCK,
                    Family::NETLINK,
                ]
                .map(|family| attempt(family) != Err(rustix::io::Errno::PERM))
            });
            thread.join().expect("the thread ends")
        };
        let reach = |list| Reach::parse(list).expect("words");
        assert_eq!(inside(reach("")), [true, false, false, false, false]);
        assert_eq!(inside(reach("tcp")), [true, true, true, false, false]);
        assert_eq!(inside(reach("vsock")), [true, false, false, true, false]);
    }

    #[test]
    fn datagrams_and_listeners_stay_closed_with_tcp() {
        let thread = std::thread::spawn(|| {
            install(Reach::parse("tcp").expect("a word")).expect("a filter");
            assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err());
            assert!(TcpListener::bind("127.0.0.1:0").is_err());
        });
        thread.join().expect("the thread ends");
    }

    #[test]
    fn where_names_are_looked_up_files_are_read_and_not_written() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_owned();
        let thread = std::thread::spawn(move || {
            install(Reach::parse("names").expect("a word")).expect("a filter");
            File::open(&path).expect("read");
            let folder = path.parent().expect("a folder");
            for options in [
                File::options().write(true),
                File::options().read(true).write(true),
                File::options().append(true),
                File::options().write(true).truncate(true),
                File::options().write(true).create(true),
            ] {
                let error = options.open(&path).expect_err("denied");
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            }
            assert!(File::create(folder.join("cloister-door-test")).is_err());
        });
        thread.join().expect("the thread ends");
    }

    #[test]
    fn threads_start_and_memory_grows() {
        let thread = std::thread::spawn(|| {
            install(Reach::default()).expect("a filter");
            let inner = std::thread::Builder::new().name("inner".to_owned());
            let inner = inner.spawn(|| vec![1_u8; 8 << 20].len());
            inner.expect("started").join().expect("ended")
        });
        assert_eq!(thread.join().expect("the thread ends"), 8 << 20);
    }
}
