"""A pool of made-up processes with a made-up load, on a real event loop."""

import asyncio
import io
import json
from collections.abc import Callable, Iterable
from typing import Any

from tests.support.scenario import scenarios

from cloister.apps.backoff import BackoffPolicy
from cloister.apps.keeping import PoolPlan, WorkerProcess
from cloister.apps.load import Busy, Load
from cloister.apps.logs import LogFormat, Sink
from cloister.apps.machine import State
from cloister.apps.pool import Pool

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

    def force(self) -> None:
        self.pool.force()

    def said(self) -> list[dict[str, Any]]:
        self.sink.close()
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


scenario = scenarios(World)
