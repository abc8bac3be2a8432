"""What applications have on disks is told as far as it is known in time."""

import asyncio
from functools import partial
from typing import cast

import pytest
from tests.support.waiting import wait_until

from cloister.apps import resources
from cloister.apps.logs import LogEvent, Sink
from cloister.apps.resources import Resources
from cloister.cells.cgroups.app_group import LimitStatus
from cloister.cells.cgroups.groups import ControlGroups
from cloister.cells.quotas.bounds import DiskBounds, DiskUsage, Lifted
from cloister.model.app import App, CommandProgram
from cloister.model.errors import CloisterError

USAGE = {"blog": (DiskUsage("/srv/blog", 4096, 1, 8192, 10),)}
APP = App("blog", CommandProgram(("/x",)), None)


class FakeBounds:
    def __init__(self) -> None:
        self.looks = 0
        self.found = USAGE
        self.answer = asyncio.Event()
        self.broken = False
        self.statuses: tuple[LimitStatus, ...] = ()
        self.lifted: tuple[Lifted, ...] = ()

    async def usage(self) -> dict[str, tuple[DiskUsage, ...]]:
        self.looks += 1
        await self.answer.wait()
        if self.broken:
            raise CloisterError("broken")
        return self.found

    async def enforce(self, app: App) -> tuple[LimitStatus, ...]:
        return self.statuses

    async def retain(self, names: list[str]) -> tuple[Lifted, ...]:
        if self.broken:
            raise CloisterError("the store is damaged")
        return self.lifted


class Lines:
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def emit(self, event: LogEvent) -> None:
        self.said.append((event.source, event.message))


def make(bounds: FakeBounds, lines: Lines) -> Resources:
    groups = cast("ControlGroups", None)
    return Resources(groups, cast("Sink", lines), cast("DiskBounds", bounds))


def usage(found: Resources) -> object:
    return found._disk_usage


def test_whoever_asks_at_once_waits_for_one_look() -> None:
    async def scene() -> None:
        bounds = FakeBounds()
        found = make(bounds, Lines())
        asking = [asyncio.create_task(found.look_at_disks()) for _ in range(3)]
        await asyncio.sleep(0)
        bounds.answer.set()
        await asyncio.gather(*asking)
        assert (bounds.looks, usage(found)) == (1, USAGE)

    asyncio.run(scene())


def test_a_disk_that_does_not_answer_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        monkeypatch.setattr(resources, "_LOOKING", 0.01)
        bounds = FakeBounds()
        found = make(bounds, Lines())
        await found.look_at_disks()
        await found.look_at_disks()
        assert (bounds.looks, usage(found)) == (1, {})
        bounds.answer.set()
        await found.look_at_disks()
        assert (bounds.looks, usage(found)) == (1, USAGE)
        bounds.broken = True
        await found.look_at_disks()
        assert (bounds.looks, usage(found)) == (2, {})

    asyncio.run(scene())


def test_what_is_not_in_force_is_said_once() -> None:
    async def scene() -> None:
        bounds, lines = FakeBounds(), Lines()
        found = make(bounds, lines)
        missing = (
            LimitStatus("disk", "8 MiB", False, "no quotas", default=False),
            LimitStatus("disk-files", "1024", False, "no quotas", default=True),
        )
        for statuses in (missing, missing, (), missing):
            bounds.statuses = statuses
            await found.bound_disks(APP)
        found.close()
        said = ("blog", "disk 8 MiB is not in force: no quotas")
        assert lines.said == [said, said]

    asyncio.run(scene())


def test_what_is_left_of_an_application_is_said() -> None:
    async def scene() -> None:
        bounds, lines = FakeBounds(), Lines()
        found = make(bounds, lines)
        bounds.lifted = (Lifted("blog", 501, ("4 KiB in 1 files on the disk of /srv",)),)
        await found.retain_disks([])
        bounds.broken = True
        await found.retain_disks([])
        assert [name for name, _ in lines.said] == ["blog", "cloister"]
        assert "its project 501 is kept for it, and still has 4 KiB" in lines.said[0][1]
        assert "the store is damaged" in lines.said[1][1]

    asyncio.run(scene())


@pytest.mark.parametrize("asked", [True, False])
def test_who_fills_its_disk_is_told_of_whether_somebody_asks_or_not(
    monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    async def scene() -> None:
        monkeypatch.setattr(resources, "_PAUSE", 3600.0 if asked else 0.001)
        # Said also of a look that nobody waits for any more.
        monkeypatch.setattr(resources, "_LOOKING", 0.001)
        bounds, lines = FakeBounds(), Lines()
        bounds.statuses = (LimitStatus("disk", "8 KiB", True, "project 1", default=False),)
        bounds.found = {"blog": (DiskUsage("/srv/blog", 8192, 1, 8192, 10),)}
        found = make(bounds, lines)
        await found.bound_disks(APP)
        if asked:
            await found.look_at_disks()
        assert lines.said == []
        bounds.answer.set()
        told = partial(wait_until, lambda: lines.said and (asked or bounds.looks > 2), what="it")
        await asyncio.to_thread(told)
        found.close()
        said = "has used up its limit `disk` in /srv/blog: 8 KiB of 8 KiB"
        assert lines.said == [("blog", said)]

    asyncio.run(scene())
