"""Several processes as one program: real event loop, made-up processes and load."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import pytest

from cloister.apps.backoff import BackoffPolicy
from cloister.apps.load import Busy, Load
from cloister.apps.logs import LogFormat, Sink
from cloister.apps.machine import State
from cloister.apps.pool import Pool, PoolPlan, WorkerProcess
from cloister.model.lifecycle import Processes, RestartPolicy, RestartWhen

QUICK = BackoffPolicy(first_pause=0.001, longest_pause=0.002, give_up_after=4)


class FakeProcess:
    """Does what the test says."""

    requests: int | None = 0
    connections: int | None = 0

    def __init__(self, pid: int, number: int, world: "World") -> None:
        self.pid = pid
        self.number = number
        self.world = world
        self.ready = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.told_at: list[int] = []

    def sockets(self) -> Iterable[int]:
        return ()

    async def wait_ready(self) -> None:
        await self.ready.wait()

    def terminate(self) -> None:
        # How many others serve at this very moment.
        serving = {one for one in self.world.alive if one.ready.is_set()} - {self}
        self.told_at.append(len(serving))
        if self.world.polite:
            self.end(0)

    def kill(self) -> None:
        self.end(-9)

    def end(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)

    async def wait(self) -> int:
        status = await asyncio.shield(self.ended)
        self.world.alive.discard(self)
        return status

    def last_output(self) -> tuple[str, ...]:
        return (f"words of {self.pid}",)


class World:
    """A pool, the processes it makes, and what there is to do."""

    def __init__(self, **options: Any) -> None:
        self.polite = options.pop("polite", True)
        self.made: list[FakeProcess] = []
        self.alive: set[FakeProcess] = set()
        self.ready_at_once = True
        self.broken = False
        self.queue = 0
        self.open = 0
        self.came = asyncio.Event()
        self.now = 1000.0
        self.log = io.StringIO()
        self.sink = Sink(self.log, LogFormat.JSON)
        plan = PoolPlan("blog", self.launch, 60, 60, **options)
        self.pool = Pool(plan, self, self.sink, clock=lambda: self.now, backoff=QUICK)

    async def launch(self, number: int) -> WorkerProcess:
        assert number not in {one.number for one in self.alive}, "two processes of one number"
        process = FakeProcess(1000 + len(self.made), number, self)
        self.made.append(process)
        self.alive.add(process)
        if self.broken:
            process.end(1)
        elif self.ready_at_once:
            process.ready.set()
        return process

    # The gauge.

    def waiting(self) -> int:
        return self.queue

    def measure(self, processes: Iterable[Busy], *, count_open: bool) -> Load:
        assert count_open or not self.open
        return Load(self.queue, self.open, tuple(one.requests or 0 for one in processes))

    async def wait_connection(self) -> None:
        await self.came.wait()

    # The test's.

    def connect(self) -> None:
        self.queue = 1
        self.came.set()

    def taken(self) -> None:
        self.queue = 0
        self.came.clear()

    async def reach(self, *states: State) -> State:
        return await asyncio.wait_for(self.pool.wait_state(*states), 10)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.pool.stirred()
                await asyncio.sleep(0.001)

    def count(self, state: State) -> int:
        return sum(one.state is state for one in self.pool.services)

    def said(self) -> list[dict[str, Any]]:
        self.sink.close()
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def scenario(
    **options: Any,
) -> Callable[[Callable[[World], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """Runs a test with a world on a loop of its own; afterwards no task may be left."""

    def decorate(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
        async def run() -> None:
            world = World(**options)
            await test(world)
            world.pool.force()
            await world.reach(State.STOPPED)
            assert not world.alive
            for _ in range(5):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert "internal fault" not in str(world.said())

        def synchronous() -> None:
            asyncio.run(run())

        return synchronous

    return decorate


def test_a_fixed_number_is_there_and_comes_back() -> None:
    @scenario(processes=Processes(3))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 3)
        assert {one.number for one in world.alive} == {0, 1, 2}
        world.made[1].end(-9)
        await world.until(lambda: len(world.made) == 4)
        await world.until(lambda: world.count(State.READY) == 3)
        assert world.pool.restarts == 1
        assert world.pool.failure is not None
        assert world.pool.failure.last_output == ("words of 1001",)
        world.pool.stop()
        await world.reach(State.STOPPED)

    play()


def test_a_restart_has_the_next_one_ready_before_the_one_before_is_told_to_stop() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 2)
        old = list(world.made)
        world.ready_at_once = False
        world.pool.restart()
        await world.until(lambda: len(world.made) == 3)
        assert [one.told_at for one in old] == [[], []]
        assert world.pool.state is State.READY
        world.made[2].ready.set()
        await world.until(lambda: len(world.made) == 4)
        world.made[3].ready.set()
        await world.until(lambda: world.alive == set(world.made[2:]))
        # Whoever was told to stop left two that served.
        assert [one.told_at for one in old] == [[2], [2]]
        assert world.pool.restarts == 2

    play()


def test_without_room_for_a_successor_the_one_before_it_ends_first() -> None:
    room = [True]

    @scenario(processes=Processes(2), has_room=lambda: room[0])
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 2)
        old = list(world.made)
        room[0], world.polite = False, False
        world.pool.restart()
        await world.until(lambda: bool(old[0].told_at))
        assert len(world.made) == 2
        # The other one serves on until the first has given back what it had.
        assert old[1].told_at == []
        room[0] = world.polite = True
        old[0].end(0)
        await world.until(lambda: world.alive == set(world.made[2:]) and len(world.made) == 4)
        assert [one.told_at for one in old] == [[1], [2]]
        assert world.pool.failure is None

    play()


def test_where_the_room_goes_during_a_restart_it_is_made_all_the_same() -> None:
    looks = iter([True])  # when it begins, and not when its successor has come to nothing

    @scenario(has_room=lambda: next(looks, False))
    async def play(world: World) -> None:
        world.pool.start()
        await world.reach(State.READY)
        world.broken, world.polite = True, False
        world.pool.restart()
        await world.until(lambda: bool(world.made[0].told_at))
        assert len(world.made) > 1
        world.broken = False
        world.made[0].end(0)
        await world.until(lambda: world.count(State.READY) == 1 and world.made[0].ended.done())
        assert world.pool.state is State.READY

    play()


def test_a_restart_that_comes_to_nothing_leaves_what_was() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 2)
        world.broken = True
        world.pool.restart()
        await world.until(lambda: len(world.pool.services) == 2 and len(world.made) == 6)
        assert world.alive == set(world.made[:2])
        assert world.pool.state is State.READY
        failure = world.pool.failure
        assert failure is not None
        assert failure.message == "the restart is given up: the processes before it go on"
        assert failure.last_output[0] == "words of 1005"
        # Corrected, it goes through.
        world.broken = False
        world.pool.restart()
        await world.until(lambda: world.alive == set(world.made[6:]) and len(world.made) == 8)

    play()


def test_a_second_restart_while_one_is_under_way_begins_it_anew() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 2)
        world.ready_at_once = False
        world.pool.restart()
        await world.until(lambda: len(world.made) == 3)
        world.ready_at_once = True
        world.pool.restart()
        await world.until(lambda: world.alive == set(world.made[3:]) and len(world.made) == 5)
        assert world.pool.failure is None

    play()


def test_of_what_must_be_one_there_are_never_two() -> None:
    @scenario(restart=RestartPolicy(rolling=False), polite=False)
    async def play(world: World) -> None:
        world.pool.start()
        await world.reach(State.READY)
        world.pool.restart()
        await world.reach(State.RESTARTING)
        await asyncio.sleep(0.01)
        assert len(world.made) == 1
        world.made[0].end(0)
        await world.reach(State.READY)
        assert len(world.made) == 2

    play()


def test_a_crash_loop_ends_and_a_request_starts_again() -> None:
    @scenario(processes=Processes(2))
    async def play(world: World) -> None:
        world.broken = True
        world.pool.start()
        await world.reach(State.FAILED)
        await world.until(lambda: world.count(State.FAILED) == 2)
        # They count together: as many failures as one would have, and one more for each other.
        assert len(world.made) <= 5
        failure = world.pool.failure
        assert failure is not None
        assert failure.message.startswith("given up after 4 failures")
        assert failure.last_output[0].startswith("words of")
        world.broken = False
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 2)

    play()


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_policy_of_never_leaves_it_ended_until_somebody_asks(verb: str) -> None:
    @scenario(restart=RestartPolicy(RestartWhen.NEVER))
    async def play(world: World) -> None:
        world.pool.start()
        await world.reach(State.READY)
        world.made[0].end(1)
        await world.reach(State.ENDED)
        getattr(world.pool, verb)()
        await world.reach(State.READY)
        assert len(world.made) == 2

    play()


def test_nothing_runs_until_a_connection_comes_and_after_the_last_one() -> None:
    @scenario(idle_stop=60.0, processes=Processes(2))
    async def play(world: World) -> None:
        world.pool.start()
        assert world.pool.state is State.DORMANT
        assert not world.made
        world.connect()
        await world.until(lambda: world.count(State.READY) == 2)
        world.taken()
        world.open = 1
        world.now += 3600
        await asyncio.sleep(0.02)
        world.pool.stirred()
        await asyncio.sleep(0.02)
        assert world.pool.state is State.READY  # a connection is open
        world.open = 0
        world.now += 59
        world.pool.stirred()
        await asyncio.sleep(0.02)
        assert world.pool.state is State.READY
        world.now += 2
        await world.until(lambda: world.pool.state is State.DORMANT)
        assert not world.alive
        world.connect()
        await world.reach(State.READY)
        assert world.pool.failure is None

    play()


def test_a_connection_that_comes_while_it_ends_is_served_by_the_next_one() -> None:
    @scenario(idle_stop=60.0, polite=False)
    async def play(world: World) -> None:
        world.pool.start()
        world.connect()
        await world.reach(State.READY)
        world.taken()
        await asyncio.sleep(0.01)
        world.now += 61
        await world.until(lambda: world.count(State.RETIRING) == 1)
        world.connect()
        await world.until(lambda: world.count(State.RESTARTING) == 1)
        world.made[0].end(0)
        await world.reach(State.READY)
        assert len(world.made) == 2

    play()


def test_a_crash_loop_on_demand_ends_too() -> None:
    @scenario(idle_stop=60.0)
    async def play(world: World) -> None:
        world.broken = True
        world.pool.start()
        world.connect()
        await world.reach(State.FAILED)
        assert len(world.made) == 4
        world.broken = False
        world.pool.restart()
        await world.reach(State.READY)

    play()


def test_as_many_as_the_load_asks_for() -> None:
    @scenario(processes=Processes(4, 1, 15.0))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 1)
        world.made[0].requests = 1
        await world.until(lambda: world.count(State.READY) == 2)
        world.made[1].requests = 3
        await world.until(lambda: world.count(State.READY) == 4)
        await asyncio.sleep(0.02)
        assert len(world.made) == 4
        for one in world.made:
            one.requests = 0
        world.pool.stirred()
        await asyncio.sleep(0.02)
        assert world.count(State.READY) == 4
        world.now += 16
        await world.until(lambda: world.count(State.DORMANT) == 3)
        assert world.count(State.READY) == 1

    play()


def test_a_restart_of_what_rests_makes_nothing() -> None:
    @scenario(processes=Processes(4, 1, 15.0))
    async def play(world: World) -> None:
        world.pool.start()
        await world.until(lambda: world.count(State.READY) == 1)
        world.pool.restart()
        await world.until(lambda: world.alive == {world.made[-1]} and len(world.made) == 2)
        assert world.made[0].told_at == [1]

    play()


def test_a_stop_during_a_restart_ends_both() -> None:
    @scenario()
    async def play(world: World) -> None:
        world.pool.start()
        await world.reach(State.READY)
        world.ready_at_once = False
        world.pool.restart()
        await world.until(lambda: len(world.made) == 2)
        world.pool.stop()
        await world.reach(State.STOPPED)
        assert not world.alive

    play()


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize(
    "options",
    [
        {"processes": Processes(3)},
        {"processes": Processes(3, 1, 0.5)},
        {"idle_stop": 0.5, "processes": Processes(2)},
        {"idle_stop": 0.5, "processes": Processes(3, 1, 0.2)},
        {"restart": RestartPolicy(RestartWhen.ON_FAILURE, rolling=False)},
    ],
    ids=["fixed", "spare", "idle-stop", "both", "not-rolling"],
)
def test_any_order_of_requests_accidents_and_load(seed: int, options: dict[str, Any]) -> None:
    """No two processes have one number (``launch`` asserts it), nothing is left over, and
    no event comes where the table forbids it (it would be an internal fault)."""
    import random  # noqa: PLC0415 - of this test alone

    chance = random.Random(seed)

    @scenario(**options)
    async def play(world: World) -> None:
        pool = world.pool
        for _ in range(120):
            match chance.randrange(8):
                case 0 | 1:
                    chance.choice((pool.start, pool.stop, pool.restart, pool.force, pool.start))()
                case 2:
                    for process in list(world.alive):
                        if chance.random() < 0.5:
                            process.end(chance.choice((0, 1, -9)))
                case 3:
                    world.ready_at_once = chance.random() < 0.7
                    world.polite = chance.random() < 0.7
                    world.broken = chance.random() < 0.2
                case 4:
                    world.now += chance.random()
                    chance.choice((world.connect, world.taken))()
                    for process in world.alive:
                        process.requests = chance.choice((0, 0, 1, 2))
                case _:
                    pool.stirred()
                    await asyncio.sleep(chance.choice((0, 0, 0.001, 0.003)))
        # Whatever was, it serves again when it is asked to and somebody comes.
        world.ready_at_once, world.polite, world.broken = True, True, False
        for process in list(world.alive):
            process.end(1)
        pool.restart()
        world.connect()
        await world.reach(State.READY)

    play()
