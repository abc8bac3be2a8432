"""A service obeys the table: real event loop, made-up processes."""

import asyncio
import io
import json
import random
from typing import Any

import pytest
from tests.support.scenario import scenarios

from cloister.apps.backoff import BackoffPolicy
from cloister.apps.logs import LogFormat, Sink
from cloister.apps.machine import State
from cloister.apps.service import Process, Service, ServicePlan, describe_exit
from cloister.model.errors import CloisterError
from cloister.model.lifecycle import RestartWhen

QUICK = BackoffPolicy(first_pause=0.001, longest_pause=0.002, give_up_after=4, window=25)


class FakeProcess:
    """Does what the test says."""

    def __init__(self, pid: int, world: "World") -> None:
        self.pid = pid
        self.world = world
        self.ready = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.signals: list[str] = []

    async def wait_ready(self) -> None:
        await self.ready.wait()

    def terminate(self) -> None:
        self.signals.append("terminate")
        if self.world.polite:
            self.end(0)

    def kill(self) -> None:
        self.signals.append("kill")
        self.end(-9)

    def end(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)

    async def wait(self) -> int:
        status = await asyncio.shield(self.ended)
        self.world.alive.discard(self)
        return status

    def last_output(self) -> tuple[str, ...]:
        return ("last words",)


class World:
    """A service, the processes it makes, and what it says."""

    def __init__(
        self,
        *,
        ready_timeout: float = 60,
        stop_timeout: float = 60,
        polite: bool = True,
        backoff: BackoffPolicy = QUICK,
        when: RestartWhen = RestartWhen.ALWAYS,
        may_rest: bool = False,
    ) -> None:
        self.processes: list[FakeProcess] = []
        self.alive: set[FakeProcess] = set()
        self.polite = polite
        self.ready_at_once = True
        self.fail_spawn = False
        self.spawn_gate: asyncio.Event | None = None
        self.tries = 0
        self.tried_again = asyncio.Event()
        self.now = 0.0
        self.log = io.StringIO()
        self.sink = Sink(self.log, LogFormat.JSON)
        self.may_rest = may_rest
        plan = ServicePlan(
            "blog",
            self.launch,
            ready_timeout,
            stop_timeout,
            backoff,
            when,
            lambda: self.may_rest,
        )
        self.service = Service(plan, self.sink, clock=lambda: self.now, chance=lambda: 0.0)

    async def launch(self) -> Process:
        self.tries += 1
        if self.tries == 2:
            self.tried_again.set()
        if self.spawn_gate is not None:
            await self.spawn_gate.wait()
        if self.fail_spawn:
            raise CloisterError("no cell", why="no memory", hint="buy some")
        assert not self.alive, "two processes of one program"
        process = FakeProcess(1000 + len(self.processes), self)
        self.processes.append(process)
        self.alive.add(process)
        if self.ready_at_once:
            process.ready.set()
        return process

    async def reach(self, *states: State) -> State:
        return await asyncio.wait_for(self.service.wait_state(*states), 10)

    def force(self) -> None:
        self.service.force()

    def said(self) -> list[dict[str, Any]]:
        self.sink.close()
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


scenario = scenarios(World)


def test_it_becomes_ready_and_stops() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.service.start()
        await world.reach(State.READY)
        assert world.service.process is world.processes[0]
        world.service.stop()
        await world.reach(State.STOPPED)
        assert world.processes[0].signals == ["terminate"]
        assert world.service.process is None
        assert world.service.failure is None

    play()


def test_a_process_that_dies_is_replaced_at_once_and_its_last_words_are_kept() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.service.start()
        await world.reach(State.READY)
        world.processes[0].end(-9)
        await world.reach(State.BACKOFF)
        await world.reach(State.READY)
        assert len(world.processes) == 2
        assert world.service.restarts == 1
        failure = world.service.failure
        assert failure is not None
        assert failure.message == "ended by itself (killed by SIGKILL)"
        assert failure.last_output == ("last words",)
        (error,) = [line for line in world.said() if line["level"] == "error"]
        assert error["details"] == ["last words"]
        assert error["exit_status"] == -9

    play()


def test_a_crash_loop_is_given_up_and_a_person_may_start_it_again() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.ready_at_once = False
        world.service.start()
        for count in range(1, 5):
            await world.reach(State.STARTING)
            assert len(world.processes) == count
            world.processes[-1].end(1)
            await world.reach(State.BACKOFF, State.FAILED)
        await world.reach(State.FAILED)
        assert world.service.failure is not None
        assert world.service.failure.message == "given up after 4 failures within 25 s"
        assert world.service.failure.last_output[0] == "last words"
        world.ready_at_once = True
        world.service.start()
        await world.reach(State.READY)
        assert len(world.processes) == 5

    play()


def test_a_stable_run_in_between_prevents_giving_up() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.service.start()
        for _ in range(10):
            await world.reach(State.READY)
            world.now += QUICK.stable_after
            world.processes[-1].end(1)
            await world.reach(State.BACKOFF)
        await world.reach(State.READY)

    play()


def test_a_failed_spawn_is_told_with_its_reason_and_tried_again() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.fail_spawn = True
        world.service.start()
        await world.reach(State.BACKOFF)
        world.fail_spawn = False
        await world.reach(State.READY)
        assert world.service.failure is not None
        assert world.service.failure.message == "no cell"
        assert world.service.failure.last_output == ("why: no memory", "next: buy some")

    play()


