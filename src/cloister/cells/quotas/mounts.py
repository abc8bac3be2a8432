"""Which file systems are mounted where: proc_pid_mountinfo(5)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cloister.proc import unescaped


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount."""

    point: str
    kind: str
    """The file system's kind, for example ``ext4``."""
    source: str
    """Its device, where it has one."""
    writable: bool


def read() -> tuple[Mount, ...]:
    """This process's mounts, in the order in which they were made."""
    return parse(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"))


def parse(mountinfo: str) -> tuple[Mount, ...]:
    """From the file's text."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, source, options) = before.split(" "), after.split(" ", 2)
        writable = "ro" not in fields[5].split(",") and "ro" not in options.split(",")
        found.append(Mount(unescaped(fields[4]), kind, unescaped(source), writable))
    return tuple(found)


def of(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that a path without links is on: of several at one point the last one."""
    found: Mount | None = None
    for mount in mounts:
        above = PurePosixPath(path).is_relative_to(mount.point)
        if above and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def below(path: str, mounts: Sequence[Mount]) -> tuple[str, ...]:
    """Where something that may be written to is mounted below a path without links."""
    points = {
        mount.point: mount.writable
        for mount in mounts
        if mount.point != path and PurePosixPath(mount.point).is_relative_to(path)
    }
    return tuple(sorted(point for point, writable in points.items() if writable))
