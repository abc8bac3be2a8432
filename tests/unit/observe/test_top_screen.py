"""The screen, driven as a person would."""

import asyncio
import dataclasses

from tests.support.status import BLOG, STATUS
from textual.pilot import Pilot
from textual.widgets import Static

from cloister.apps.brief import AppBrief, Brief, ListenerBrief
from cloister.apps.status import AppStatus, DaemonStatus
from cloister.model.errors import DaemonUnreachableError
from cloister.observe.rates import Observation, View
from cloister.observe.top_screen import TopApp
from cloister.observe.top_table import AppTable
from cloister.observe.usage import Usage


class Machine:
    """Applications that use more with every look: ``app-0`` most processors, ``app-49`` most
    memory."""

    def __init__(self, count: int = 50) -> None:
        self.count = count
        self.looks = 0
        self.gone = False
        self.asked = 0
        self.shown: list[str] = []

    def look(self, observation: Observation) -> View:
        if self.gone:
            raise DaemonUnreachableError("no supervisor runs")
        self.looks += 1
        apps = tuple(
            AppBrief(f"app-{n}", "ready", (n,), 0, 5 * self.looks, n, 0, 0, ())
            for n in range(self.count)
        )
        listener = ListenerBrief("https", "[::]:443", 7 * self.looks, 3, 0)
        usage = {
            app.name: Usage(self.looks * (self.count - n) / 100, 4096 * (n + 1), tasks=1)
            for n, app in enumerate(apps)
        }
        return observation.add(Brief(float(self.looks), (1,), "ready", (listener,), apps), usage)

    def status(self) -> DaemonStatus:
        self.asked += 1
        apps = tuple(
            dataclasses.replace(BLOG, name=f"app-{n}", hosts=(f"{n}.example",))
            for n in range(self.count)
        )
        return dataclasses.replace(STATUS, apps=apps, listeners=STATUS.listeners[:1])

    def app(self, name: str) -> AppStatus:
        self.shown.append(name)
        way = dataclasses.replace(BLOG.egress[0], name=f"of-{name}:80")
        return dataclasses.replace(BLOG, name=name, egress=(way,))


def lines(app: TopApp) -> list[str]:
    table = app.query_one(AppTable)
    return [table.render_line(y).text.rstrip() for y in range(table.size.height)]


async def until(pilot: Pilot[None], condition: object) -> None:
    async with asyncio.timeout(30):
        while not condition():  # type: ignore[operator]
            await pilot.pause(0.01)


def drive(machine: Machine, steps: object) -> None:
    async def run() -> None:
        app = TopApp(
            machine.look, status=machine.status, app=machine.app, interval=0.1, order="cpu"
        )
        async with app.run_test(size=(140, 20)) as pilot:
            await until(pilot, lambda: len(app._observation.history) == machine.count)
            await until(pilot, lambda: "app-" in lines(app)[1])
            await steps(app, pilot)  # type: ignore[operator]

    asyncio.run(run())


def test_rows_are_sorted_and_a_key_sorts_them_otherwise() -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: lines(app)[1].startswith("app-0 "))
        assert lines(app)[0].split()[:4] == ["APP", "STATE", "CPU%", "THR%"]
        first = lines(app)[1].split()
        assert first[1:3] == ["ready", "50.0"]
        await pilot.press("m")
        await until(pilot, lambda: lines(app)[1].startswith("app-49 "))
        assert lines(app)[1].split()[4] == "200K"
        await pilot.press("r")
        await until(pilot, lambda: lines(app)[1].startswith("app-0 "))

    drive(Machine(), steps)


def test_the_mark_moves_and_stays_with_its_application() -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        table = app.query_one(AppTable)
        for _ in range(30):
            await pilot.press("down")
        await until(pilot, lambda: table.marked == 30)
        await until(pilot, lambda: any(line.startswith("app-30 ") for line in lines(app)))
        await pilot.press("m")  # from the other end app-30 is the twentieth
        await until(pilot, lambda: table.marked == 19)
        await pilot.press("home")
        await until(pilot, lambda: table.marked == 0)

    drive(Machine(), steps)


def test_a_filter_and_its_end() -> None:
    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash", "p", "-", "7", "enter")
        await until(pilot, lambda: lines(app)[2:] == [""] * (len(lines(app)) - 2))
        assert lines(app)[1].startswith("app-7 ")
        await pilot.press("escape")
        await until(pilot, lambda: lines(app)[2].startswith("app-"))

    drive(Machine(), steps)


def test_the_doors_listeners_and_routes_and_the_sums() -> None:
    machine = Machine()

    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        door = app.query_one("#door", Static)
        assert not door.display
        await pilot.press("d")
        await until(pilot, lambda: door.display)
        await until(pilot, lambda: "[::]:443" in str(door.render()))
        await until(pilot, lambda: "7.example" in str(door.render()))
        (line,) = [one for one in str(door.render()).splitlines() if " 7.example " in one]
        assert line.split()[:5] == ["https", "7.example", "app", "app-7", "7"]
        # Ways are asked for once, and not at every look.
        looks, asked = machine.looks, machine.asked
        await until(pilot, lambda: machine.looks > looks)
        assert machine.asked == asked == 1
        summary = str(app.query_one("#summary", Static).render())
        assert "apps 50/50 ready" in summary
        assert "7.0 conn/s" in summary

    drive(machine, steps)


def test_the_marked_application_s_ways_out() -> None:
    machine = Machine()

    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        detail = app.query_one("#detail", Static)
        assert not detail.display
        # Nobody is asked for what nobody looks at.
        assert (machine.looks > 1, machine.shown) == (True, [])
        await pilot.press("enter")
        await until(pilot, lambda: "of-app-0:80 " in str(detail.render()))
        await pilot.press("down")
        await until(pilot, lambda: "of-app-1:80 " in str(detail.render()))
        await pilot.press("enter")
        await until(pilot, lambda: not detail.display)

    drive(machine, steps)


def test_a_supervisor_that_goes_is_said_and_what_was_seen_stays() -> None:
    machine = Machine()

    async def steps(app: TopApp, pilot: Pilot[None]) -> None:
        machine.gone = True
        summary = app.query_one("#summary", Static)
        await until(pilot, lambda: "no supervisor runs" in str(summary.render()))
        assert lines(app)[1].startswith("app-0 ")
        machine.gone = False
        await until(pilot, lambda: "no supervisor runs" not in str(summary.render()))

    drive(machine, steps)
