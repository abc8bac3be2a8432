"""Puts bounds on disks into force, reads what is used, and takes bounds away."""

import asyncio
import contextlib
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from cloister.cells.cgroups.app_group import LimitStatus
from cloister.cells.cgroups.limits import format_size
from cloister.cells.quotas import helper, mounts, places
from cloister.cells.quotas.messages import (
    Action,
    Answer,
    Bound,
    Kind,
    Look,
    Mark,
    Projects,
    Seen,
    Unmark,
)
from cloister.cells.quotas.offered import obstacle, takes_room
from cloister.cells.quotas.places import Place
from cloister.cells.quotas.projects import FREED, PASSING, ProjectStore, Record
from cloister.model.app import App
from cloister.model.disk import files_allowed, is_bounded, way_out
from cloister.model.errors import CloisterError
from cloister.mounts import of_process

Ask = Callable[[Sequence[Action]], Awaitable[tuple[Answer, ...]]]
_TRIES = 64
"""Projects that are looked at before none is free: one in use is somebody's by chance."""


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """What an application has on one file system, and may have; a limit of 0 is none."""

    place: str
    """The first of its places there, as the configuration has it."""
    bytes: int
    files: int
    """Files of every kind, folders too."""
    bytes_limit: int
    files_limit: int


@dataclass(frozen=True, slots=True)
class Lifted:
    """An application has no bound any more."""

    name: str
    project: int
    leftovers: tuple[str, ...]
    """What still belongs to the project, and where."""


@dataclass(frozen=True, slots=True)
class _Spot:
    """One place on a disk, and what was seen there."""

    place: Place
    seen: Seen
    point: str
    """Where its file system is mounted."""


@dataclass(frozen=True, slots=True)
class _Survey:
    project: int
    spots: tuple[_Spot, ...]
    """Those where the bound can be kept."""
    missing: tuple[str, ...]
    """Why it cannot be kept elsewhere."""
    cures: tuple[str, ...]

    @property
    def systems(self) -> tuple[_Spot, ...]:
        """The first place on each file system."""
        return _systems(self.spots)


