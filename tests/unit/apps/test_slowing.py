"""When an application is looked at after a kill, and what comes of it."""

import asyncio
from typing import cast

import pytest
from tests.support.waiting import until

from cloister.apps import slowing
from cloister.apps.slowing import Brake
from cloister.cells.cgroups import slowing as rules
from cloister.cells.cgroups.app_group import AppGroup
from cloister.cells.cgroups.counters import Counters
from cloister.model.limits import CpuBackground, Limits


class Group:
    """Of an application with so many kills at each look."""

    def __init__(self, name: str, kills: int = 0, *, able: bool = True) -> None:
        self.name = name
        self.kills = kills
        self.able = able
        self.slowed = False
        self.looks = 0

    def counters(self) -> Counters:
        self.looks += 1
        return Counters(oom_kills=self.looks * self.kills)

    def slow_down(self, wanted: bool) -> bool:
        if self.able:
            self.slowed = wanted
        return self.able


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowing, "INTERVAL", 0.01)
    monkeypatch.setattr(slowing, "ATTENTIVE", 0.2)
    monkeypatch.setattr(rules, "CALM", 0.1)


def brake(told: list[tuple[str, bool]], *groups: Group, limits: Limits | None = None) -> Brake:
    made = Brake(lambda name, slowed: told.append((name, slowed)))
    for group in groups:
        made.add(cast("AppGroup", group), limits or Limits())
    return made


def test_a_storm_is_slowed_down_and_let_go_again() -> None:
    async def play() -> None:
        told = list[tuple[str, bool]]()
        hog, quiet = Group("hog", 3), Group("quiet")
        made = brake(told, hog, quiet)
        made.killed("hog")
        await until(lambda: hog.slowed)
        hog.kills = 0
        hog.looks = 0
        await until(lambda: not hog.slowed)
        assert told == [("hog", True), ("hog", False)]
        await until(lambda: made._timer is None)
        assert quiet.looks == 0
        made.close()

    asyncio.run(play())


def test_who_is_started_again_is_let_go() -> None:
    async def play() -> None:
        told = list[tuple[str, bool]]()
        hog = Group("hog", 3)
        made = brake(told, hog, Group("quiet"))
        made.killed("hog")
        await until(lambda: hog.slowed)
        made.let_go("hog")
        assert not hog.slowed
        assert told == [("hog", True), ("hog", False)]
        # What goes on is noticed again, though nobody may say so soon.
        await until(lambda: hog.slowed)
        made.let_go("unknown")
        made.close()

    asyncio.run(play())


def test_nobody_is_looked_at_where_nothing_was_killed() -> None:
    async def play() -> None:
        made = brake([], Group("a", 3), Group("b", 3))
        assert made._timer is None
        made.killed("unknown")
        assert made._timer is None
        made.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    "limits", [Limits(cpu_background=CpuBackground.NEVER), Limits(cpu_max=0.05)]
)
def test_who_has_it_settled_is_left_alone(limits: Limits) -> None:
    async def play() -> None:
        told = list[tuple[str, bool]]()
        hog = Group("hog", 3)
        made = brake(told, hog, Group("quiet"), limits=limits)
        made.killed("hog")
        await until(lambda: hog.looks > 20)
        assert not hog.slowed
        assert not told
        made.close()

    asyncio.run(play())


def test_one_alone_disturbs_nobody() -> None:
    async def play() -> None:
        hog, other = Group("hog", 3), Group("other")
        made = brake([], hog, other)
        made.killed("hog")
        await until(lambda: hog.slowed)
        made.remove("other")
        await until(lambda: not hog.slowed)
        made.remove("hog")
        await until(lambda: made._timer is None)
        made.close()

    asyncio.run(play())


def test_what_cannot_be_done_is_not_said() -> None:
    async def play() -> None:
        told = list[tuple[str, bool]]()
        hog = Group("hog", 3, able=False)
        made = brake(told, hog, Group("quiet"))
        made.killed("hog")
        await until(lambda: hog.looks > 20)
        assert not told
        made.close()

    asyncio.run(play())
