"""Attempts to escape from a default cell, each with the way in which it is verified open.

``escape/escape.c`` makes them. Every attempt is made three times: in a default cell, where it
has to be denied; and where it is said to be open, which is either outside of every cell or in
a cell from which exactly the fence in question is taken away. What this very kernel cannot do
anywhere proves nothing, and is skipped with that reason.
"""

import contextlib
import ctypes
import fcntl
import functools
import os
import socket
import subprocess
import termios
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.cell_spec import HOST_ID, launched
from tests.support.default_cell import Change, specification

from cloister.model.isolation import Bind

SOURCE = Path(__file__).parent / "escape" / "escape.c"
OTHER_ID = HOST_ID + 1
"""Another application's user."""
INHERITED = 87
"""A descriptor that the launcher has and does not hand over."""
KEY = 487_001
"""Of shared memory, semaphores and messages on the host."""
LAUNCHERS_KEY = "cloister-escape"
ABSENT = {
    *("ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"),
    *("EOPNOTSUPP", "ENODEV", "ENXIO", "ENOENT"),
}
"""What an attempt ends with where this kernel, or this machine, does not have its object."""


@dataclass(frozen=True)
class Attempt:
    """One attempt; ``{}`` in a word stands for the scene's folder on the host."""

    group: str
    word: str
    """In the cell."""
    opened: str
    """``root``: outside, as root, with mounts, names, network and System V keys of its own,
    so that the host stays as it is. ``user``: outside, as the cell's own user of the host.
    Otherwise the name of a change in ``CHANGES``, or ``call:NAME``: the filter allows it."""
    outside: str | None = None
    """The word there, where it is another one."""

    @property
    def there(self) -> str:
        return self.outside or self.word


def _without_landlock(made: dict[str, Any]) -> None:
    made["fences"]["landlock"] = None


def _without_network(made: dict[str, Any]) -> None:
    made["namespaces"]["network"] = False


def _without_network_and_scope(made: dict[str, Any]) -> None:
    _without_network(made)
    made["fences"]["landlock"]["abstract_sockets"] = False


def _with_launchers_keyring(made: dict[str, Any]) -> None:
    allow(made, "keyctl")
    made["protections"]["new_keyring"] = False


def _without_filter(made: dict[str, Any]) -> None:
    made["fences"]["system_calls"] = None


def _set_protection(name: str) -> Change:
    def change(made: dict[str, Any]) -> None:
        made["protections"][name] = False

    return change


def _set_bind(destination: str, name: str) -> Change:
    def change(made: dict[str, Any]) -> None:
        for bind in made["filesystem"]["binds"]:
            if bind["destination"] == destination:
                bind[name] = True

    return change


CHANGES: dict[str, Change] = {
    "landlock": _without_landlock,
    "network": _without_network,
    "network and scope": _without_network_and_scope,
    "keyring": _with_launchers_keyring,
    "filter": _without_filter,
    "session": _set_protection("new_session"),
    "descriptors": _set_protection("close_descriptors"),
    "read-only": _set_bind("/shown", "writable"),
    "no execution": _set_bind("/data", "executable"),
}


def allow(made: dict[str, Any], *names: str) -> None:
    """Takes the filter's fence before some calls away."""
    calls = made["fences"]["system_calls"]
    calls["allowed"] += names
    calls["absent"] = [name for name in calls["absent"] if name not in names]


def _calls() -> Iterator[Attempt]:
    for word, call in {
        "keyctl_session": "keyctl",
        "keyctl_join": "keyctl",
        "add_key": "add_key",
        "request_key": "request_key",
        "perf_event": "perf_event_open",
        "userfault": "userfaultfd",
        "io_uring": "io_uring_setup",
        "trace_me": "ptrace",
        "trace_child": "ptrace",
        "read_child": "process_vm_readv",
        "write_child": "process_vm_writev",
        "take_descriptor": "pidfd_getfd",
        "compare": "kcmp",
        "advise_child": "process_madvise",
        "unshare_user": "unshare",
        "unshare_mounts": "unshare",
        "unshare_network": "unshare",
        "unshare_pids": "unshare",
        "unshare_time": "unshare",
        "unshare_cgroups": "unshare",
        "clone_user": "clone",
        "clone3_user": "clone3",
        "no_randomization": "personality",
        "executable_reads": "personality",
        "name_to_handle": "name_to_handle_at",
        "quota": "quotactl",
        "fanotify_own": "fanotify_init",
        "memory_policy": "set_mempolicy",
        "move_pages": "move_pages",
        "gift_pages": "vmsplice",
        "secret_memory": "memfd_secret",
        "list_mounts": "listmount",
        "local_descriptors": "modify_ldt",
    }.items():
        yield Attempt("system calls", word, f"call:{call}")
    for word in ("other_architecture", "x32"):
        yield Attempt("system calls", word, "filter")
    for word in (
        *("bpf_map", "bpf_program", "enter_namespace", "open_by_handle=/usr", "kernel_log"),
        *("fanotify_permission", "accounting", "swap_off", "swap_on", "reboot_key", "host_name"),
        *("domain_name", "time_zone", "adjust_clock", "kexec", "load_module", "unload_module"),
        *("ports", "port_level", "type_into_terminal", "console_selection=/dev/tty0"),
        *("faster", "real_time", "real_time_disk"),
    ):
        yield Attempt("system calls", word, "root")