class DiskBounds:
    """The bounds of the applications of one supervisor, or of one command. Lives on one event
    loop; one change of each at a time."""

    def __init__(
        self, store: ProjectStore, *, ask: Ask = helper.ask, root: bool | None = None
    ) -> None:
        """``ask`` and ``root``, whether this process may set bounds, are for tests."""
        self._store = store
        self._ask = ask
        self._root = os.geteuid() == 0 if root is None else root
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By the names: a large tree holds up its own application only."""
        self._bounded: dict[str, tuple[int, tuple[_Spot, ...]]] = {}
        self._statuses: dict[str, tuple[LimitStatus, ...]] = {}

    def status(self, name: str) -> tuple[LimitStatus, ...]:
        """What has become of an application's bounds."""
        return self._statuses.get(name, ())

    async def enforce(self, app: App, name: str | None = None) -> tuple[LimitStatus, ...]:
        """Put the application's bounds into force before anything of it runs; what it has
        already counts. Where it has none, one that it had before is taken away.

        ``name`` is whose project that is, where it is not the application's. Raises
        :class:`CloisterError` where a bound that is required cannot be had. Waits while trees
        are looked through that were not before.
        """
        name = app.name if name is None else name
        async with self._changing[name]:
            if not is_bounded(app):
                # What the store has of others is nothing to it.
                with contextlib.suppress(CloisterError):
                    if self._is_known(name):
                        await self._lift(name)
                self._statuses.pop(name, None)
                return ()
            try:
                survey = await self._enforce(app, name)
                missing, cures = survey.missing, survey.cures
            except CloisterError as error:
                survey = None
                missing = (_sentence(error),)
                cures = (error.hint,) if error.hint else ()
            statuses = self._statuses[name] = _statuses(app, survey, missing)
            if missing and app.limits.required:
                raise CloisterError(
                    f"the limits of {app.name} on disks cannot be put into force",
                    why="; ".join(missing),
                    hint="; ".join((*dict.fromkeys(cures), _WITHOUT)),
                )
            return statuses

    async def plan(self, app: App) -> tuple[LimitStatus, ...]:
        """What :meth:`enforce` would answer, without changing anything."""
        if not is_bounded(app):
            return ()
        try:
            survey = await self._survey(app, app.name)
        except CloisterError as error:
            return _statuses(app, None, (_sentence(error),))
        return _statuses(app, survey, survey.missing)

    async def usage(self) -> dict[str, tuple[DiskUsage, ...]]:
        """What each application with a bound has on each file system. Raises
        :class:`CloisterError`."""
        wanted = [
            (name, spot, project)
            for name, (project, spots) in self._bounded.items()
            for spot in _systems(spots)
            if _device(spot.place.real) is not None
        ]
        answers = await self._ask([Look(spot.place.real, project) for _, spot, project in wanted])
        found: dict[str, list[DiskUsage]] = {name: [] for name in self._bounded}
        for (name, spot, _), answer in zip(wanted, answers, strict=True):
            if isinstance(answer, Seen):
                use = answer.usage
                found[name].append(
                    DiskUsage(
                        spot.place.path, use.bytes, use.files, use.bytes_limit, use.files_limit
                    )
                )
        return {name: tuple(one) for name, one in found.items()}

    async def retain(self, names: Iterable[str]) -> tuple[Lifted, ...]:
        """Take the bounds of all applications but these away, and say what is left of them."""
        kept = set(names)
        lifted = []
        for name in self._store.names() if self._root else ():
            if name not in kept and not name.startswith(PASSING):
                async with self._changing[name]:
                    lifted.append(await self._lift(name))
        return tuple(one for one in lifted if one is not None)

    async def dissolve(self, name: str) -> None:
        """Take a bound away, and its marks from the trees. Waits while they are looked
        through."""
        async with self._changing[name]:
            record = self._store.get(name)
            if record is not None:
                for path in record.places:
                    # It may be gone, and what is left is nobody's by its number.
                    with contextlib.suppress(CloisterError):
                        await self._ask([Unmark(path, record.project)])
            await self._lift(name)
            self._store.forget(FREED + name)

    def _is_known(self, name: str) -> bool:
        return self._root and name in self._store.names()

    async def _enforce(self, app: App, name: str) -> _Survey:
        while True:
            survey = await self._survey(app, name)
            if not survey.spots:
                return survey
            self._refuse_shared(name, survey)
            record = self._store.get(name)
            if record is None or record.project != survey.project:
                record = Record(survey.project)
            whole = {one.place.real: _whole(one, record) for one in survey.spots}
            # Before anything belongs to the project: who comes next is to know of it.
            record = replace(record, places={**record.places, **whole})
            if self._store.put(name, record):
                break  # else somebody was given the project meanwhile
        self._bounded[name] = survey.project, survey.spots
        ids = self._store.ids
        await self._ask(
            [
                Mark(one.place.real, survey.project, Projects(ids.first, ids.last))
                for one in survey.spots
                if not whole[one.place.real]
            ]
        )
        size, files = app.limits.disk or 0, files_allowed(app)
        await self._ask(
            [Bound(one.place.real, survey.project, size, files) for one in survey.systems]
        )
        whole = {one.place.real: one.seen.inode for one in survey.spots}
        self._store.put(name, replace(record, places={**record.places, **whole}))
        return survey

    async def _survey(self, app: App, name: str) -> _Survey:
        """Where the bound is to be kept, and by which project. Raises :class:`CloisterError`."""
        out = way_out(app)
        if out is not None:
            raise CloisterError(f"{app.name} could have more on disks", why=out[0], hint=out[1])
        mounted = of_process(os.getpid())
        found = places.find(app, mounted)
        record = self._store.get(name) if self._root else None
        for project in self._candidates(name):
            answers = await self._ask([Look(one.real, project) for one in found])
            spots = [
                (place, seen, mounts.of(place.real, mounted))
                for place, seen in zip(found, answers, strict=True)
                if isinstance(seen, Seen) and takes_room(seen)
            ]
            own = set()
            if record is not None and record.project == project:
                own = _devices(record)
            if not any(_in_use(seen) and seen.device not in own for _, seen, _ in spots):
                break
        else:
            raise self._store.used_up()
        obstacles = [
            obstacle(place.path, seen, mount, root=self._root) for place, seen, mount in spots
        ]
        in_the_way = [one for one in obstacles if one is not None]
        return _Survey(
            project,
            tuple(
                _Spot(place, seen, "/" if mount is None else mount.point)
                for (place, seen, mount), one in zip(spots, obstacles, strict=True)
                if one is None
            ),
            tuple(one.why for one in in_the_way),
            tuple(one.cure for one in in_the_way),
        )

    def _candidates(self, name: str) -> Iterator[int]:
        # Without root's rights nothing is given: only what is offered is asked for.
        return islice(self._store.candidates(name), _TRIES) if self._root else iter((0,))

    def _refuse_shared(self, name: str, survey: _Survey) -> None:
        found = [spot.place for spot in survey.spots]
        for other, (_, spots) in self._bounded.items():
            if other == name:
                continue
            path = places.shared(found, [spot.place for spot in spots])
            if path is not None:
                raise CloisterError(
                    f"{path} is bounded for {other} already",
                    why="a file counts for one application only",
                    hint="give each a folder of its own, or only one of them a limit",
                )

    async def _lift(self, name: str) -> Lifted | None:
        self._bounded.pop(name, None)
        record = self._store.get(name)
        if record is None:
            return None
        leftovers = []
        devices: set[int] = set()
        for path in record.places:
            device = _device(path)
            if device is None or device in devices:
                continue
            devices.add(device)
            try:
                _, seen = await self._ask(
                    [Bound(path, record.project, 0, 0), Look(path, record.project)]
                )
            except CloisterError:
                continue  # what was mounted there is not there now
            if isinstance(seen, Seen) and _in_use(seen):
                use = seen.usage
                leftovers.append(
                    f"{format_size(use.bytes)} in {use.files} files on the disk of {path}"
                )
        self._store.free(name)
        return Lifted(name, record.project, tuple(leftovers))


