"""What applications use of the machine, read from the kernel's own counters, again and again.

Of an application with control groups their files are kept open and read at their start each
time, which is a fifth of the price of opening them. Of one without, the processes below its
cells are added up, as proc(5) shows them: what has ended and was reaped inside is then counted
with its parent, and its memory's shared pages once for each process.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister.apps.brief import AppBrief
from cloister.processes import raise_descriptor_limit

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_SPARE = 128
"""Descriptors that are left for everything else."""
_ABSENT = -1
"""Instead of a descriptor: there is no such file."""
_LONGEST = 64 * 1024
"""Bytes of a counter's file."""


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
            read = self._version_2 if version == 2 else self._version_1
            found.update(read(folder))
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

    def _version_2(self, folder: str) -> Iterator[tuple[str, float | int]]:
        """Control groups version 2 (Documentation/admin-guide/cgroup-v2.rst)."""
        if text := self._text(folder, "cpu.stat"):
            cpu = _pairs(text)
            yield "cpu_seconds", cpu["usage_usec"] / 1e6
            if "throttled_usec" in cpu:
                yield "throttled_seconds", cpu["throttled_usec"] / 1e6
        if text := self._text(folder, "memory.current"):
            yield "memory_bytes", int(text)
        if text := self._text(folder, "memory.events"):
            yield "oom_kills", _pairs(text).get("oom_kill", 0)
        if text := self._text(folder, "pids.current"):
            yield "tasks", int(text)
        if (text := self._text(folder, "io.stat")) is not None:
            words = text.split()
            for name, key in (("io_read_bytes", "rbytes="), ("io_write_bytes", "wbytes=")):
                yield name, sum(int(w[len(key) :]) for w in words if w.startswith(key))

    def _version_1(self, folder: str) -> Iterator[tuple[str, float | int]]:
        """Version 1 (Documentation/admin-guide/cgroup-v1): a folder has some of the files."""
        if text := self._text(folder, "cpuacct.usage"):
            yield "cpu_seconds", int(text) / 1e9
        if text := self._text(folder, "cpu.stat"):
            yield "throttled_seconds", _pairs(text).get("throttled_time", 0) / 1e9
        if text := self._text(folder, "memory.usage_in_bytes"):
            yield "memory_bytes", int(text)
        if text := self._text(folder, "memory.oom_control"):
            yield "oom_kills", _pairs(text).get("oom_kill", 0)
        if text := self._text(folder, "pids.current"):
            yield "tasks", int(text)
        if (text := self._text(folder, "blkio.throttle.io_service_bytes_recursive")) is not None:
            lines = [line.split() for line in text.splitlines()]
            for name, key in (("io_read_bytes", "Read"), ("io_write_bytes", "Write")):
                yield name, sum(int(n[2]) for n in lines if len(n) == 3 and n[1] == key)


def _pairs(text: str) -> dict[str, int]:
    """Lines ``key number``."""
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


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
            io = _pairs(Path(f"/proc/{pid}/io").read_text("ascii").replace(":", ""))
            read += io["read_bytes"]
            written += io["write_bytes"]
    if not known:
        return Usage()
    return Usage(cpu, memory, read, written, tasks)
