"""Has as many processes of a pool run as there is need for.

``load`` measures what there is to do, ``scale`` says how many processes that asks for; this
module looks, and has places run and rest.
"""

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Sequence

from cloister.apps.keeping import Gauge, PoolPlan
from cloister.apps.load import Busy, Load
from cloister.apps.machine import State
from cloister.apps.scale import Worker, decide
from cloister.apps.service import Service

TICK = 0.25
"""Seconds between two looks at a load that decides how many processes there are."""
SLOW_TICK = 1.0
"""Seconds between two looks at one that only decides whether there are any."""


class Tended:
    """The place of one process."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.idle_since = 0.0


class Tending:
    """Of the places of one pool, which the pool may fill anew. Does nothing where the load does
    not decide. Lives on one event loop, whose thread alone may call it."""

    def __init__(
        self,
        plan: PoolPlan,
        gauge: Gauge,
        places: Sequence[Tended],
        fault: Callable[[tuple[str, ...]], None],
        clock: Callable[[], float],
    ) -> None:
        """``fault`` is told the lines of what went wrong here."""
        self._plan = plan
        self._gauge = gauge
        self._places = places
        self._fault = fault
        self._clock = clock
        self._going_on: asyncio.Task[None] | None = None
        self._stirred = asyncio.Event()
        self._awake = False
        """Whether somebody needs the application, so that some of it run."""
        self._last_used = 0.0

    def begin(self) -> None:
        """Look after the load from now on."""
        if self._plan.elastic and self._going_on is None:
            self._going_on = asyncio.ensure_future(self._go_on())

    def end(self) -> None:
        """Look no more: nobody needs anything."""
        self._awake = False
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None

    def resume(self, count: int) -> None:
        """Have at least so many run now, whatever there is to do."""
        if self._plan.elastic and count:
            self._awake = True
            self._last_used = self._clock()
            for place in self._places[:count]:
                place.service.demand()

    def look_now(self) -> None:
        """The load, or a place, has changed."""
        self._stirred.set()

    async def _go_on(self) -> None:
        plan = self._plan
        tick = TICK if plan.processes.spare is not None else SLOW_TICK
        if plan.idle_stop is not None:
            tick = min(tick, plan.idle_stop / 4)
        while True:
            try:
                if self._asleep():
                    await self._gauge.wait_connection()
                    self._wake()
                self._stirred.clear()
                self._look()
            except Exception as error:  # noqa: BLE001 - else nobody would ever hear of it
                self._fault(tuple(traceback.format_exception(error)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(tick):
                    await self._stirred.wait()

    def _asleep(self) -> bool:
        """Whether nothing is to be done until a connection comes."""
        if self._plan.idle_stop is None and self._plan.processes.spare != 0:
            return False
        dormant = all(place.service.state is State.DORMANT for place in self._places)
        return dormant and not (self._awake and self._plan.processes.spare)

    def _wake(self) -> None:
        self._awake = True
        self._last_used = self._clock()
        if self._plan.processes.spare is None:
            for place in self._places:
                place.service.demand()

    def _look(self) -> None:
        """Compares what there is to do with those who do it."""
        now = self._clock()
        idle_stop = self._plan.idle_stop
        serving = [place for place in self._places if place.service.state is State.READY]
        load = self._gauge.measure(_processes(serving), count_open=idle_stop is not None)
        for place, busy in zip(serving, load.busy, strict=True):
            if busy:
                place.idle_since = now
        if load.waiting or load.open or any(load.busy):
            self._last_used = now
        if idle_stop is not None:
            if load.waiting and not self._awake:
                self._wake()
            elif serving and now - self._last_used >= idle_stop:
                self._awake = False
            if not self._awake:
                for place in serving:
                    place.service.rest()
                return
        if self._plan.processes.spare is not None:
            self._adapt(serving, load, now)

    def _adapt(self, serving: Sequence[Tended], load: Load, now: float) -> None:
        loads = dict(zip(map(id, serving), load.busy, strict=True))
        workers = [
            Worker(
                place.service.state,
                loads.get(id(place), 0),
                now - max(place.idle_since, place.service.ready_since or 0.0),
            )
            for place in self._places
        ]
        change = decide(self._plan.processes, workers, load.waiting)
        for number in change.demanded:
            self._places[number].service.demand()
        for number in change.resting:
            self._places[number].service.rest()


def _processes(places: Sequence[Tended]) -> list[Busy]:
    found: list[Busy] = []
    for place in places:
        process = place.service.process
        # What a pool launches tells of its load.
        found.append(process)  # type: ignore[arg-type]
    return found
