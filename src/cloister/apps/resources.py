"""What the applications may use of the machine: their control groups, news of these, and what
they may have on disks."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from cloister.apps.full_disks import FullDisks
from cloister.apps.giving_way import Attention
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.slowing import Brake
from cloister.apps.status import ResourceStatus
from cloister.cells.cgroups.app_group import AppGroup, LimitStatus
from cloister.cells.cgroups.counters import Counters
from cloister.cells.cgroups.groups import ControlGroups
from cloister.cells.cgroups.limits import SLOW
from cloister.cells.cgroups.watch import Watcher
from cloister.cells.quotas.bounds import DiskBounds, DiskUsage
from cloister.model.app import App
from cloister.model.errors import CloisterError

_LOOKING = 2.0
"""Seconds that anybody waits for what is on disks."""
_PAUSE = 10.0
"""Seconds between looks at it where nobody asks: each starts a program, which takes some
milliseconds of the processor."""


@dataclass(frozen=True, slots=True)
class _Lookouts:
    """All that looks at the applications' groups."""

    watcher: Watcher
    attention: Attention
    brake: Brake

    def remove(self, name: str) -> None:
        self.watcher.remove(name)
        self.attention.remove(name)
        self.brake.remove(name)

    def close(self) -> None:
        self.watcher.close()
        self.attention.close()
        self.brake.close()