def _mounts() -> Iterator[Attempt]:
    for word in (
        *("mount_memory=/tmp", "mount_bind=/usr", "mount_proc=/tmp", "remount_writable=/usr"),
        *("unmount=/proc", "change_root=/usr", "open_tree_clone=/usr", "new_file_system"),
        *("pick_file_system", "move_mount_here=/usr", "mount_attributes=/usr"),
        # It takes the root away from those that follow.
        "pivot=/tmp",
    ):
        yield Attempt("mounts", word, "root")


def _sockets() -> Iterator[Attempt]:
    for name in (
        *("40,1,0", "40,2,0"),  # vsock
        *("16,3,4", "16,3,6", "16,3,9", "16,3,12", "16,3,15", "16,3,16"),  # netlink
        *("38,5,0", "30,1,0", "31,3,1", "29,3,1", "21,5,0", "26,1,0", "42,2,0", "43,1,0"),
        *("2,1,262", "10,1,262", "2,1,132", "2,2,136"),  # MPTCP, SCTP, UDP-Lite
    ):
        yield Attempt("sockets", f"socket_of={name}", "call:socket")
    # Packets, raw IPv4 and IPv6, keys, XDP.
    for name in ("17,3,768", "17,2,768", "2,3,1", "2,3,255", "10,3,58", "15,3,2", "44,3,0"):
        yield Attempt("sockets", f"socket_of={name}", "root")
    yield Attempt("sockets", "abstract_socket={abstract}", "network and scope")
    yield Attempt("sockets", "loopback_port={port}", "network")
    yield Attempt("sockets", "path_socket={}/socket", "user")
    for word in ("privileged_port", "transparent", "mark", "interface_down"):
        yield Attempt("sockets", word, "root")


def _processes() -> Iterator[Attempt]:
    for word in (
        *("signal_to", "handle_of", "limits_of", "priority_of", "affinity_of", "trace_process"),
    ):
        yield Attempt("processes", f"{word}={{victim}}", "user")
    # Process 1 is the cell's own init, which has the application's user.
    yield Attempt("processes", "signal_to=1", "landlock")
    yield Attempt("processes", f"inherited={INHERITED}", "descriptors")
    yield Attempt("processes", f"launchers_key={LAUNCHERS_KEY}", "keyring")
    yield Attempt("processes", "launchers_terminal", "session")


def _users() -> Iterator[Attempt]:
    for word in (
        *("become_root", "become_group", "become_other", "take_groups"),
        *("take_capability", "secure_bits"),
    ):
        yield Attempt("users", word, "root")
    yield Attempt(
        "users",
        "run_set_user_id=/shown/set-user-id",
        "user",
        "run_set_user_id={}/shown/set-user-id",
    )


def _of_another(word: str) -> str:
    """The same of a process of the host's root: its process 1 may have capabilities that the
    tests' root lacks, and is then nobody's to look into."""
    return word.replace("/proc/1/", "/proc/{tests}/")


def _files() -> Iterator[Attempt]:
    for path in ("/etc/shadow", "{}/private/secret", "/proc/1/root/etc/shadow"):
        yield Attempt("files", f"read_file={path}", "root", _of_another(f"read_file={path}"))
    yield Attempt("files", "read_file={}/secret", "user")
    yield Attempt("files", "list_folder={}", "user")
    yield Attempt("files", "make_file=/shown", "read-only")
    yield Attempt("files", "run_file=/data/program", "no execution")
    for path in ("/usr", "/etc", "/dev", "/"):
        yield Attempt("files", f"make_file={path}", "root")


