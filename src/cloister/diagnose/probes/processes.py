"""Processes of this host, as rules ask about them."""

import os
from contextlib import suppress
from pathlib import Path

from cloister import proc
from cloister.cells.cgroups.hierarchies import bounding, mounted
from cloister.diagnose.facts import Credentials, Limit, Namespaces, Process
from cloister.mounts import Mount, of_process


def process_name(pid: int) -> str | None:
    """``comm``; ``None`` where it has ended."""
    try:
        return proc.text(pid, "comm").rstrip("\n")
    except OSError:
        return None


def process(pid: int) -> Process | None:
    """What one process is; ``None`` where it has ended."""
    try:
        status = proc.status(pid)
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
            mount=proc.namespace(pid, "mnt"),
            network=proc.namespace(pid, "net"),
            user=proc.namespace(pid, "user"),
        ),
        root=proc.link(pid, "root"),
        folder=proc.link(pid, "cwd"),
        unit=proc.unit(proc.control_groups(pid)),
        label=proc.label(pid),
    )


def mounts(pid: int) -> tuple[Mount, ...]:
    """The mounts of a process's view, in the order in which they cover each other."""
    with suppress(OSError):
        return of_process(pid)
    return ()


def open_files(pid: int) -> Limit | None:
    """Descriptors and their limit."""
    known = proc.limits(pid)
    if known is None:
        return None
    limits = known["Max open files"]
    try:
        used = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    except OSError:
        used = None
    return Limit(*limits, used)


def user_processes(pid: int) -> Limit | None:
    """Threads of the process's user, which RLIMIT_NPROC counts (getrlimit(2))."""
    known, one = proc.limits(pid), process(pid)
    if known is None or one is None:
        return None
    limits = known["Max processes"]
    # proc_loadavg(5): "0.20 0.18 0.12 1/80 11206" has all threads of the host. Where even
    # they are fewer, nobody's need be counted.
    everybody = int(Path("/proc/loadavg").read_text("ascii").split()[3].partition("/")[2])
    if limits[0] < 0 or everybody < limits[0]:
        return Limit(*limits, None)
    used = 0
    for other in proc.pids():
        with suppress(OSError, KeyError, ValueError):
            if Path(f"/proc/{other}").stat().st_uid == one.credentials.uid:
                used += len(os.listdir(f"/proc/{other}/task"))  # noqa: PTH208
    return Limit(*limits, used)


def group_processes(pid: int) -> tuple[str, Limit] | None:
    """The control group of ``pid`` that has the fewest tasks left, as a folder, with its bound
    (cgroups(7)); ``None`` where none bounds them."""
    places = mounted(proc.text(os.getpid(), "mountinfo"))
    above = bounding(places, proc.control_groups(pid))
    found = []
    for folder in (*above.get("", ()), *above.get("pids", ())):
        with suppress(OSError, ValueError):  # "max", or no such controller here
            limit = int(Path(folder, "pids.max").read_text("ascii"))
            used = int(Path(folder, "pids.current").read_text("ascii"))
            found.append((folder, Limit(limit, -1, used)))
    return min(found, key=lambda one: one[1].soft - (one[1].used or 0), default=None)


def networks(besides: int | None) -> tuple[int, ...]:
    """One process of each network namespace but that one."""
    found: dict[int, int] = {}
    for pid in proc.pids():
        number = proc.namespace(pid, "net")
        if number is not None and number != besides:
            found.setdefault(number, pid)
    return tuple(found.values())


def socket_holders() -> dict[int, tuple[int, ...]]:
    """Which processes hold which socket, by its inode. Looks at every descriptor that this
    process may see: some hundred milliseconds on a busy host."""
    found: dict[int, list[int]] = {}
    for pid in sorted(proc.pids()):
        for inode in set(proc.sockets(pid)):
            found.setdefault(inode, []).append(pid)
    return {inode: tuple(pids) for inode, pids in found.items()}


def _command(pid: int) -> tuple[str, ...]:
    try:
        return tuple(proc.text(pid, "cmdline").rstrip("\0").split("\0"))
    except OSError:
        return ()
