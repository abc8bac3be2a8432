"""The control groups of one application, and those of its cells."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloister.cells.cgroups import disks
from cloister.cells.cgroups.counters import (
    Counters,
    Usage,
    read_counters,
    read_processor_time,
    read_usage,
)
from cloister.cells.cgroups.hierarchies import Site
from cloister.cells.cgroups.limits import (
    BACKGROUND,
    Demand,
    Machine,
    cleared,
    demands,
    slowed,
)
from cloister.cells.cgroups.tree import (
    inner,
    kill_tree,
    make_folder,
    read,
    remove_tree,
    remove_trees,
    top,
    write,
    write_all,
)
from cloister.model.errors import CloisterError
from cloister.model.limits import Limits

_TASKS = 8
_FEWEST_TASKS = 2
"""Processes and threads with which an application starts; at least its init and itself."""


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """What has become of one limit."""

    name: str
    value: str
    in_force: bool
    detail: str
    """The file that holds it; or why it is not in force."""
    default: bool
    """Whether the configuration says nothing of it."""


def obstacle_to(demand: Demand, folder: str, version: int) -> str | None:
    """What keeps a limit from being put into force where its controller is."""
    if demand.writes(version) is None:
        return "control groups of version 1 have no such limit"
    if demand.name == "io-weight" and not disks.knows_weights(version, top(folder)):
        return "no disk of this machine is scheduled by weights (bfq, io.cost)"
    return None


class AppGroup:
    """The groups of one application, one folder for each hierarchy."""

    def __init__(
        self,
        name: str,
        folders: dict[str, Site],
        tracking: Site | None,
        without: Callable[[str], str],
    ) -> None:
        self.name = name
        self._folders = folders
        self._tracking = next((f for f, site in folders.items() if site is tracking), None)
        self._without = without
        self._count = max((int(p.name) for p in self._cells()), default=0)
        self._demanded: tuple[Demand, ...] = ()
        self.limits: tuple[LimitStatus, ...] = ()
        """What has become of the application's limits."""
        self.gives_way = False
        """Whether it does so for the time being (:meth:`give_way`)."""
        self.slowed = False
        """Whether it is so for the time being (:meth:`slow_down`)."""

    def limit(self, limits: Limits, machine: Machine) -> None:
        """Put these limits into force, also on what runs already.

        Raises :class:`CloisterError` where one that is required cannot be had.
        """
        wanted = demands(limits, machine, disks.disk_of)
        # An earlier supervisor may have left it slowed down, or giving way; no weight can be set
        # in the latter case.
        before = {one.name for one in self._demanded} | {"cpu-max"}
        for gone in before - {one.name for one in wanted}:
            self._clear(gone)
        self._demanded = wanted
        self._put_back()
        self.slowed = False
        self.limits = tuple(self._demand(one) for one in wanted)
        missing = [one for one in self.limits if not (one.in_force or one.default)]
        if limits.required and missing:
            raise CloisterError(
                f"the limits of {self.name} cannot be put into force",
                why="; ".join(f"{one.name} = {one.value}: {one.detail}" for one in missing),
                hint="remove them, or set `required = false` in its `limits` to run without",
            )

    def cell(self) -> "CellGroup":
        """A group for one more cell. Raises :class:`CloisterError` where none can be made."""
        if self._tracking is None:
            return CellGroup(None, None, tuple(self._folders))
        self._count += 1
        folder = f"{self._tracking}/{self._count}"
        site = self._folders[self._tracking]
        try:
            make_folder(folder)
        except OSError as error:
            raise CloisterError(
                f"no control group can be made for {self.name}",
                why=f"{folder}: {os.strerror(error.errno or 0)}",
            ) from error
        others = tuple(one for one in self._folders if one != self._tracking)
        return CellGroup(folder, site, others)

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """The application's folders, each with the version of its hierarchy."""
        return tuple((folder, site.version) for folder, site in self._folders.items())

    def known(self, folder: str | None) -> "CellGroup":
        """The group of a cell that an earlier supervisor has made."""
        if folder is None or self._tracking is None or not folder.startswith(self._tracking):
            return CellGroup(None, None, ())
        return CellGroup(folder, self._folders[self._tracking], ())

    def usage(self) -> Usage:
        """What the application has used and uses."""
        return read_usage(self.places)

    def counters(self) -> Counters:
        """Which limits the application has met, and how often, since its group was made."""
        return read_counters(self.places)

    def processor_time(self) -> float | None:
        """Seconds that all its processes have used; ``None`` where nothing counts them."""
        return read_processor_time(self.places)

    def give_way(self, wanted: bool) -> bool:
        """Have what runs in the group wait for whatever wakes up in the groups beside it, or no
        longer; whether that is in force now."""
        found = self.folder("cpu")
        if found is None:
            return False
        try:
            if wanted:
                write_all(found[0], BACKGROUND)
            else:
                self._put_back()
                self._set_again("cpu-weight")
        except OSError:  # Linux before 5.15, or the group has just gone
            return False
        self.gives_way = wanted
        return True

    def slow_down(self, wanted: bool) -> bool:
        """Leave what runs in the group a tenth of a processor, or its own ``cpu-max`` again;
        whether that is in force now."""
        if not wanted:
            self._clear("cpu-max")
            self._set_again("cpu-max")
        elif self._set(slowed()).startswith("! "):
            return False
        self.slowed = wanted
        return True

    def _set_again(self, name: str) -> None:
        for demand in self._demanded:
            if demand.name == name:
                self._set(demand)

    def _put_back(self) -> None:
        self._clear("cpu-background")
        self.gives_way = False

    def has_room(self) -> bool:
        """Whether its limit on processes lets a cell start beside those that there are."""
        found = self.folder("pids")
        if found is None:
            return True
        try:
            used, limit = (int(read(f"{found[0]}/pids.{name}")) for name in ("current", "max"))
        except (OSError, ValueError):  # "max": there is no limit
            return True
        return limit - used >= max(_FEWEST_TASKS, min(_TASKS, limit // 4))

    def folder(self, controller: str) -> tuple[str, int] | None:
        """The application's folder where a controller is, with the version."""
        for folder, site in self._folders.items():
            if controller in site.controllers:
                return folder, site.version
        return None

    def kill(self) -> bool:
        """Send SIGKILL to everything in the group; whether there was anything."""
        killed = [
            kill_tree(folder, site)
            for folder, site in self._folders.items()
            if folder == self._tracking or self._tracking is None
        ]
        return any(killed)

    def remove(self) -> None:
        """Kill everything in the group, and remove it. Blocks up to half a second where there is
        something to kill."""
        remove_trees(self._folders, killed=self.kill())

    def _cells(self) -> list[Path]:
        if self._tracking is None:
            return []
        return [path for path in inner(self._tracking) if path.name.isdecimal()]

    def _demand(self, demand: Demand) -> LimitStatus:
        detail = self._set(demand)
        missing = detail.startswith("! ")
        return LimitStatus(
            demand.name,
            demand.value,
            in_force=not missing,
            detail=detail.removeprefix("! "),
            default=demand.default,
        )

    def _set(self, demand: Demand) -> str:
        """The file that holds a limit, or ``"! "`` and the reason why none does."""
        found = self.folder(demand.controller)
        if found is None:
            return "! " + self._without(demand.controller)
        folder, version = found
        obstacle = obstacle_to(demand, folder, version)
        if obstacle is not None:
            return f"! {obstacle}"
        try:
            return write_all(folder, demand.writes(version) or ())
        except OSError as error:
            return f"! {error.filename}: {os.strerror(error.errno or 0)}"

    def _clear(self, name: str) -> None:
        controller = name.partition("-")[0]
        found = self.folder({"swap": "memory", "cpus": "cpuset"}.get(name, controller))
        if found is None:
            return
        folder, version = found
        with contextlib.suppress(OSError):
            if name == "cpus":
                parent = os.path.dirname(folder)  # noqa: PTH120 - a text
                text = "" if version == 2 else read(f"{parent}/cpuset.cpus")
                write(f"{folder}/cpuset.cpus", text or "\n")
            write_all(folder, cleared(name).get(version, ()))


class CellGroup:
    """The groups of one cell, to be handed to ``cloister-cell``."""

    def __init__(self, folder: str | None, site: Site | None, others: tuple[str, ...]) -> None:
        """``folder`` is this cell's alone, ``others`` are its application's."""
        self.folder = folder
        """Of the cell's own group, where there is one."""
        self._site = site
        self._others = others

    def open(self) -> tuple[int | None, list[int]]:
        """Descriptors for a specification's ``control_groups``: the folder of version 2, and
        ``cgroup.procs`` of the others. They are the caller's. Raises :class:`CloisterError`.
        """
        unified = None
        members: list[int] = []
        others = list(self._others)
        try:
            if self.folder is not None and self._site is not None:
                if self._site.version == 2:
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                    unified = os.open(self.folder, flags)
                else:
                    others.append(self.folder)
            for folder in others:
                members.append(  # noqa: PERF401 - each that was opened is closed on failure
                    os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
                )
        except OSError as error:
            for descriptor in (*members, *(() if unified is None else (unified,))):
                os.close(descriptor)
            raise CloisterError(
                "a control group cannot be entered",
                why=f"{error.filename}: {os.strerror(error.errno or 0)}",
            ) from error
        return unified, members

    def kill(self) -> None:
        """Send SIGKILL to everything in the cell."""
        if self.folder is not None and self._site is not None:
            kill_tree(self.folder, self._site)

    def remove(self) -> bool:
        """Remove the cell's own group; false as long as something is in it."""
        return self.folder is None or remove_tree(self.folder)