def _kernel_files() -> Iterator[Attempt]:
    for path in (
        *("kcore", "kallsyms", "keys", "key-users", "timer_list", "iomem", "slabinfo", "modules"),
        *("interrupts", "cmdline", "config.gz", "version", "meminfo", "partitions", "1/environ"),
        *("1/maps", "sys/kernel/random/boot_id"),
    ):
        word = f"read_file=/proc/{path}"
        yield Attempt("proc and sys", word, "root", _of_another(word))
    yield Attempt("proc and sys", "open_to_read=/proc/kmsg", "root")
    for path in (
        *("kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "kernel/sysrq"),
        *("vm/overcommit_memory", "net/ipv4/ip_forward", "fs/binfmt_misc/register"),
    ):
        yield Attempt("proc and sys", f"open_to_write=/proc/sys/{path}", "root")
    yield Attempt("proc and sys", "open_to_write=/proc/sysrq-trigger", "root")
    for path in ("1/fd", "1/task", "bus", "fs", "irq", "sys"):
        word = f"list_folder=/proc/{path}"
        yield Attempt("proc and sys", word, "root", _of_another(word))
    for path in ("1/exe", "1/root", "1/cwd", "1/ns/mnt", "1/ns/user"):
        word = f"follow_link=/proc/{path}"
        yield Attempt("proc and sys", word, "root", _of_another(word))
    for path in ("", "/kernel/debug", "/fs/cgroup", "/firmware", "/kernel/security", "/module"):
        yield Attempt("proc and sys", f"list_folder=/sys{path}", "root")
    for path in (
        *("kernel/uevent_helper", "power/state", "kernel/profiling"),
        *(
            "fs/cgroup/memory/release_agent",
            "fs/cgroup/pids/cgroup.procs",
            "fs/cgroup/cgroup.procs",
        ),
    ):
        yield Attempt("proc and sys", f"open_to_write=/sys/{path}", "root")


def _devices() -> Iterator[Attempt]:
    for name in (
        *("mem", "port", "kmsg", "vda", "sda", "loop-control", "fuse", "net/tun", "kvm", "tty0"),
        *("userfaultfd", "vsock", "hwrng", "btrfs-control", "ttyS0", "cpu_dma_latency"),
    ):
        yield Attempt("devices", f"open_to_read=/dev/{name}", "root")
    yield Attempt("devices", "open_to_read=/shown/device", "root", "open_to_read={}/shown/device")
    yield Attempt("devices", "character_device=/tmp", "root")
    yield Attempt("devices", "block_device=/tmp", "root")


def _shared() -> Iterator[Attempt]:
    for word in ("shared_memory", "semaphores", "message_queue"):
        yield Attempt("shared by name", f"{word}={KEY}", "user")
    yield Attempt("shared by name", "posix_queue=/cloister-escape", "user")


ATTEMPTS = [
    *(attempt for make in (_calls, _sockets, _processes, _users, _files) for attempt in make()),
    *(attempt for make in (_kernel_files, _devices, _shared, _mounts) for attempt in make()),
]


def build(folder: Path) -> Path:
    """The program, statically linked, executable by everybody."""
    program = folder / "escape"
    command = ["gcc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE]
    subprocess.run(command, check=True, timeout=120)
    program.chmod(0o755)
    return program


@dataclass
class Scene:
    """What there is on the host to be reached, and the runs of the program."""

    folder: Path
    program: Path
    names: dict[str, str] = field(default_factory=dict)
    terminal: int = -1

    def say(self, word: str) -> str:
        return word.format(str(self.folder), **self.names)

    def specification(self, words: Sequence[str]) -> dict[str, Any]:
        """A default cell, as the configuration makes it without a line on fences."""
        made = specification(
            "/escape/escape",
            *map(self.say, words),
            binds=(
                Bind(str(self.program.parent), "/escape"),
                Bind(str(self.folder / "shown"), "/shown"),
                Bind(str(self.folder / "data"), "/data", writable=True, executable=False),
            ),
        )
        # Read before the session is changed: /dev/tty is asked for by its own name.
        made["stdin"] = "inherit"
        return made

    def in_cell(self, words: Sequence[str], change: Change | None = None) -> dict[str, str]:
        made = self.specification(words)
        if change is not None:
            change(made)
        keywords: dict[str, Any] = {"stdin": self.terminal, "preexec_fn": self._launcher}
        with launched(made, pass_fds=[INHERITED], **keywords) as cell:
            failure = cell.failure()
            assert failure is None, failure
            status = cell.finish(60)
        assert status == 0, status
        return _outcomes(words, cell.output.decode())

    def _launcher(self) -> None:
        """What the launcher has that the application must not get: a terminal and a key."""
        os.setsid()
        fcntl.ioctl(self.terminal, termios.TIOCSCTTY, 0)
        libc = ctypes.CDLL(None)
        libc.syscall(250, 1, None)  # keyctl(KEYCTL_JOIN_SESSION_KEYRING)
        libc.syscall(248, b"user", LAUNCHERS_KEY.encode(), b"x", 1, -3)  # add_key(2)

    def outside(self, words: Sequence[str], user: int | None) -> dict[str, str]:
        command = [str(self.program), *map(self.say, words)]
        if user is None:
            command = ["unshare", "--mount", "--uts", "--ipc", "--net", *command]
        done = subprocess.run(
            command,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=60,
            check=True,
        )
        return _outcomes(words, done.stdout)

    @functools.cached_property
    def inside(self) -> dict[str, str]:
        """Every attempt in the default cell."""
        return self.in_cell([attempt.word for attempt in ATTEMPTS])

    @functools.cached_property
    def opened(self) -> dict[Attempt, str]:
        """Every attempt where it is said to be open; those that share a place in one run."""
        found: dict[Attempt, str] = {}
        for opened in dict.fromkeys(attempt.opened for attempt in ATTEMPTS):
            those = [attempt for attempt in ATTEMPTS if attempt.opened == opened]
            words = [attempt.there for attempt in those]
            if opened in ("root", "user"):
                outcomes = self.outside(words, None if opened == "root" else HOST_ID)
            elif opened.startswith("call:"):
                call = opened.removeprefix("call:")
                outcomes = self.in_cell(words, lambda made, call=call: allow(made, call))
            else:
                outcomes = self.in_cell(words, CHANGES[opened])
            found |= {attempt: outcomes[attempt.there] for attempt in those}
        return found


def _outcomes(words: Sequence[str], output: str) -> dict[str, str]:
    lines = [line.split("\t") for line in output.splitlines()]
    assert len(lines) == len(words), output
    return {word: outcome for word, (_, outcome) in zip(words, lines, strict=True)}


@contextlib.contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Everything on the host that the attempts are after. ``folder`` can be entered by all."""
    shown, data, private = (folder / name for name in ("shown", "data", "private"))
    (folder / "program").mkdir(mode=0o755)
    program = build(folder / "program")
    for made, owner in ((shown, HOST_ID), (data, HOST_ID), (private, OTHER_ID)):
        made.mkdir(mode=0o700 if made is private else 0o755)
        os.chown(made, owner, owner)
    for secret in (folder / "secret", private / "secret"):
        secret.write_text("correct horse")
    os.chown(private / "secret", OTHER_ID, OTHER_ID)
    (data / "program").write_bytes(program.read_bytes())
    (data / "program").chmod(0o755)
    (shown / "set-user-id").write_bytes(program.read_bytes())
    (shown / "set-user-id").chmod(0o4755)
    os.mknod(shown / "device", 0o20666, os.makedev(1, 3))
    (shown / "device").chmod(0o666)
    libc = ctypes.CDLL(None)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o777)
        listener.listen()
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0cloister-escape-{os.getpid()}")
        abstract.listen()
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        victim = subprocess.Popen(["sleep", "600"], user=HOST_ID, group=HOST_ID, extra_groups=[])
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        create = 0o1000
        memory = libc.shmget(KEY, 4096, create | 0o666)
        stack.callback(libc.shmctl, memory, 0, None)
        semaphores = libc.semget(KEY, 1, create | 0o666)
        stack.callback(libc.semctl, semaphores, 0, 0)
        messages = libc.msgget(KEY, create | 0o666)
        stack.callback(libc.msgctl, messages, 0, None)
        queue = libc.mq_open(b"/cloister-escape", os.O_CREAT | os.O_RDWR, 0o666, None)
        os.fchmod(queue, 0o666)
        stack.callback(libc.mq_unlink, b"/cloister-escape")
        stack.callback(os.close, queue)
        end, other = os.pipe()
        os.dup2(end, INHERITED)
        for descriptor in (end, other, INHERITED):
            stack.callback(os.close, descriptor)
        master, slave = os.openpty()
        stack.callback(os.close, master)
        stack.callback(os.close, slave)
        os.fchmod(slave, 0o666)
        names = {
            "abstract": f"cloister-escape-{os.getpid()}",
            "port": str(tcp.getsockname()[1]),
            "tests": str(os.getpid()),
            "victim": str(victim.pid),
        }
        yield Scene(folder, program, names, slave)
