"""The control groups of one supervisor, of its applications, and of their cells.

Below each :class:`~cloister.cells.cgroups.hierarchies.Site`::

    NODE                 one supervisor's; bounds what all applications use together
    NODE/app             one application's: its limits are set here
    NODE/app/1           one cell's, in the tracking hierarchy only: version 2 where there is
                         any, else the freezer of version 1. Whoever is in it can be killed
                         as a whole.

In version 2 only the innermost groups hold processes, as it demands of groups that control
others. Groups outlive processes and supervisors: what a killed one leaves, the next one with
the same name takes over (:meth:`ControlGroups.application`) or clears away.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloister.cells.cgroups import disks
from cloister.cells.cgroups.counters import Counters, Usage, read_counters, read_usage
from cloister.cells.cgroups.hierarchies import Host, Site, discover
from cloister.cells.cgroups.limits import Demand, Machine, bound_of_all, cleared, demands
from cloister.cells.cgroups.tree import (
    enable,
    inner,
    kill_tree,
    make_folder,
    read,
    remove_tree,
    top,
    write,
    write_all,
)
from cloister.model.errors import CloisterError
from cloister.model.limits import Limits
from cloister.model.snapshot import Paths


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


class ControlGroups:
    """Makes and keeps the groups of one supervisor. All methods block for small file
    operations."""

    def __init__(self, host: Host, name: str, record: str | None = None) -> None:
        """``name`` tells supervisors of one machine apart; no slash in it. ``record`` is a
        file in which each one leaves word of where its groups are, since the next one may be
        started from another group.

        Makes nothing yet. What a dead supervisor of this name has left is kept until
        :meth:`clear`.
        """
        self._record = None if record is None else Path(record)
        self._host = host
        self.name = name
        self._sites: list[Site] = []
        self._why = host.why
        self._apps: dict[str, AppGroup] = {}
        self._machine = Machine(_memory_of(host))
        self._begun = False

    @property
    def machine(self) -> Machine:
        """What the default limits depend on."""
        return self._machine

    def application(self, name: str, limits: Limits) -> "AppGroup":
        """The group of an application, with these limits in force.

        Raises :class:`CloisterError` where the configuration asks for a limit that cannot
        be had; the application must not run then.
        """
        self._begin()
        group = self._apps.get(name)
        if group is None:
            group = AppGroup(name, self._make(name), self._tracking(), self._without)
            self._apps[name] = group
        group.limit(limits, self._machine)
        return group

    def get(self, name: str) -> "AppGroup | None":
        """The group of an application that has one."""
        return self._apps.get(name)

    def release(self, name: str) -> None:
        """Kill whatever is in the group of an application, and remove it."""
        group = self._apps.pop(name, None)
        if group is not None:
            group.remove()

    def left_behind(self) -> tuple[str, ...]:
        """The names of applications that have groups of this supervisor's name, though it
        made none for them: an earlier one did."""
        found = set()
        for site in self.sites:
            found |= {path.name for path in inner(f"{site.folder}/{self.name}")}
        return tuple(sorted(found - set(self._apps)))

    def clear(self) -> tuple[str, ...]:
        """Kill and remove what an earlier supervisor of this name has left, and say of whom
        processes were killed."""
        killed = []
        for name in self.left_behind():
            for site in self.sites:
                folder = f"{site.folder}/{self.name}/{name}"
                if kill_tree(folder, site) and name not in killed:
                    killed.append(name)
                remove_tree(folder)
        return tuple(killed)

    def close(self) -> None:
        """Remove everything that is empty. Idempotent."""
        for name in list(self._apps):
            self.release(name)
        for site in self.sites:
            folder = f"{site.folder}/{self.name}"
            with contextlib.suppress(OSError):
                Path(folder).rmdir()

        if self._record is not None:
            self._record.unlink(missing_ok=True)

    @property
    def sites(self) -> list[Site]:
        """Where its groups are, or those of an earlier supervisor of this name."""
        recorded: list[Site] = []
        with contextlib.suppress(OSError, ValueError, TypeError):
            if self._record is not None:
                listed = json.loads(self._record.read_text(encoding="utf-8"))
                recorded = [
                    Site(version, frozenset(names), place) for version, names, place in listed
                ]
        known = {site.folder for site in self._host.sites}
        return [*self._host.sites, *(site for site in recorded if site.folder not in known)]

    def _remember(self) -> None:
        if self._record is not None:
            sites = [(one.version, sorted(one.controllers), one.folder) for one in self.sites]
            with contextlib.suppress(OSError):
                self._record.write_text(json.dumps(sites), encoding="utf-8")

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        self._remember()
        for site in self._host.used:
            try:
                self._sites.append(self._open(site))
            except OSError as error:
                self._why = f"{error.filename}: {os.strerror(error.errno or 0)}"
        demand = bound_of_all(self._machine)
        for site in self._sites:
            if demand.controller in site.controllers:
                with contextlib.suppress(OSError):
                    # Without it the applications' own limits still hold.
                    write_all(f"{site.folder}/{self.name}", demand.writes(site.version) or ())

    def _open(self, site: Site) -> Site:
        """Make this supervisor's group; the site with what can really be had there."""
        node = f"{site.folder}/{self.name}"
        if site.version == 2:
            controllers = enable(site.folder, site.controllers)
            make_folder(node)
            return Site(2, enable(node, controllers), site.folder)
        make_folder(node)
        return site

    def _make(self, name: str) -> dict[str, Site]:
        """Folders of an application's group, each with its site."""
        folders = {}
        for site in self._sites:
            folder = f"{site.folder}/{self.name}/{name}"
            try:
                make_folder(folder)
            except OSError as error:
                self._why = f"{folder}: {os.strerror(error.errno or 0)}"
                continue
            folders[folder] = site
        return folders

    def _tracking(self) -> Site | None:
        unified = [site for site in self._sites if site.version == 2]
        freezing = [site for site in self._sites if "freezer" in site.controllers]
        return next(iter((*unified, *freezing)), None)

    def _without(self, controller: str) -> str:
        """Why there is no group with a controller."""
        return missing_controller(self._host, controller, self._why)