def test_what_does_not_become_ready_is_killed_and_tried_again() -> None:
    @scenario(ready_timeout=0.01)
    async def play(world: World) -> None:
        world.ready_at_once = False
        world.service.start()
        await world.reach(State.ABORTING)
        world.ready_at_once = True
        await world.reach(State.READY)
        assert world.processes[0].signals == ["kill"]
        assert world.service.failure is not None
        assert world.service.failure.message == "not ready after 0.01 s, so it was killed"

    play()


def test_what_does_not_stop_is_killed() -> None:
    @scenario(stop_timeout=0.01, polite=False)
    async def play(world: World) -> None:
        world.service.start()
        await world.reach(State.READY)
        world.service.stop()
        await world.reach(State.STOPPED)
        assert world.processes[0].signals == ["terminate", "kill"]

    play()


def test_force_waits_for_nobody() -> None:
    @scenario(polite=False)
    async def play(world: World) -> None:
        world.service.start()
        await world.reach(State.READY)
        world.service.stop()
        world.service.force()
        await world.reach(State.STOPPED)
        assert world.processes[0].signals == ["terminate", "kill"]

    play()


def test_a_restart_asks_once_and_starts_again() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.service.start()
        await world.reach(State.READY)
        world.service.restart()
        await world.reach(State.RESTARTING)
        await world.reach(State.READY)
        assert len(world.processes) == 2
        assert world.processes[0].signals == ["terminate"]
        assert world.service.failure is None

    play()


def test_a_stop_while_a_process_is_made_lets_it_not_live() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.spawn_gate = asyncio.Event()
        world.service.start()
        world.service.stop()
        assert world.service.state is State.WITHDRAWING
        world.spawn_gate.set()
        await world.reach(State.STOPPED)
        assert world.processes[0].signals == ["kill"]

    play()


def test_a_stop_during_a_pause_ends_it() -> None:
    @scenario(backoff=BackoffPolicy(first_pause=60))
    async def play(world: World) -> None:
        world.fail_spawn = True
        world.service.start()
        await asyncio.wait_for(world.tried_again.wait(), 10)
        await world.reach(State.BACKOFF)
        world.service.stop()
        assert world.service.state is State.STOPPED

    play()


@pytest.mark.parametrize(
    ("when", "status", "state"),
    [
        (RestartWhen.ALWAYS, 0, State.READY),
        (RestartWhen.ON_FAILURE, 0, State.ENDED),
        (RestartWhen.ON_FAILURE, 1, State.READY),
        (RestartWhen.NEVER, 1, State.ENDED),
    ],
)
def test_the_policy_decides_what_follows_an_end(
    when: RestartWhen, status: int, state: State
) -> None:
    @scenario(when=when)
    async def play(world: World) -> None:
        world.service.start()
        await world.reach(State.READY)
        world.processes[0].end(status)
        await world.reach(State.BACKOFF)
        await world.reach(state)
        # An end that was expected is no failure.
        assert (world.service.failure is None) == (when is not RestartWhen.ALWAYS and status == 0)

    play()


def test_nobody_needs_it_until_somebody_does() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.service.rest()
        assert world.service.state is State.DORMANT
        assert world.tries == 0
        world.service.demand()
        await world.reach(State.READY)
        world.service.rest()
        await world.reach(State.DORMANT)
        assert world.processes[0].signals == ["terminate"]
        world.service.demand()
        await world.reach(State.READY)
        assert len(world.processes) == 2

    play()


def test_a_demand_during_its_retirement_is_not_lost() -> None:
    @scenario(polite=False)
    async def play(world: World) -> None:
        world.service.start()
        await world.reach(State.READY)
        world.service.rest()
        world.service.demand()
        assert world.service.state is State.RESTARTING
        world.processes[0].end(0)
        await world.reach(State.READY)
        assert len(world.processes) == 2
        assert world.processes[0].signals == ["terminate"]

    play()


def test_a_program_that_ends_well_rests_where_nobody_waits() -> None:
    @scenario(may_rest=True)
    async def play(world: World) -> None:
        world.service.start()
        await world.reach(State.READY)
        world.processes[0].end(0)
        await world.reach(State.DORMANT)
        assert world.service.failure is None
        world.service.demand()
        await world.reach(State.READY)
        # Somebody waits: it comes back at once.
        world.may_rest = False
        world.processes[1].end(0)
        await world.reach(State.BACKOFF)
        await world.reach(State.READY)

    play()


@pytest.mark.parametrize("seed", range(40))
def test_any_order_of_requests_and_accidents(seed: int) -> None:
    """Two processes never live at once (``launch`` asserts it), and no event comes where
    the table forbids it (it would be an internal fault)."""
    chance = random.Random(seed)

    @scenario(ready_timeout=0.003, stop_timeout=0.003)
    async def play(world: World) -> None:
        service = world.service
        requests = (
            service.start,
            service.stop,
            service.restart,
            service.force,
            service.demand,
            service.rest,
        )
        for _ in range(150):
            match chance.randrange(6):
                case 0 | 1:
                    chance.choice(requests)()
                case 2:
                    for process in list(world.alive):
                        process.end(chance.choice((0, 1, -9, -15)))
                case 3:
                    world.ready_at_once = chance.random() < 0.5
                    world.polite = chance.random() < 0.5
                    world.fail_spawn = chance.random() < 0.3
                case _:
                    await asyncio.sleep(chance.choice((0, 0, 0.001, 0.004)))

    play()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-9, "killed by SIGKILL"),
        (-99, "killed by signal 99"),
    ],
)
def test_exit_statuses_for_people(status: int, text: str) -> None:
    assert describe_exit(status) == text
