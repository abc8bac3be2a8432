"""Where an application can write to disks of the host."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cloister.cells.quotas import mounts
from cloister.model.app import App
from cloister.model.disk import overlap, writable_places
from cloister.model.errors import CloisterError
from cloister.mounts import Mount

_LINKS = 40
"""How many are followed (path_resolution(7))."""


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
    file system. Raises as :func:`resolve`."""
    found: dict[str, Place] = {}
    for path in writable_places(app):
        real = resolve(path)
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


def resolve(path: str) -> str:
    """The path without links, of which all are root's or this process's own.

    Raises :class:`CloisterError` for a link of somebody else: what it leads to would be given to
    an application's project at that one's word.
    """
    parts = os.path.normpath(path).split("/")[:0:-1]
    real, links = "/", 0
    while parts:
        # Two slashes at the beginning would stay.
        step = Path(os.path.normpath(f"{real.rstrip('/')}/{parts.pop()}"))
        if not step.is_symlink():
            real = str(step)
            continue
        owner = step.lstat().st_uid
        links += 1
        if owner not in (0, os.geteuid()) or links > _LINKS:
            raise CloisterError(
                f"{path} is reached by a link of user {owner}"
                if links <= _LINKS
                else f"{path} is a link that leads to itself",
                why=f"{step} could lead anywhere, and all that is there would be bounded",
                hint="name the folder itself",
            )
        target = str(step.readlink())
        if target.startswith("/"):
            real = "/"
        parts += [part for part in target.split("/")[::-1] if part not in ("", ".")]
    return real


def shared(places: Sequence[Place], others: Sequence[Place]) -> str | None:
    """A path that is, or lies in, a place of both."""
    real = overlap((one.real for one in places), (one.real for one in others))
    return next((one.path for one in (*places, *others) if one.real == real), None)