_WITHOUT = "or set `required = false` in its `limits` to run without"


def _sentence(error: CloisterError) -> str:
    return f"{error.what}: {error.why}" if error.why else error.what


def _whole(spot: _Spot, record: Record) -> int:
    """The inode of a place below which all belongs to the project; 0 where that is to be done:
    it never was, the place is another one by now, or somebody has taken its mark away."""
    inode, seen = record.places.get(spot.place.real, 0), spot.seen
    marked = seen.project == record.project and (seen.inherited or seen.kind is Kind.FILE)
    return inode if inode == seen.inode and marked else 0


def _systems(spots: Sequence[_Spot]) -> tuple[_Spot, ...]:
    first: dict[int, _Spot] = {}
    for spot in spots:
        first.setdefault(spot.seen.device, spot)
    return tuple(first.values())


def _in_use(seen: Seen) -> bool:
    """Whether the project that was asked for has something, or a limit, on the file system."""
    return any((seen.usage.bytes, seen.usage.files, seen.usage.bytes_limit, seen.usage.files_limit))


def _devices(record: Record) -> set[int]:
    found = (_device(path) for path in record.places)
    return {device for device in found if device is not None}


def _device(path: str) -> int | None:
    try:
        return os.stat(path).st_dev  # noqa: PTH116 - a text
    except OSError:
        return None


def _statuses(app: App, survey: _Survey | None, missing: Sequence[str]) -> tuple[LimitStatus, ...]:
    detail = "; ".join(missing)
    if not missing and survey is not None:
        points = dict.fromkeys(spot.point for spot in survey.systems)
        detail = f"project {survey.project} on {', '.join(points)}"
        if not points:
            detail = "there is no disk that it could write to"
    found = []
    if app.limits.disk is not None:
        found.append(
            LimitStatus("disk", format_size(app.limits.disk), not missing, detail, default=False)
        )
    files = files_allowed(app)
    found.append(
        LimitStatus(
            "disk-files",
            str(files),
            not missing,
            detail,
            default=app.limits.disk_files is None,
        )
    )
    return tuple(found)
