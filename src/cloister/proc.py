"""Files of /proc about one process (proc(5)), for everybody who looks at processes.

A process may end at any time, and may be another user's: what reads one file raises
:class:`OSError` then, and the others say what they return instead.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_UNIT = re.compile(r"/([^/]+\.(?:service|socket))(?:/|$)")
_SOCKET = "socket:["
_ESCAPED = re.compile(r"\\([0-7]{3})")


def pids() -> Iterator[int]:
    """Every process of this pid namespace."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - thousands of names, no Path wanted
        if name.isdecimal():
            yield int(name)


def text(pid: int, name: str) -> str:
    """A file. Raises :class:`OSError`."""
    # Thousands of them in one look: no Path is made for each.
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return file.read()


def unescaped(field: str) -> str:
    """A path of ``mountinfo``, which writes blanks and the like as octal numbers."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), field)


def link(pid: int, name: str) -> str | None:
    """Where one of its links points; ``None`` where that may not be seen."""
    try:
        return os.readlink(f"/proc/{pid}/{name}")  # noqa: PTH115
    except OSError:
        return None


def status(pid: int) -> dict[str, str]:
    """The lines of ``status`` by their titles. Raises :class:`OSError`."""
    lines = text(pid, "status").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def namespace(pid: int, name: str) -> int | None:
    """The number of one of its namespaces (namespaces(7)); ``None`` where it may not be seen."""
    try:
        return os.stat(f"/proc/{pid}/ns/{name}").st_ino  # noqa: PTH116
    except OSError:
        return None


def control_groups(pid: int) -> tuple[tuple[str, str], ...]:
    """Controllers, empty for version 2, and the group of each hierarchy (cgroups(7)); empty
    where the process has ended."""
    try:
        lines = text(pid, "cgroup").splitlines()
    except OSError:
        return ()
    fields = (line.split(":", 2) for line in lines)
    return tuple((controllers, path) for _, controllers, path in fields)


def unit(groups: Iterable[tuple[str, str]]) -> str | None:
    """The unit of systemd that control groups are named for."""
    names = [name for _, path in groups for name in _UNIT.findall(path)]
    return names[-1] if names else None


def label(pid: int) -> str | None:
    """Its AppArmor profile or SELinux context; ``None`` where none confines it."""
    try:
        found = text(pid, "attr/current").rstrip("\0\n")
    except OSError:
        return None
    # SELinux has a type for what it leaves alone, AppArmor a word.
    free = not found or found.startswith("unconfined") or ":unconfined_t:" in found
    return None if free else found


def limits(pid: int) -> dict[str, tuple[int, int]] | None:
    """The soft and the hard limit by the titles of ``limits``, -1 for none (getrlimit(2));
    ``None`` where they may not be seen."""
    try:
        lines = text(pid, "limits").splitlines()
    except OSError:
        return None
    found = {}
    for line in lines[1:]:
        # Columns of a fixed width; titles have blanks in them.
        words = line[26:].split()
        soft, hard = (-1 if word == "unlimited" else int(word) for word in words[:2])
        found[line[:26].rstrip()] = (soft, hard)
    return found


def sockets(pid: int) -> Iterator[int]:
    """The inodes of the sockets that it has open, as far as they can be seen."""
    with suppress(OSError):  # gone, or not ours to look into
        for descriptor in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            name = link(pid, f"fd/{descriptor}")
            if name is not None and name.startswith(_SOCKET):
                yield int(name[len(_SOCKET) : -1])


def descendants(pid: int) -> list[int]:
    """A process and all below it, as far as they can be seen (proc_pid_task(5))."""
    found = []
    ahead = [pid]
    while ahead:
        found.append(ahead.pop())
        with suppress(OSError):  # it has ended
            for thread in Path(f"/proc/{found[-1]}/task").iterdir():
                ahead += map(int, (thread / "children").read_text().split())
    return found