def obstacle_to(demand: Demand, folder: str, version: int) -> str | None:
    """What keeps a limit from being put into force where its controller is."""
    if demand.writes(version) is None:
        return "control groups of version 1 have no such limit"
    if demand.name == "io-weight" and not disks.knows_weights(version, top(folder)):
        return "no disk of this machine is scheduled by weights (bfq, io.cost)"
    return None


def missing_controller(host: Host, controller: str, why: str | None = None) -> str:
    """Why there are no groups with a controller, and what to do about it."""
    why = why or host.why
    if why is None:
        return f"this machine's kernel offers no controller `{controller}`"
    return f"{why}: {host.hint}" if host.hint else why


def control_groups(paths: Paths) -> ControlGroups:
    """Those of the supervisor whose places these are."""
    # The lock on the runtime directory lets one supervisor at a time have this name.
    digest = hashlib.blake2b(paths.runtime.encode(), digest_size=6).hexdigest()
    return ControlGroups(discover(), f"cloister-{digest}", paths.control_groups)


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

    def limit(self, limits: Limits, machine: Machine) -> None:
        """Put these limits into force, also on what runs already.

        Raises :class:`CloisterError` where one that is required cannot be had.
        """
        wanted = demands(limits, machine, disks.disk_of)
        for gone in {one.name for one in self._demanded} - {one.name for one in wanted}:
            self._clear(gone)
        self._demanded = wanted
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

    def folder(self, controller: str) -> tuple[str, int] | None:
        """The application's folder where a controller is, with the version."""
        for folder, site in self._folders.items():
            if controller in site.controllers:
                return folder, site.version
        return None

    def kill(self) -> None:
        """Send SIGKILL to everything in the group."""
        for folder, site in self._folders.items():
            if folder == self._tracking or self._tracking is None:
                kill_tree(folder, site)

    def remove(self) -> None:
        """Kill everything in the group, and remove it."""
        self.kill()
        for folder in self._folders:
            remove_tree(folder)

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
        writes = demand.writes(version) or ()
        try:
            write_all(folder, writes)
        except OSError as error:
            return f"! {error.filename}: {os.strerror(error.errno or 0)}"
        return f"{folder}/{writes[-1].file}" if writes else folder

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


def _memory_of(host: Host) -> int:
    """Bytes of memory that there are for this process's groups."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    site = host.site("memory")
    folder = "" if site is None else site.folder
    files = ("memory.max",) if site is None or site.version == 2 else ("memory.limit_in_bytes",)
    while Path(folder, "cgroup.procs").exists():
        for file in files:
            with contextlib.suppress(OSError, ValueError):
                total = min(total, int(read(f"{folder}/{file}")))
        folder = os.path.dirname(folder)  # noqa: PTH120 - a text
    return total
