"""Has an application slowed down while its processes are killed for memory again and again.

:mod:`cloister.cells.cgroups.slowing` says when, and why. Looks only where one was killed.
"""

import asyncio
from collections.abc import Callable

from cloister.cells.cgroups.app_group import AppGroup
from cloister.cells.cgroups.limits import SLOW
from cloister.cells.cgroups.slowing import Slowing
from cloister.cells.cgroups.watch import PAUSE
from cloister.model.limits import CpuBackground, Limits

INTERVAL = 0.25
"""Seconds between two looks."""
ATTENTIVE = PAUSE + 2.0
"""Seconds without a kill after which there is nothing to look at: more than those for which nobody
is told of the next one."""

Tell = Callable[[str, bool], None]
"""An application's name, and whether it is slowed down from now on."""


class Brake:
    """Looks, decides, and puts what is decided into force, on the running event loop, whose
    thread alone may call it. The groups stay the caller's."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._groups: dict[str, tuple[AppGroup, Limits]] = {}
        self._looking: dict[str, Slowing] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, group: AppGroup, limits: Limits) -> None:
        """One more application, or one with other limits."""
        self._groups[group.name] = group, limits

    def killed(self, name: str) -> None:
        """The kernel has killed a process of it."""
        if name not in self._groups or name in self._looking:
            return
        kills = self._groups[name][0].counters().oom_kills
        self._looking[name] = Slowing(kills, self._loop.time())
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL, self._look)

    def let_go(self, name: str) -> None:
        """What there was is forgiven: somebody has had it begin anew."""
        if name not in self._looking:
            return
        group, _ = self._groups[name]
        self._looking[name] = Slowing(group.counters().oom_kills, self._loop.time())
        if group.slowed and group.slow_down(False):
            self._tell(name, False)

    def remove(self, name: str) -> None:
        """Look at it no longer."""
        self._groups.pop(name, None)
        self._looking.pop(name, None)

    def close(self) -> None:
        """Look at nothing any more; who is slowed down stays so. Idempotent."""
        self._groups.clear()
        self._looking.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for name, deciding in list(self._looking.items()):
            group, limits = self._groups[name]
            slow = deciding.look(group.counters().oom_kills, now) and self._may_be(limits)
            if group.slowed != slow and group.slow_down(slow):
                self._tell(name, slow)
            if deciding.quiet(now) >= ATTENTIVE:
                del self._looking[name]
        if self._looking:
            self._timer = self._loop.call_later(INTERVAL, self._look)

    def _may_be(self, limits: Limits) -> bool:
        """One alone disturbs nobody; and who has less anyway needs no more."""
        return (
            len(self._groups) > 1
            and limits.cpu_background is not CpuBackground.NEVER
            and (limits.cpu_max is None or limits.cpu_max > SLOW)
        )
