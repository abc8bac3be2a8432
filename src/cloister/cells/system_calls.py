"""The profiles of system calls, and the filter that an application gets.

``default`` is what CPython, Go, Node, PHP, nginx and static C programs need, and no more. Left
out is what a server never calls and what faults of the kernel were reached through: namespaces,
mounts, keys, tracing, eBPF, io_uring, userfaultfd, perf, modules, clocks, quotas, file handles.
What is refused to everybody by missing capabilities as well is left out all the same: two
fences are two faults to find.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from cloister.cells.spec import Condition, ConditionalCall, Differs, Equal, SystemCalls
from cloister.model.fences import Fences, FilterProfile
from cloister.model.system_calls import expand

_FILES = """
    access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat
    faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl
    fdatasync fgetxattr file_getattr flistxattr flock fremovexattr fsetxattr fstat fstatfs fsync
    ftruncate futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch lchown lgetxattr link linkat listxattr
    listxattrat llistxattr lremovexattr lseek lsetxattr lstat memfd_create mkdir mkdirat
    newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2
    read readahead readlink readlinkat readv removexattr removexattrat rename renameat renameat2
    rmdir sendfile setxattr setxattrat splice stat statfs statx symlink symlinkat sync
    sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes write
    writev
"""
_WAITING = """
    alarm clock_getres clock_gettime clock_nanosleep epoll_create epoll_create1 epoll_ctl
    epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 futex
    futex_requeue futex_wait futex_waitv futex_wake getitimer gettimeofday io_cancel io_destroy
    io_getevents io_pgetevents io_setup io_submit nanosleep pause poll ppoll pselect6
    restart_syscall select setitimer signalfd signalfd4 time timer_create timer_delete
    timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
    times
"""
_MEMORY = """
    brk cachestat madvise map_shadow_stack membarrier mincore mlock mlock2 mlockall mmap
    mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
    remap_file_pages
"""
_PROCESSES = """
    arch_prctl capget capset execve execveat exit exit_group fork get_robust_list
    get_thread_area getcpu getegid geteuid getgid getgroups getpgid getpgrp getpid getppid
    getpriority getrandom getresgid getresuid getrlimit getrusage getsid gettid getuid
    ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self pidfd_open pidfd_send_signal prctl prlimit64 rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp set_robust_list
    set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setpgid setpriority
    setregid setresgid setresuid setreuid setrlimit setsid setuid sigaltstack sysinfo tgkill
    tkill uname vfork wait4 waitid
"""
_SOCKETS = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg
    recvmsg sendmmsg sendmsg sendto setsockopt shutdown
"""
_MESSAGES = """
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv
    msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget
"""

_NAMESPACES = 0x7E02_0000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (linux/sched.h)."""
_NEWTIME = 0x80
"""Shares its bit with clone(2)'s exit signal: only unshare(2) and clone3(2) have it."""
_ALL = 0xFFFF_FFFF
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_UNIX, _INET, _NETLINK, _INET6 = 1, 2, 16, 10
_SOCK_TYPE = 0xF
_STREAM, _DGRAM = 1, 2
_TCP, _UDP = 6, 17
_ROUTE = 0
_IFMT = 0o170000
_FIFO, _REGULAR, _SOCKET = 0o010000, 0o100000, 0o140000
_QUERY = 0xFFFF_FFFF
"""personality(2): says what is, and changes nothing."""
_EXECUTE = 4
_WRITE_AND_EXECUTE = 6
_ANONYMOUS = 0x20
"""mmap(2): memory that is no file's."""


def _is(argument: int, value: int) -> Condition:
    return Equal(argument, _ALL, value)


def _when(name: str, *conditions: Condition) -> ConditionalCall:
    return ConditionalCall(name, conditions)


def _not_a_device(name: str, argument: int) -> list[ConditionalCall]:
    kinds = (0, _FIFO, _REGULAR, _SOCKET)
    return [_when(name, Equal(argument, _IFMT, kind)) for kind in kinds]


_ALWAYS = (
    # Processes and threads, in the namespaces that are there.
    _when("clone", Equal(0, _NAMESPACES, 0)),
    _when("unshare", Equal(0, _NAMESPACES | _NEWTIME, 0)),
    # Everything but typing into a terminal and console selections, which are typing too.
    _when("ioctl", Differs(1, _TIOCSTI), Differs(1, _TIOCLINUX)),
    *_not_a_device("mknod", 1),
    *_not_a_device("mknodat", 2),
    _when("personality", _is(0, 0)),
    _when("personality", _is(0, _QUERY)),
    _when("socket", _is(0, _UNIX)),
    _when("socketpair", _is(0, _UNIX)),
)