class Resources:
    """Gives each application its group, and says when one meets its limits.

    Lives on one event loop. The groups stay the caller's; :meth:`close` ends the watching.
    """

    def __init__(self, groups: ControlGroups, sink: Sink, disks: DiskBounds | None = None) -> None:
        """Without ``disks`` nothing bounds what is there."""
        self._groups = groups
        self._disks = disks
        self._disk_usage: dict[str, tuple[DiskUsage, ...]] = {}
        self._look: asyncio.Task[dict[str, tuple[DiskUsage, ...]]] | None = None
        self._full = FullDisks()
        self._again: asyncio.TimerHandle | None = None
        self._told: dict[str, tuple[LimitStatus, ...]] = {}
        """What was said last of each application's bounds on disks."""
        self._sink = sink
        self._lookouts: _Lookouts | None = None

    def application(self, app: App) -> AppGroup:
        """The group of an application, with its limits in force. Raises as
        :meth:`ControlGroups.application`."""
        known = self._groups.get(app.name)
        group = self._groups.application(app.name, app.limits, app.control_group)
        if self._lookouts is None:
            self._lookouts = _Lookouts(
                Watcher(self._tell), Attention(self._gives_way), Brake(self._slowed)
            )
        self._lookouts.watcher.add(group)
        # Only beside others of its kind does it matter: elsewhere it is the host's own affair.
        if app.control_group is None:
            self._lookouts.attention.add(group, app.limits)
            self._lookouts.brake.add(group, app.limits)
        if known is None:
            self._say_missing(app.name, group.limits)
        return group

    async def bound_disks(self, app: App) -> None:
        """Has what an application may have on disks in force. Raises as
        :meth:`DiskBounds.enforce`, and waits as that does."""
        if self._disks is None:
            return
        found = await self._disks.enforce(app)
        if found and self._again is None:
            self._look_again()
        if found == self._told.get(app.name, ()):
            return
        self._told[app.name] = found
        self._say_missing(app.name, [one for one in found if not one.default])

    async def retain_disks(self, apps: Iterable[str]) -> None:
        """Only these have something on disks from now on. Says what others have left there."""
        if self._disks is None:
            return
        try:
            lifted = await self._disks.retain(apps)
        except CloisterError as error:
            self._say("cloister", f"bounds on disks are as they were: {error}", Level.WARNING)
            return
        for one in lifted:
            message = f"has no bound on disks any more: its project {one.project} is kept for it"
            level = Level.INFO
            if one.leftovers:
                message += f", and still has {', '.join(one.leftovers)}"
                level = Level.WARNING
            self._say(one.name, message, level)

    async def look_at_disks(self) -> None:
        """What applications have on disks is in :meth:`status` as it is now. Waits at most two
        seconds: of a disk that does not answer nothing is known."""
        if self._disks is None:
            return
        look = self._begin_look(self._disks)
        await asyncio.wait((look,), timeout=_LOOKING)
        if not look.done() or look.cancelled() or look.exception():
            self._disk_usage = {}
            return
        self._disk_usage = look.result()

    def release(self, name: str) -> None:
        """An application is configured no more: nothing of it runs on."""
        if self._lookouts is not None:
            self._lookouts.remove(name)
        self._groups.release(name)

    def clear(self) -> None:
        """End what an earlier supervisor has left of applications that have no group by now."""
        for name in self._groups.clear():
            message = "processes of an earlier supervisor were still there: they are ended"
            self._say(name, message, Level.WARNING)

    def status(self, name: str) -> ResourceStatus | None:
        """``None`` where an application has no group yet."""
        group = self._groups.get(name)
        if group is None:
            return None
        return ResourceStatus(
            (*group.limits, *(() if self._disks is None else self._disks.status(name))),
            group.usage(),
            group.counters(),
            group.gives_way,
            self._disk_usage.get(name, ()),
            group.slowed,
        )

    def begin_anew(self, name: str) -> None:
        """An application is started again, as somebody has asked: it is not slowed down for what
        it did before."""
        if self._lookouts is not None:
            self._lookouts.brake.let_go(name)

    def has_room(self, name: str) -> bool:
        """Whether one more process of an application could start beside those that there are."""
        group = self._groups.get(name)
        return group is None or group.has_room()

    def places(self, name: str) -> tuple[tuple[str, int], ...]:
        """The folders of an application's groups, each with the version of its hierarchy."""
        group = self._groups.get(name)
        return () if group is None else group.places

    def close(self) -> None:
        """Watch no more. Idempotent."""
        if self._again is not None:
            self._again.cancel()
        if self._look is not None:
            self._look.cancel()
        if self._lookouts is not None:
            self._lookouts.close()
            self._lookouts = None

    def _begin_look(self, disks: DiskBounds) -> asyncio.Task[dict[str, tuple[DiskUsage, ...]]]:
        """Who asks meanwhile waits for the same look; and a look that hangs is the only one."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(disks.usage())
            self._look.add_done_callback(self._looked)
        return self._look

    def _looked(self, look: asyncio.Task[dict[str, tuple[DiskUsage, ...]]]) -> None:
        if not look.cancelled() and look.exception() is None:
            for name, message in self._full.news(look.result()):
                self._say(name, message, Level.WARNING)

    def _look_again(self) -> None:
        """Has who fills its disk told where nobody asks for what is used."""
        self._again = asyncio.get_running_loop().call_later(_PAUSE, self._look_again)
        if self._disks is not None:
            self._begin_look(self._disks)

    def _say_missing(self, name: str, limits: Iterable[LimitStatus]) -> None:
        for one in limits:
            if not one.in_force:
                message = f"{one.name} {one.value} is not in force: {one.detail}"
                self._say(name, message, Level.INFO if one.default else Level.WARNING)

    def _gives_way(self, name: str, gives_way: bool) -> None:
        if gives_way:
            message = "gives way to the others: it uses more than its share of busy processors"
        else:
            message = "gives way no more"
        self._say(name, message, Level.INFO)

    def _slowed(self, name: str, slowed: bool) -> None:
        if slowed:
            message = (
                f"slowed down to {SLOW:g} processors: its processes are killed for lack of memory "
                "again and again"
            )
            self._say(name, message, Level.WARNING)
        else:
            self._say(name, "slowed down no more", Level.INFO)

    def _tell(self, name: str, news: Counters) -> None:
        if news.oom_kills and self._lookouts is not None:
            self._lookouts.brake.killed(name)
        for message in describe(news):
            self._say(name, message, Level.WARNING)

    def _say(self, name: str, message: str, level: Level) -> None:
        self._sink.emit(LogEvent(name, message, level, fields={"event": "resources"}))


def describe(news: Counters) -> list[str]:
    """What limits were met, for people; nothing for what only took memory back."""
    facts = (
        (news.oom_kills, "killed for lack of memory: its limit `memory` is used up", "process"),
        (news.pids_refused, "refused: its limit `pids` is used up", "new process"),
        (news.memory_high, "beyond its limit `memory-high`: slowed down", "time"),
    )
    said = [f"{count} {_plural(what, count)} {fact}" for count, fact, what in facts if count]
    if news.throttled_periods:
        said.append(
            f"waited for {news.throttled_seconds:.1f} s of processor time in "
            f"{news.throttled_periods} periods: its limit `cpu-max` is used up"
        )
    return said


def _plural(noun: str, count: int) -> str:
    if count == 1:
        return noun
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"
