"""When the applications are looked at, and what comes of it."""

import asyncio
from pathlib import Path
from typing import cast

import pytest
from tests.support.waiting import until

from cloister.apps import giving_way
from cloister.apps.giving_way import Attention, Processors
from cloister.cells.cgroups.app_group import AppGroup
from cloister.model.limits import CpuBackground, Limits


class Group:
    """Of an application that uses so many processors."""

    def __init__(self, name: str, processors: float) -> None:
        self.name = name
        self.processors = processors
        self.gives_way = False
        self.looks = 0

    def processor_time(self) -> float | None:
        self.looks += 1
        return self.processors * asyncio.get_running_loop().time()

    def give_way(self, wanted: bool) -> bool:
        self.gives_way = wanted
        return True


class Machine:
    """Processors that are as busy as one says."""

    def __init__(self, *, is_crowded: bool) -> None:
        self.is_crowded = is_crowded
        self.looks = 0

    def crowded(self) -> bool:
        self.looks += 1
        return self.is_crowded


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_way, "INTERVAL", 0.02)
    monkeypatch.setattr(giving_way, "CLOSE", 0.02)


def attention(machine: Machine, told: list[tuple[str, bool]]) -> Attention:
    return Attention(lambda name, gives: told.append((name, gives)), cast("Processors", machine))


def add(to: Attention, *groups: Group, limits: Limits | None = None) -> None:
    for group in groups:
        to.add(cast("AppGroup", group), limits or Limits())


def test_the_busy_one_gives_way_while_the_machine_is_busy() -> None:
    async def play() -> None:
        machine, told = Machine(is_crowded=True), list[tuple[str, bool]]()
        spinner, quiet = Group("spinner", 1.8), Group("quiet", 0.1)
        watching = attention(machine, told)
        add(watching, spinner, quiet)
        await until(lambda: spinner.gives_way)
        assert not quiet.gives_way
        machine.is_crowded = False
        await until(lambda: not spinner.gives_way)
        assert told == [("spinner", True), ("spinner", False)]
        watching.close()

    asyncio.run(play())


def test_at_rest_only_the_machine_is_looked_at() -> None:
    async def play() -> None:
        machine = Machine(is_crowded=False)
        groups = Group("a", 0.1), Group("b", 0.0)
        watching = attention(machine, [])
        add(watching, *groups)
        await until(lambda: machine.looks >= 3)
        assert [one.looks for one in groups] == [0, 0]
        watching.close()

    asyncio.run(play())


def test_one_alone_is_not_looked_at() -> None:
    async def play() -> None:
        machine = Machine(is_crowded=True)
        one, other = Group("one", 2.0), Group("other", 0.0)
        watching = attention(machine, [])
        add(watching, one)
        assert watching._timer is None
        add(watching, other)
        await until(lambda: one.gives_way)
        watching.remove("other")
        await until(lambda: not one.gives_way)
        assert watching._timer is None
        watching.close()

    asyncio.run(play())


@pytest.mark.parametrize("background", [CpuBackground.NEVER, CpuBackground.ALWAYS])
def test_who_has_it_settled_is_left_alone(background: CpuBackground) -> None:
    async def play() -> None:
        machine = Machine(is_crowded=True)
        spinner, quiet = Group("spinner", 1.8), Group("quiet", 0.1)
        watching = attention(machine, [])
        add(watching, spinner, limits=Limits(cpu_background=background))
        add(watching, quiet)
        await until(lambda: machine.looks >= 5)
        assert not spinner.gives_way
        watching.close()

    asyncio.run(play())


def test_how_busy_the_processors_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_way.os, "cpu_count", lambda: 4)
    uptime = tmp_path / "uptime"
    uptime.write_text("100.00 350.00\n")
    processors = Processors(str(uptime))
    assert not processors.crowded()  # no time has passed
    uptime.write_text("110.00 352.00\n")
    assert processors.crowded()  # 2 of 40 seconds idle
    uptime.write_text("120.00 385.00\n")
    assert not processors.crowded()  # 33 of 40