_NETWORK = (
    # Not the protocols beside TCP and UDP: the kernel would load their modules.
    *(
        _when("socket", _is(0, family), Equal(1, _SOCK_TYPE, kind), _is(2, protocol))
        for family in (_INET, _INET6)
        for kind, protocol in ((_STREAM, 0), (_STREAM, _TCP), (_DGRAM, 0), (_DGRAM, _UDP))
    ),
    # getifaddrs(3) and the C library's getaddrinfo(3) ask for the addresses that there are.
    _when("socket", _is(0, _NETLINK), _is(2, _ROUTE)),
)

_IN_ITS_PROJECT = (Differs(1, 0x401C_5820), Differs(1, 0x4008_6602))
"""ioctl(2) without FS_IOC_FSSETXATTR, which sets a file's project, and FS_IOC_SETFLAGS, by which
a folder no longer hands its own on."""

_NO_CODE_IN_MEMORY = (
    # Memory is written to or executed, never both, and what was written to is not made
    # executable: no code but that of files.
    _when("mmap", Equal(2, _EXECUTE, 0)),
    _when("mmap", Equal(2, _WRITE_AND_EXECUTE, _EXECUTE), Equal(3, _ANONYMOUS, 0)),
    _when("mprotect", Equal(2, _EXECUTE, 0)),
)

_NOT_STRICT = frozenset(
    f"""
    chown fchown fchownat lchown memfd_create mmap mprotect pkey_mprotect remap_file_pages
    {_MESSAGES}
    """.split()
)

_ABSENT = ("clone3", "io_uring_enter", "io_uring_register", "io_uring_setup", "keyctl")
"""clone3's flags lie in memory, where no filter looks: the C library takes clone(2) where there
is none. The others are what libraries try first, and have another way for."""


@cache
def _profile(profile: FilterProfile) -> tuple[frozenset[str], tuple[ConditionalCall, ...]]:
    lists = (_FILES, _WAITING, _MEMORY, _PROCESSES, _SOCKETS, _MESSAGES)
    allowed = frozenset(name for text in lists for name in text.split())
    if profile is FilterProfile.STRICT:
        return allowed - _NOT_STRICT, (*_ALWAYS, *_NO_CODE_IN_MEMORY)
    return allowed, (*_ALWAYS, *_NETWORK)


def system_calls(fences: Fences, *, keeps_projects: bool = False) -> SystemCalls | None:
    """The filter that ``fences`` ask for; ``None`` for no filter at all. ``keeps_projects``
    says whether files have to stay in their project (:mod:`cloister.model.disk`)."""
    if fences.profile is FilterProfile.NONE:
        return None
    allowed, conditional = _profile(fences.profile)
    added = frozenset(call for name in fences.allow for call in expand(name))
    allowed |= added
    if keeps_projects:
        conditional = tuple(
            replace(one, conditions=(*one.conditions, *_IN_ITS_PROJECT))
            if one.name == "ioctl"
            else one
            for one in conditional
        )
    return SystemCalls(
        profile=_title(fences),
        allowed=tuple(sorted(allowed)),
        conditional=tuple(call for call in conditional if call.name not in allowed),
        absent=tuple(name for name in _ABSENT if name not in added),
    )


def _title(fences: Fences) -> str:
    return " + ".join((fences.profile.value, *fences.allow))


def describe(calls: SystemCalls) -> Iterable[str]:
    """The whole filter, a line for each kind of answer."""
    yield "any arguments: " + ", ".join(calls.allowed)
    for call in calls.conditional:
        yield f"{call.name}, where " + " and ".join(map(_condition, call.conditions))
    yield "as if not there (ENOSYS): " + ", ".join(calls.absent)
    yield "all others: refused (EPERM); those of another architecture: the process is killed"


def _condition(condition: Condition) -> str:
    match condition:
        case Equal(argument, mask, value) if mask == _ALL:
            return f"argument {argument} is {value:#x}"
        case Equal(argument, mask, value):
            return f"argument {argument} has {value:#x} of the bits {mask:#x}"
        case Differs(argument, value):
            return f"argument {argument} is not {value:#x}"
