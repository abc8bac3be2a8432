"""Has the applications that keep the processors busy give way to the others.

:mod:`cloister.cells.cgroups.giving_way` says who, and why. This looks at what they use: at rest
one small file twice a second, and those of all applications only while the processors are busy.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from cloister.cells.cgroups.app_group import AppGroup
from cloister.cells.cgroups.giving_way import DWELL, GivingWay, Share, crowded
from cloister.model.limits import CpuBackground, Limits

INTERVAL = 0.5
"""Seconds between two looks at the processors."""
CLOSE = 0.25
"""Seconds between two looks at the applications while the processors are busy."""
SPARING = 100
"""A look may take one part in so many of the time: with many applications it is taken less
often."""
_WEIGHT = 100
"""``cpu-weight`` where the configuration sets none (cgroup-v2.rst)."""

Tell = Callable[[str, bool], None]
"""An application's name, and whether it gives way from now on."""


class Processors:
    """How busy all processors of the machine are. Reads /proc/uptime (proc_uptime(5))."""

    def __init__(self, path: str = "/proc/uptime") -> None:
        self._path = Path(path)
        self._count = os.cpu_count() or 1
        self._before = self._read()

    def crowded(self) -> bool:
        """Whether they were since the last call, as :func:`crowded`."""
        before, self._before = self._before, self._read()
        elapsed = self._before[0] - before[0]
        if elapsed <= 0:
            return False
        idle = (self._before[1] - before[1]) / (elapsed * self._count)
        return crowded(min(1.0, max(0.0, 1.0 - idle)), self._count)

    def _read(self) -> tuple[float, float]:
        up, idle = self._path.read_text(encoding="ascii").split()
        return float(up), float(idle)


class Attention:
    """Looks, decides, and puts what is decided into force, on the running event loop, whose
    thread alone may call it. The groups stay the caller's."""

    def __init__(self, tell: Tell, processors: Processors | None = None) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._processors = processors or Processors()
        self._groups: dict[str, tuple[AppGroup, Limits]] = {}
        self._deciding = GivingWay()
        self._used: dict[str, float] = {}
        """Seconds of processor time that each had used at the last look."""
        self._looked = 0.0
        self._close_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, group: AppGroup, limits: Limits) -> None:
        """Look at one more application, or at one with other limits. One alone has nobody to
        give way to: then nothing is looked at."""
        self._groups[group.name] = group, limits
        if self._timer is None and len(self._groups) > 1:
            self._timer = self._loop.call_later(INTERVAL, self._look)

    def remove(self, name: str) -> None:
        """Look at it no longer."""
        self._groups.pop(name, None)
        self._used.pop(name, None)

    def close(self) -> None:
        """Look at nothing any more; who gives way goes on doing so. Idempotent."""
        self._groups.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if len(self._groups) < 2:
            self._decide({}, crowded=False, now=self._loop.time())
            return
        crowded = self._processors.crowded()
        now = self._loop.time()
        if crowded and now >= self._close_until:
            # The first look after a rest only says from where on to count.
            self._used.clear()
        if crowded:
            self._close_until = now + DWELL + CLOSE
        pause = INTERVAL
        if now < self._close_until:
            begun = time.monotonic()
            self._decide(self._shares(now), crowded=crowded, now=now)
            pause = max(CLOSE, SPARING * (time.monotonic() - begun))
        self._timer = self._loop.call_later(pause, self._look)

    def _shares(self, now: float) -> dict[str, Share]:
        elapsed, self._looked = now - self._looked, now
        shares = {}
        for name, (group, limits) in self._groups.items():
            used = group.processor_time()
            if used is None:
                continue
            before = self._used.get(name)
            self._used[name] = used
            if before is not None and limits.cpu_background is not CpuBackground.ALWAYS:
                shares[name] = Share(
                    max(0.0, used - before) / elapsed,
                    limits.cpu_weight or _WEIGHT,
                    may_give_way=limits.cpu_background is CpuBackground.AUTO,
                )
        return shares

    def _decide(self, shares: dict[str, Share], *, crowded: bool, now: float) -> None:
        giving = self._deciding.decide(shares, crowded=crowded, now=now)
        for name, (group, _) in self._groups.items():
            if group.gives_way != (name in giving) and group.give_way(name in giving):
                self._tell(name, name in giving)
