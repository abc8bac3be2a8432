"""What applications use of the machine, read from the kernel's own counters, again and again.

Of an application with control groups their files are kept open and read at their start each
time, which is a fifth of the price of opening them. Of one without, the processes below its
cells are added up, as proc(5) shows them: what has ended and was reaped inside is then counted
with its parent, and its memory's shared pages once for each process.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cloister.apps.brief import AppBrief
from cloister.cells.cgroups.counters import COUNTERS, USAGE, pairs, read
from cloister.processes import raise_descriptor_limit

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_SPARE = 128
"""Descriptors that are left for everything else."""
_ABSENT = -1
"""Instead of a descriptor: there is no such file."""
_LONGEST = 64 * 1024
"""Bytes of a counter's file."""
_HERE = (
    *("cpu_seconds", "memory_bytes", "io_read_bytes", "io_write_bytes"),
    *("tasks", "throttled_seconds", "oom_kills"),
)
_SOURCES = {
    version: {
        name: one for name, one in {**USAGE[version], **COUNTERS[version]}.items() if name in _HERE
    }
    for version in USAGE
}
"""Those of the kernel's counters that are looked at again and again."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one application has used and uses; ``None`` where nothing counts it."""

    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    tasks: int | None = None
    """Processes and threads."""
    throttled_seconds: float | None = None
    oom_kills: int | None = None


class UsageReader:
    """Reads; holds descriptors until :meth:`close`."""

    def __init__(self) -> None:
        self._room = raise_descriptor_limit() - _SPARE
        self._files: dict[str, dict[str, int]] = {}
        self._open = 0

    def close(self) -> None:
        """Close every file."""
        for folder in list(self._files):
            self._forget(folder)

    def read_all(self, apps: Iterable[AppBrief]) -> dict[str, Usage]:
        """What each uses, by its name. What cannot be read is not known."""
        apps = tuple(apps)
        found = {app.name: self.read(app) for app in apps}
        folders = {folder for app in apps for folder, _ in app.groups}
        for gone in self._files.keys() - folders:
            self._forget(gone)
        return found

    def read(self, app: AppBrief) -> Usage:
        """What one uses."""
        if not app.groups:
            return processes_below(app.pids)
        found: dict[str, float | int] = {}
        for folder, version in app.groups:
            found.update(read(_SOURCES[version], partial(self._text, folder)))
        return Usage(**found)  # type: ignore[arg-type]

    def _forget(self, folder: str) -> None:
        for descriptor in self._files.pop(folder).values():
            if descriptor != _ABSENT:
                os.close(descriptor)
                self._open -= 1

    def _text(self, folder: str, name: str) -> str | None:
        files = self._files.setdefault(folder, {})
        descriptor = files.get(name)
        if descriptor == _ABSENT:
            return None
        try:
            if descriptor is not None:
                return os.pread(descriptor, _LONGEST, 0).decode("ascii")
            descriptor = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            files[name] = _ABSENT  # a controller that is not here has no files here
            return None
        except OSError:
            # ENODEV: the group was removed, and perhaps made again since.
            self._forget(folder)
            return None
        if self._open < self._room:
            files[name] = descriptor
            self._open += 1
            return self._text(folder, name)
        with contextlib.closing(os.fdopen(descriptor)) as file:
            return file.read(_LONGEST)


def processes_below(pids: Iterable[int]) -> Usage:
    """The sum over these processes and all below them."""
    cpu, memory, read, written, tasks, known = 0.0, 0, 0, 0, 0, False
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        try:
            # proc_pid_stat(5); the name in brackets may hold anything.
            stat = (
                Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
            )
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
        except OSError:
            continue
        known = True
        waiting += map(int, children.split())
        cpu += sum(map(int, stat[11:15])) / _TICK
        tasks += int(stat[17])
        memory += int(stat[21]) * _PAGE
        with contextlib.suppress(OSError):
            io = pairs(Path(f"/proc/{pid}/io").read_text("ascii").replace(":", ""))
            read += io["read_bytes"]
            written += io["write_bytes"]
    if not known:
        return Usage()
    return Usage(cpu, memory, read, written, tasks)
