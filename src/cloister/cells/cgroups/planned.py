"""What would become of an application's limits and groups, without making any group."""

import os

from cloister.cells.cgroups import disks
from cloister.cells.cgroups.app_group import AppGroup, CellGroup, LimitStatus, obstacle_to
from cloister.cells.cgroups.groups import ControlGroups, missing_controller
from cloister.cells.cgroups.hierarchies import Host
from cloister.cells.cgroups.limits import demands
from cloister.model.limits import Limits


class PlannedGroup(AppGroup):
    """Stands for the group of an application: its cells have descriptors of the same number,
    which lead nowhere."""

    def __init__(self, host: Host, limits: Limits) -> None:
        """Raises :class:`CloisterError` for a limit whose disk does not exist."""
        super().__init__("", {}, None, lambda controller: missing_controller(host, controller))
        self._host = host
        machine = ControlGroups(host, "planned").machine
        statuses = []
        for one in demands(limits, machine, disks.disk_of):
            site = host.site(one.controller)
            if site is None:
                obstacle: str | None = missing_controller(host, one.controller)
                files = []
            else:
                obstacle = obstacle_to(one, site.folder, site.version)
                files = [write.file for write in one.writes(site.version) or ()]
            detail = obstacle or " ".join(files[-1:])
            statuses.append(LimitStatus(one.name, one.value, obstacle is None, detail, one.default))
        self.limits = tuple(statuses)

    def cell(self) -> CellGroup:
        """A cell that nobody may start."""
        return _PlannedCell(self._host)


class _PlannedCell(CellGroup):
    def __init__(self, host: Host) -> None:
        super().__init__(None, None, ())
        self._sites = host.used

    def open(self) -> tuple[int | None, list[int]]:
        """Descriptors in the number of the real ones."""
        opened = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in self._sites]
        unified = opened.pop() if any(one.version == 2 for one in self._sites) else None
        return unified, opened
