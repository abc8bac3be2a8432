"""Whose view of the file system lacks the socket, and what covers it there."""

from dataclasses import dataclass

from cloister.diagnose.case import Case
from cloister.diagnose.facts import Kind, Process, Step
from cloister.mounts import Mount

_PRIVATE_TMP = "systemd-private-"
"""In the folder that systemd mounts over /tmp and /var/tmp for PrivateTmp= (systemd.exec(5))."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The asker does not see the socket that the path leads to elsewhere."""

    process: Process
    """The one whose view is not that of everybody."""
    asks: bool
    """Whether that is the asker; else it is the server."""
    there: Step
    """The socket, where it is to be seen."""
    cover: Mount | None
    """What is mounted over the path in that process's view."""

    @property
    def chrooted(self) -> bool:
        """Whether it has another root directory rather than other mounts."""
        return self.process.root not in (None, "/")

    @property
    def private_tmp(self) -> bool:
        """Whether it is systemd's doing."""
        return self.cover is not None and _PRIVATE_TMP in self.cover.root


def divergence(case: Case) -> Divergence | None:
    """``None`` where both see the same, or nothing is to be seen anywhere."""
    if case.path is None:
        return None
    process, there = case.asker.process, case.own_walk.end
    if process is not None and case.other_view and there is not None:
        if there.kind is not Kind.SOCKET or _same(case.walk.end, there):
            return None
        return Divergence(process, True, there, _cover(case, process))
    if case.end is not None:
        return None
    for one in case.bound:
        for holder in case.probes.holders(one.inode) if one.listening else ():
            if holder.namespaces.mount == case.probes.own.namespaces.mount:
                continue
            seen = case.probes.walk(case.path, holder).end
            if seen is not None and case.is_at(one, seen):
                return Divergence(holder, False, seen, _cover(case, holder))
    return None


def _same(one: Step | None, other: Step) -> bool:
    return one is not None and (one.device, one.inode) == (other.device, other.inode)


def _cover(case: Case, process: Process) -> Mount | None:
    """The innermost mount over the path that is not among our own."""
    own = {(mount.point, mount.root, mount.device) for mount in case.probes.mounts()}
    path = case.path or ""
    covers = [
        mount
        for mount in case.probes.mounts(process)
        if path.startswith(f"{mount.point.rstrip('/')}/")
        and (mount.point, mount.root, mount.device) not in own
    ]
    return max(covers, key=lambda mount: len(mount.point), default=None)
