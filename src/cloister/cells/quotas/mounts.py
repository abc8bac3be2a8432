"""Which mount a path is on, and what is mounted below it."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from cloister.mounts import Mount


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
