"""Where an application can write to disks of the host."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cloister.cells.quotas import mounts
from cloister.cells.quotas.mounts import Mount
from cloister.model.app import App
from cloister.model.disk import writable_places


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the host's file system that an application may write to."""

    path: str
    """As the configuration has it, or where something is mounted in such a place."""
    real: str
    """Without links."""


def find(app: App, mounted: Sequence[Mount]) -> tuple[Place, ...]:
    """Those that there are, outermost first; none that lies in another one on the same mount.
    What is mounted in one is a place of its own: the cell shows it, too. Looks at the host's
    file system."""
    found: dict[str, Place] = {}
    for path in writable_places(app):
        real = os.path.realpath(path)
        if os.path.lexists(real):
            found.setdefault(real, Place(path, real))
            for point in mounts.below(real, mounted):
                found.setdefault(point, Place(point, point))
    points = {mount.point for mount in mounted}
    return tuple(
        sorted(
            (one for one in found.values() if not _covered(one.real, found, points)),
            key=lambda one: one.real,
        )
    )


def _covered(real: str, found: dict[str, Place], points: set[str]) -> bool:
    return any(above in found for above in _above(real, points))


def _above(real: str, points: set[str]) -> Iterator[str]:
    """The folders above a path on the same mount."""
    path = PurePosixPath(real)
    while str(path) not in points and path != path.parent:
        path = path.parent
        yield str(path)


def shared(places: Sequence[Place], others: Sequence[Place]) -> str | None:
    """A path that is, or lies in, a place of both."""
    for one in places:
        for other in others:
            if PurePosixPath(one.real).is_relative_to(other.real):
                return one.path
            if PurePosixPath(other.real).is_relative_to(one.real):
                return other.path
    return None
