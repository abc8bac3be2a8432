"""The control groups of one supervisor, of its applications, and of their cells.

Below each :class:`~cloister.cells.cgroups.hierarchies.Site`::

    NODE                 one supervisor's; bounds what all applications use together
    NODE/app             one application's: its limits are set here
    NODE/app/1           one cell's, in the tracking hierarchy only: version 2 where there is
                         any, else the freezer of version 1. Whoever is in it can be killed
                         as a whole.
    NODE.supervisor      where processors are shared: the supervisor's, its door's and its other
                         helpers'. In a group of version 2 that is not the first of all it is
                         called ``supervisor``.

In version 2 only the innermost groups hold processes, as it demands of groups that control
others. Groups outlive processes and supervisors: what a killed one leaves, the next one with
the same name takes over (:meth:`ControlGroups.application`) or clears away.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from cloister.cells.cgroups.app_group import AppGroup
from cloister.cells.cgroups.hierarchies import OWN, Host, Site, discover
from cloister.cells.cgroups.limits import Machine, bound_of_all, weight_of_own
from cloister.cells.cgroups.placed import Placed, place
from cloister.cells.cgroups.tree import (
    enable,
    enter,
    inner,
    kill_tree,
    make_folder,
    members,
    must_be_empty,
    read,
    remove_tree,
    remove_trees,
    write,
    write_all,
)
from cloister.model.limits import Limits
from cloister.model.snapshot import Paths


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
        self._placed: dict[str, tuple[str, Placed]] = {}
        """Groups that are elsewhere, each with the path that was asked for."""
        self._former: list[Placed] = []
        """Those of applications that were asked to be somewhere else since."""
        self._on_the_way: set[str] = set()
        """Groups that were made to have others in them."""
        self._machine = Machine(_memory_of(host))
        self._begun = False

    @property
    def machine(self) -> Machine:
        """What the default limits depend on."""
        return self._machine

    def application(self, name: str, limits: Limits, path: str | None = None) -> "AppGroup":
        """The group of an application, with these limits in force: one of this supervisor's,
        or one in the group ``path`` of the host (:func:`placed.place`).

        Raises :class:`CloisterError` where the configuration asks for a limit that cannot
        be had; the application must not run then.
        """
        self._begin()
        group = self._apps.get(name)
        if group is None or self._path(name) != path:
            group = self._group(name, path)
            self._apps[name] = group
        group.limit(limits, self._machine)
        return group

    def _path(self, name: str) -> str | None:
        return self._placed[name][0] if name in self._placed else None

    def _group(self, name: str, path: str | None) -> "AppGroup":
        before = self._placed.pop(name, None)
        if before is not None:
            self._former.append(before[1])  # its processes serve until their successors do
        tracking = self._tracking()
        if path is None:
            return AppGroup(name, self._make(name), tracking, self._without)
        made = place(path, f"{self.name}-{name}", self._sites)
        self._placed[name] = path, made
        self._on_the_way.update(made.made)
        self._remember()
        inner_tracking = next(
            (
                inside
                for (_, inside), site in zip(made.folders, self._sites, strict=True)
                if site is tracking
            ),
            None,
        )
        return AppGroup(name, dict(made.folders), inner_tracking, self._without)

    def make_way(self) -> None:
        """Has this process, and so all that it starts from now on, leave the group that is to
        control those of the applications: with a single process in it, it could control none
        (cgroup-v2.rst, "No Internal Process Constraint"). It gets a group of its own beside
        that of all applications wherever it shares processors with these. Idempotent."""
        self._begin()
        for site in self._sites:
            if "cpu" in site.controllers:
                # Without it only its share of busy processors is another one.
                with contextlib.suppress(OSError):
                    folder = self._own_folder(site)
                    make_folder(folder)
                    write_all(folder, weight_of_own().writes(site.version) or ())
                    enter(folder)

    def _own_folder(self, site: Site) -> str:
        if must_be_empty(site.folder):
            return f"{site.folder}/{OWN}"
        return f"{site.folder}/{self.name}.{OWN}"

    def _leave_own(self, site: Site) -> None:
        """This process and its helpers are where they came from, and what they were in is gone."""
        folder = f"{site.folder}/{self.name}.{OWN}"
        for pid in members(folder):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                write(f"{site.folder}/cgroup.procs", str(pid))
        remove_tree(folder)

    def get(self, name: str) -> "AppGroup | None":
        """The group of an application that has one."""
        return self._apps.get(name)

    def release(self, name: str) -> None:
        """Kill whatever is in the group of an application, and remove it."""
        group = self._apps.pop(name, None)
        if group is not None:
            group.remove()
        placed = self._placed.pop(name, None)
        if placed is not None:
            placed[1].remove()
            self._sweep()
            self._remember()

    def left_behind(self) -> tuple[str, ...]:
        """The names of applications that have groups of this supervisor's name, though it
        made none for them: an earlier one did."""
        found = set()
        for site in self.sites:
            found |= {path.name for path in inner(f"{site.folder}/{self.name}")}
        found |= set(self._recorded()[1])
        return tuple(sorted(found - set(self._apps)))

    def clear(self) -> tuple[str, ...]:
        """Kill and remove what an earlier supervisor of this name has left, and say of whom
        processes were killed."""
        killed = []
        elsewhere = self._recorded()[1]
        for name in self.left_behind():
            if name in elsewhere and elsewhere[name].remove():
                killed.append(name)
            for site in self.sites:
                folder = f"{site.folder}/{self.name}/{name}"
                ended = kill_tree(folder, site)
                if ended and name not in killed:
                    killed.append(name)
                remove_trees([folder], killed=ended)
        return tuple(killed)

    def close(self) -> None:
        """Remove everything that is empty. Idempotent."""
        for name in list(self._apps):
            self.release(name)
        while self._former:
            self._former.pop().remove()
        self._sweep()
        for site in self.sites:
            folder = f"{site.folder}/{self.name}"
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
            self._leave_own(site)
        if self._record is not None:
            self._record.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Several applications may have had theirs in one."""
        for folder in sorted(self._on_the_way, reverse=True):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()

    @property
    def sites(self) -> list[Site]:
        """Where its groups are, or those of an earlier supervisor of this name."""
        known = {site.folder for site in self._host.sites}
        recorded = [site for site in self._recorded()[0] if site.folder not in known]
        return [*self._host.sites, *recorded]

    def _recorded(self) -> tuple[list[Site], dict[str, Placed]]:
        """What the last supervisor, or this one, has left word of."""
        if self._record is None:
            return [], {name: placed for name, (_, placed) in self._placed.items()}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            said = json.loads(self._record.read_text(encoding="utf-8"))
            placed = {
                name: Placed(tuple((one[2], _site(one)) for one in folders), tuple(made))
                for name, (folders, made) in said["placed"].items()
            }
            return [_site(one) for one in said["sites"]], placed
        return [], {}

    def _remember(self) -> None:
        if self._record is None:
            return
        # Also what others have left, until it is cleared away.
        placed = self._recorded()[1] | {name: one for name, (_, one) in self._placed.items()}
        said = {
            "sites": [_text(one, one.folder) for one in self.sites],
            "placed": {
                name: ([_text(site, folder) for folder, site in one.folders], one.made)
                for name, one in placed.items()
                if any(Path(folder).is_dir() for folder, _ in one.folders)
            },
        }
        with contextlib.suppress(OSError):
            self._record.write_text(json.dumps(said), encoding="utf-8")

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


def _site(said: tuple[int, list[str], str]) -> Site:
    version, controllers, folder = said
    return Site(version, frozenset(controllers), folder)


def _text(site: Site, folder: str) -> tuple[int, list[str], str]:
    return site.version, sorted(site.controllers), folder


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
