"""Processes as /proc shows them (proc(5))."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cloister.diagnose.facts import Credentials, Limit, Mount, Namespaces, Process

_UNIT = re.compile(r"/([^/]+\.(?:service|socket))(?:/|$)")
_OCTAL = re.compile(r"\\([0-7]{3})")
_UNLIMITED = "unlimited"


def process_ids() -> Iterator[int]:
    """Every process of this pid namespace."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - thousands of names, no Path wanted
        if name.isdecimal():
            yield int(name)


def process_name(pid: int) -> str | None:
    """``comm``; ``None`` where it has ended."""
    try:
        return _text(pid, "comm").rstrip("\n")
    except OSError:
        return None


def process(pid: int) -> Process | None:
    """What one process is; ``None`` where it has ended."""
    try:
        status = dict(
            line.split(":\t", 1) for line in _text(pid, "status").splitlines() if ":\t" in line
        )
        uid = int(status["Uid"].split()[1])
        gid = int(status["Gid"].split()[1])
    except (OSError, KeyError):
        return None
    return Process(
        pid=pid,
        name=status["Name"],
        command=_command(pid),
        parent=int(status["PPid"]),
        state=status["State"][:1],
        credentials=Credentials(
            uid=uid,
            gid=gid,
            groups=frozenset(int(group) for group in status["Groups"].split()),
            capabilities=int(status["CapEff"], 16),
        ),
        namespaces=Namespaces(
            mount=_namespace(pid, "mnt"),
            network=_namespace(pid, "net"),
            user=_namespace(pid, "user"),
        ),
        root=_link(pid, "root"),
        folder=_link(pid, "cwd"),
        unit=_unit(pid),
        label=_label(pid),
    )


def mounts(pid: int) -> tuple[Mount, ...]:
    """The mounts of a process's view, in the order in which they cover each other."""
    found = []
    with suppress(OSError):
        for line in _text(pid, "mountinfo").splitlines():
            fields = line.split(" ")
            kind = fields[fields.index("-") + 1]
            major, minor = fields[2].split(":")
            device = os.makedev(int(major), int(minor))
            found.append(Mount(_plain(fields[4]), _plain(fields[3]), kind, device))
    return tuple(found)


def open_files(pid: int) -> Limit | None:
    """Descriptors and their limit."""
    limits = _limits(pid, "Max open files")
    if limits is None:
        return None
    try:
        used = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    except OSError:
        used = None
    return Limit(*limits, used)


def user_processes(pid: int) -> Limit | None:
    """Threads of the process's user, which RLIMIT_NPROC counts (getrlimit(2))."""
    limits = _limits(pid, "Max processes")
    one = process(pid)
    if limits is None or one is None:
        return None
    # proc_loadavg(5): "0.20 0.18 0.12 1/80 11206" has all threads of the host. Where even
    # they are fewer, nobody's need be counted.
    everybody = int(Path("/proc/loadavg").read_text("ascii").split()[3].partition("/")[2])
    if limits[0] < 0 or everybody < limits[0]:
        return Limit(*limits, None)
    used = 0
    for other in process_ids():
        with suppress(OSError, KeyError, ValueError):
            if Path(f"/proc/{other}").stat().st_uid == one.credentials.uid:
                used += len(os.listdir(f"/proc/{other}/task"))  # noqa: PTH208
    return Limit(*limits, used)


def group_processes(pid: int) -> tuple[str, Limit] | None:
    """The control group of ``pid`` that has the fewest tasks left, as a folder, with its bound
    (cgroups(7)); ``None`` where none bounds them."""
    found: list[tuple[str, Limit]] = []
    with suppress(OSError):
        for line in _text(pid, "cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "pids"):
                base = "/sys/fs/cgroup/pids" if controllers else "/sys/fs/cgroup"
                found += _bounded_groups(base, path)
    return min(found, key=lambda one: one[1].soft - (one[1].used or 0), default=None)


def _bounded_groups(base: str, path: str) -> Iterator[tuple[str, Limit]]:
    while path not in ("/", ""):
        folder = Path(base + path)
        with suppress(OSError, ValueError):  # "max", or another file system
            limit = int((folder / "pids.max").read_text("ascii"))
            used = int((folder / "pids.current").read_text("ascii"))
            yield str(folder), Limit(limit, -1, used)
        path = path.rpartition("/")[0]


def networks(besides: int | None) -> tuple[int, ...]:
    """One process of each network namespace but that one."""
    found: dict[int, int] = {}
    for pid in process_ids():
        number = _namespace(pid, "net")
        if number is not None and number != besides:
            found.setdefault(number, pid)
    return tuple(found.values())


def socket_holders() -> dict[int, tuple[int, ...]]:
    """Which processes hold which socket, by its inode. Looks at every descriptor that this
    process may see: some hundred milliseconds on a busy host."""
    found: dict[int, list[int]] = {}
    for pid in sorted(process_ids()):
        for inode in _sockets(pid):
            found.setdefault(inode, []).append(pid)
    return {inode: tuple(pids) for inode, pids in found.items()}


def _sockets(pid: int) -> set[int]:
    found = set()
    with suppress(OSError):  # gone, or not ours to look into
        for descriptor in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            with suppress(OSError):
                name = os.readlink(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH115
                if name.startswith("socket:["):
                    found.add(int(name[8:-1]))
    return found


def _text(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")


def _link(pid: int, name: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/{name}")  # noqa: PTH115
    except OSError:
        return None


def _command(pid: int) -> tuple[str, ...]:
    try:
        return tuple(_text(pid, "cmdline").rstrip("\0").split("\0"))
    except OSError:
        return ()


def _namespace(pid: int, name: str) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/{name}").stat().st_ino
    except OSError:
        return None


def _unit(pid: int) -> str | None:
    """From the control group's path, where systemd names units."""
    try:
        names = _UNIT.findall(_text(pid, "cgroup"))
    except OSError:
        return None
    return names[-1] if names else None


def _label(pid: int) -> str | None:
    try:
        text = _text(pid, "attr/current").rstrip("\0\n")
    except OSError:
        return None
    return None if text in ("", "unconfined") else text


def _limits(pid: int, title: str) -> tuple[int, int] | None:
    try:
        lines = _text(pid, "limits").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(title):
            soft, hard = line[len(title) :].split()[:2]
            return (
                -1 if soft == _UNLIMITED else int(soft),
                -1 if hard == _UNLIMITED else int(hard),
            )
    return None


def _plain(text: str) -> str:
    """mountinfo writes blanks and the like as octal numbers."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
