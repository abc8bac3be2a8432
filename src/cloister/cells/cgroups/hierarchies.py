"""Which hierarchies of control groups there are, and where groups may be made in them."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister.mounts import parse

CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
"""What limits are set by, as version 2 calls them."""
_VERSION_1_ONLY = ("cpuacct", "freezer")
_AS_VERSION_2 = {"blkio": "io"}

OWN = "supervisor"
"""The group into which the supervisor itself moves, where groups that control others may hold
no processes."""

SYSTEMD = "/run/systemd/system"
"""sd_booted(3): systemd is process 1 and owns the groups that it has not delegated."""
_DELEGATED = ("user.delegate", "trusted.delegate")
"""Set to 1 on the group of a unit with ``Delegate=`` (systemd's CGROUP_DELEGATION)."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy."""

    version: int
    controllers: frozenset[str]
    """Of version 1, as the kernel calls them; empty for version 2."""
    mount: str
    own: str | None
    """The folder of this process's group; ``None`` where it is not below the mount."""


@dataclass(frozen=True, slots=True)
class Site:
    """A group in which this process may make groups."""

    version: int
    controllers: frozenset[str]
    """As version 2 calls them, and ``cpuacct`` and ``freezer``."""
    folder: str


@dataclass(frozen=True, slots=True)
class Host:
    """Where this process may make groups, and why not elsewhere."""

    sites: tuple[Site, ...]
    why: str | None
    """Why controllers without a site have none."""
    hint: str | None

    def site(self, controller: str) -> Site | None:
        """Where groups with this controller are made."""
        return next((one for one in self.sites if controller in one.controllers), None)

    @property
    def unified(self) -> Site | None:
        """The site of version 2, whatever its controllers."""
        return next((one for one in self.sites if one.version == 2), None)

    @property
    def used(self) -> tuple[Site, ...]:
        """Those in which groups are made: version 2 kills better than the freezer does."""
        if self.unified is None:
            return self.sites
        return tuple(one for one in self.sites if one.controllers != {"freezer"})


@dataclass(frozen=True, slots=True)
class Mounted:
    """One mount of a hierarchy."""

    version: int
    names: frozenset[str]
    """Of version 1, its controllers among the mount's options; empty for version 2."""
    root: str
    """The group that is seen at the mount."""
    point: str


def mounted(mountinfo: str) -> tuple[Mounted, ...]:
    """From the text of a proc_pid_mountinfo(5)."""
    found = []
    for one in parse(mountinfo):
        if one.kind == "cgroup2":
            found.append(Mounted(2, frozenset(), one.root, one.point))
        elif one.kind == "cgroup":
            found.append(Mounted(1, frozenset(one.options), one.root, one.point))
    return tuple(found)


def bounding(
    mounts: Iterable[Mounted], groups: Iterable[tuple[str, str]]
) -> dict[str, tuple[str, ...]]:
    """The folders of the groups that bound a process: by each controller, ``""`` for version 2,
    the innermost first, without the root, which bounds nothing. ``groups`` are the process's,
    as controllers and path (cgroups(7))."""
    mounts = tuple(mounts)
    found: dict[str, tuple[str, ...]] = {}
    for listed, group in groups:
        names = frozenset(listed.split(",")) if listed else frozenset()
        for one in mounts:
            if (one.names >= names) if names else one.version == 2:
                folder = _folder(one.point, one.root, group)
                if folder is not None:
                    found.update(dict.fromkeys(names or {""}, tuple(_up(folder, one.point))))
                    break
    return found


def _up(folder: str, mount: str) -> Iterator[str]:
    while folder.startswith(f"{mount}/"):
        yield folder
        folder = folder.rpartition("/")[0]


def hierarchies(mountinfo: str, memberships: str) -> tuple[Hierarchy, ...]:
    """From the texts of /proc/self/mountinfo and /proc/self/cgroup."""
    none: frozenset[str] = frozenset()
    groups: dict[frozenset[str], str] = {}
    for line in memberships.splitlines():
        _, listed, group = line.split(":", 2)
        groups[frozenset(listed.split(",")) if listed else frozenset()] = group
    found: dict[frozenset[str], Hierarchy] = {}
    for one in mounted(mountinfo):
        names = none
        if one.version == 1:
            names = next((names for names in groups if names and names <= one.names), none)
            if not names:
                continue
        own = _folder(one.point, one.root, groups.get(names))
        if names not in found or found[names].own is None:
            found[names] = Hierarchy(one.version, names, one.point, own)
    return tuple(found.values())


def _folder(mount: str, root: str, group: str | None) -> str | None:
    """Where ``group`` is seen below ``mount``, which shows ``root``."""
    if group is None or group.startswith("/.."):
        return None
    if root == "/":
        return os.path.normpath(mount + group)
    if group == root or group.startswith(root + "/"):
        return os.path.normpath(mount + group[len(root) :])
    return None


def discover() -> Host:
    """Looks at this process's own groups. Blocks for a few small reads."""
    found = hierarchies(
        Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"),
        Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape"),
    )
    if not found:
        return Host((), "no hierarchy of control groups is mounted", "mount cgroup2")
    systemd = Path(SYSTEMD).is_dir()
    sites = []
    refused = None
    for one in found:
        folder = one.own
        if folder is not None and systemd:
            named = next((h for h in found if "name=systemd" in h.controllers), None)
            marked = folder if one.version == 2 or named is None else named.own
            delegated = None if marked is None else _delegated(marked, one.mount)
            if delegated is None:
                refused = "systemd has delegated no control group to this process"
                continue
            # Of version 1 the delegated group is the unit's own in every hierarchy.
            folder = delegated if one.version == 2 else folder
        above, _, last = (folder or "").rpartition("/")
        if last.rpartition(".")[2] == OWN and _writable(above):
            folder = above  # the one before has made way already
        if folder is None or not _writable(folder):
            refused = refused or "the control groups of this process belong to somebody else"
            continue
        controllers = _controllers(one, folder)
        if controllers or one.version == 2:
            sites.append(Site(one.version, controllers, folder))
    hint = None
    if refused is not None and systemd:
        hint = "set Delegate=yes in its unit, or start it by systemd-run --scope -p Delegate=yes"
        hint += "" if os.geteuid() == 0 else " --user"
    elif refused is not None:
        hint = "run it as root, or have a group of its own given to its user"
    return Host(tuple(sites), refused, hint)


def _controllers(hierarchy: Hierarchy, folder: str) -> frozenset[str]:
    if hierarchy.version == 2:
        offered = Path(folder, "cgroup.controllers").read_text(encoding="ascii").split()
        return frozenset(offered) & frozenset(CONTROLLERS)
    names = {_AS_VERSION_2.get(name, name) for name in hierarchy.controllers}
    return frozenset(names & {*CONTROLLERS, *_VERSION_1_ONLY})


def _delegated(folder: str, mount: str) -> str | None:
    """The nearest group from ``folder`` upwards that systemd has delegated."""
    while folder.startswith(mount):
        for name in _DELEGATED:
            try:
                if os.getxattr(folder, name) == b"1":
                    return folder
            except OSError:
                continue
        folder = os.path.dirname(folder)  # noqa: PTH120 - a text
    return None


def _writable(folder: str) -> bool:
    return os.access(folder, os.W_OK) and os.access(f"{folder}/cgroup.procs", os.W_OK)
