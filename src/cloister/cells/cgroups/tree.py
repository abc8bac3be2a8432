"""Single control groups as folders: made, written, emptied, removed."""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from cloister.cells.cgroups.hierarchies import OWN, Site
from cloister.cells.cgroups.limits import Write

_DOMAIN_FIRST = ("memory", "io", "cpu", "cpuset", "pids")
"""The last three may be enabled beside processes, too. That makes the group the root of
threads, in which no group for processes can be: they are tried when it is known that nobody
is in the way (cgroup-v2.rst, "Threads")."""
_KILL_ATTEMPTS = 100
"""Without a freezer whatever forks is raced with. A bound on `pids` ends the race."""
_ENDING = 0.5
_LOOK = 0.002
"""Seconds: as long, and as often, it is awaited that killed processes end."""


def enable(folder: str, wanted: frozenset[str]) -> frozenset[str]:
    """Have the groups in ``folder``, of version 2, control what is wanted; what they can.

    Raises :class:`OSError` where other processes are in the way.
    """
    if must_be_empty(folder) and str(os.getpid()) in _own_members(folder):
        make_folder(f"{folder}/{OWN}")
        enter(f"{folder}/{OWN}")
    enabled = set()
    for controller in [one for one in _DOMAIN_FIRST if one in wanted]:
        try:
            write(f"{folder}/cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise
            continue
        enabled.add(controller)
    return frozenset(enabled)


def must_be_empty(folder: str) -> bool:
    """Whether a group has no processes of its own while it controls others: so do all of version
    2 but the first one, which has no type (cgroup-v2.rst)."""
    return Path(folder, "cgroup.type").exists()


def enter(folder: str) -> None:
    """Have this process in a group that there is. Raises :class:`OSError`."""
    write(f"{folder}/cgroup.procs", "0")


def _own_members(folder: str) -> list[str]:
    return read(f"{folder}/cgroup.procs").split()


def make_folder(folder: str) -> None:
    """Make a group where there is none, fit to take processes. Raises :class:`OSError`."""
    with contextlib.suppress(FileExistsError):
        Path(folder).mkdir(mode=0o755)
    # A group of version 1 without processors and memory takes no process: cpusets(7).
    parent = os.path.dirname(folder)  # noqa: PTH120 - a text
    for file in ("cpuset.cpus", "cpuset.mems"):
        if Path(folder, "cpuset.sched_load_balance").exists() and not read(f"{folder}/{file}"):
            write(f"{folder}/{file}", read(f"{parent}/{file}"))


def kill_tree(folder: str, site: Site) -> bool:
    """SIGKILL to all in the group and below; whether there were any."""
    found = members(folder)
    if not found:
        return False
    if site.version == 2:
        try:
            write(f"{folder}/cgroup.kill", "1")
        except FileNotFoundError:
            pass  # before Linux 5.14
        else:
            return True
    frozen = "freezer" in site.controllers
    # Nobody forks while nobody runs: what is read is all there is, and no number is another
    # process's meanwhile.
    for attempt in range(_KILL_ATTEMPTS):
        if frozen:
            _freeze(folder)
        found = members(folder)
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if frozen:
            write(f"{folder}/freezer.state", "THAWED")
            return True
        if not found and attempt:
            break
    return True


def _freeze(folder: str) -> None:
    for _ in range(_KILL_ATTEMPTS):
        write(f"{folder}/freezer.state", "FROZEN")
        if read(f"{folder}/freezer.state") == "FROZEN":
            return


def members(folder: str) -> list[int]:
    """The processes in the group and below."""
    found = []
    for place in (Path(folder), *inner(folder)):
        with contextlib.suppress(OSError):
            found += [int(line) for line in read(f"{place}/cgroup.procs").split()]
    return found


def inner(folder: str) -> list[Path]:
    """The groups in a group."""
    try:
        return [path for path in Path(folder).iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []


def remove_tree(folder: str) -> bool:
    """Whether the group and what is below it are gone."""
    for path in inner(folder):
        remove_tree(str(path))
    try:
        Path(folder).rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_trees(folders: Iterable[str], *, killed: bool) -> None:
    """Remove groups and what is below them, as far as nothing is in them. Where something was
    ``killed`` it blocks up to half a second until that has ended: a group goes only once it is
    empty (cgroups(7))."""
    deadline = time.monotonic() + (_ENDING if killed else 0)
    left = [folder for folder in folders if not remove_tree(folder)]
    while left and time.monotonic() < deadline:
        time.sleep(_LOOK)
        left = [folder for folder in left if not remove_tree(folder)]


def top(folder: str) -> str:
    """The hierarchy's first group that can be seen."""
    while Path(folder, "..", "cgroup.procs").exists():
        folder = os.path.dirname(folder)  # noqa: PTH120 - a text
    return folder


def write_all(folder: str, writes: tuple[Write, ...]) -> str:
    """Write a limit; the last file that was written, which is ``folder`` where there is nothing
    to write. Raises :class:`OSError` with the file's name, also where none of the files is
    there."""
    written = folder
    for number, one in enumerate(writes, 1):
        path = f"{folder}/{one.file}"
        try:
            write(path, one.text)
        except FileNotFoundError:
            if not one.optional or (written == folder and number == len(writes)):
                raise
        else:
            written = path
    return written


def write(path: str, text: str) -> None:
    """Write one file of a group. Raises :class:`OSError` with its name."""
    # Not by buffered files: the kernel takes one write(2) as one value.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        error.filename = path
        raise


def read(path: str) -> str:
    """One file of a group, without the line's end."""
    return Path(path).read_text(encoding="ascii").strip()
