"""The processes of one application: as many as it should have, on one listening socket.

To the supervisor a pool is one program, with the requests of a :class:`Service`. Each of its
places has a service of its own, which obeys the table; ``tending`` has as many run as there is
need for, and this module has them follow one another.
"""

import asyncio
import time
from collections.abc import Callable

from cloister.apps.backoff import BackoffPolicy, FailureRecord
from cloister.apps.keeping import Gauge, PoolPlan
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.machine import SPAWNING_STATES, State
from cloister.apps.relief import Reliefs
from cloister.apps.service import Process, Service, ServicePlan
from cloister.apps.standing import Standing
from cloister.apps.status import Failure
from cloister.apps.tending import Tended, Tending

_OUTER = (
    State.READY,
    State.STARTING,
    State.SPAWNING,
    State.RESTARTING,
    State.RESTART_KILLING,
    State.ABORTING,
    State.BACKOFF,
    State.FAILED,
    State.ENDED,
    State.RETIRING,
    State.RETIRE_KILLING,
    State.DORMANT,
)
"""Of a pool whose places are in different states, the first of these is its own."""

_RESTING = (State.DORMANT, State.RETIRING, State.RETIRE_KILLING)
"""Here the next process is another one anyway."""

_ENDING = (State.RESTARTING, State.RESTART_KILLING)
"""Here one ends before the next one begins."""

_BETWEEN = (*_ENDING, State.SPAWNING, State.STARTING)
"""Here one is on its way, which will serve unless something goes wrong."""

_NO_ROOM = "no room for another process beside it: it ends first, and connections wait"


class _Place(Tended):
    """Where one process belongs, with the one that may follow it during a restart."""

    def __init__(self, service: Service, number: int) -> None:
        super().__init__(service)
        self.number = number
        self.successor: Service | None = None
        self.successor_number = -1
        self.due = False
        """Whether it is to be followed by another one, because somebody asked for that."""
        self.relieved = False
        """Whether it is to be followed by another one, because it has done its share."""


class Pool:
    """Lives on one event loop, whose thread alone may call it."""

    def __init__(
        self,
        plan: PoolPlan,
        gauge: Gauge,
        sink: Sink,
        *,
        clock: Callable[[], float] = time.monotonic,
        backoff: BackoffPolicy | None = None,
    ) -> None:
        self._plan = plan
        self._gauge = gauge
        self._sink = sink
        self._clock = clock
        policy = backoff or BackoffPolicy(
            give_up_after=plan.restart.failures, window=plan.restart.window
        )
        self._failures = FailureRecord(policy)
        self._leaving: dict[Service, int] = {}
        self._gone = 0
        self._standing = Standing()
        self._wanted = False
        self._aborted: Failure | None = None
        self._reliefs = Reliefs()
        self._relief_timer: asyncio.TimerHandle | None = None
        self._places: list[_Place] = []
        for number in range(plan.processes.most):
            self._places.append(_Place(self._service(number), number))
        self._tending = Tending(plan, gauge, self._places, self._fault, clock)

    # What it is.

    @property
    def state(self) -> State:
        """The most useful of its processes' states."""
        return self._standing.state

    @property
    def since(self) -> float:
        """When it entered that state."""
        return self._standing.since

    @property
    def services(self) -> tuple[Service, ...]:
        """One for each process that there is, or that is expected."""
        places = [place.service for place in self._places]
        following = [place.successor for place in self._places if place.successor is not None]
        return (*places, *following, *self._leaving)

    @property
    def process(self) -> Process | None:
        """The first of those that serve, or else of those that there are."""
        services = sorted(self.services, key=lambda one: one.state is not State.READY)
        return next((one.process for one in services if one.process is not None), None)

    @property
    def failure(self) -> Failure | None:
        """The newest one."""
        found = [one.failure for one in self.services if one.failure is not None]
        if self._aborted is not None:
            found.append(self._aborted)
        return max(found, key=lambda failure: failure.time, default=None)

    @property
    def restarts(self) -> int:
        """How often a process was made in the place of one before it."""
        return self._gone + sum(one.restarts for one in self.services)

    # What can be asked of it.

    def start(self) -> None:
        """Have it run, or ready to run; what was given up is tried again."""
        self._wanted = True
        for place in self._places:
            if place.service.state in (State.FAILED, State.ENDED):
                place.service.stop()
            if not self._plan.elastic:
                place.service.start()
            elif place.service.state is State.STOPPED:
                place.service.rest()
            elif place.service.state in (State.STOPPING, State.KILLING):
                place.service.start()
        self._tending.begin()

    def resume(self, count: int) -> None:
        """Have at least so many run now, whatever there is to do: they are there already."""
        self._tending.resume(count)

    def restart(self) -> None:
        """Have every process followed by another one; if so configured the next one is ready
        before the one before it is told to stop.
        """
        self._wanted = True
        self._aborted = None
        for place in self._places:
            if place.successor is not None:
                self._leave(place.successor, place.successor_number)
                place.successor = None
            place.due, place.relieved = True, False
        self._roll()
        self._tending.begin()

    def relieve(self, process: Process) -> None:
        """Have one process followed by another since it has done its share: as in a restart,
        but no person asked for it, and what has failed before still counts. Saying it again
        changes nothing; so does one that does not serve, or is on its way out.
        """
        for place in self._places:
            if place.service.process is process and place.service.state is State.READY:
                place.relieved = True
        self._roll()

    def stop(self) -> None:
        """Have all end, by consent first and by force when their time is over."""
        self._end(Service.stop)

    def force(self) -> None:
        """Have all end now."""
        self._end(Service.force)

    async def wait_state(self, *states: State) -> State:
        """Returns the first of these states that it is in, however briefly it is."""
        return await self._standing.wait(*states)

    def stirred(self) -> None:
        """The load has changed: look at it now."""
        self._tending.look_now()

    # How it goes on.

    def _service(self, number: int) -> Service:
        plan = self._plan
        return Service(
            ServicePlan(
                plan.name,
                lambda: plan.launch(number),
                plan.ready_timeout,
                plan.stop_timeout,
                when=plan.restart.when,
                may_rest=lambda: plan.elastic and not self._gauge.waiting(),
            ),
            self._sink,
            clock=self._clock,
            failures=self._failures,
            on_change=self._changed,
        )

    def _free_number(self) -> int:
        taken = {place.number for place in self._places} | set(self._leaving.values())
        taken |= {place.successor_number for place in self._places if place.successor}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _changed(self) -> None:
        for service in [one for one in self._leaving if one.state is State.STOPPED]:
            del self._leaving[service]
            self._gone += 1 + service.restarts
        self._follow()
        self._roll()
        self._standing.enter(self._derived())
        self._tending.look_now()

    def _derived(self) -> State:
        states = {place.service.state for place in self._places}
        if not self._wanted:
            ending = {one.state for one in self.services} - {State.STOPPED}
            if not ending:
                return State.STOPPED
            return State.KILLING if ending == {State.KILLING} else State.STOPPING
        return next((state for state in _OUTER if state in states), State.STOPPED)

    def _end(self, request: Callable[[Service], None]) -> None:
        self._wanted = False
        self._tending.end()
        self._call_off_relief()
        for place in self._places:
            place.due = place.relieved = False
            if place.successor is not None:
                self._leaving[place.successor] = place.successor_number
                place.successor = None
        for service in self.services:
            request(service)
        self._changed()

    # Restarts.

    def _roll(self) -> None:
        """Goes on with a restart, as far as that is possible now."""
        for place in self._places:
            if not place.due or not self._wanted:
                continue
            state = place.service.state
            if state in SPAWNING_STATES:
                continue  # it may be made of what was before: once it is there
            if state is State.READY and self._plan.restart.rolling:
                if any(one.service.state in _ENDING for one in self._places):
                    continue  # what it takes along may be the room that is missing
                if not any(one.successor for one in self._places):
                    if not self._plan.has_room():
                        self._restart_in_place(place)
                        continue
                    place.successor_number = self._free_number()
                    place.successor = self._service(place.successor_number)
                    self._failures.forget()
                    place.successor.start()
                continue
            place.due = False
            if self._plan.elastic and state in (State.FAILED, State.ENDED, State.STOPPED):
                place.service.stop()
                place.service.rest()
            elif state not in _RESTING:
                place.service.restart()
        self._relieve()

    def _relieve(self) -> None:
        """Has the next one that has done its share followed by another, where it is time."""
        self._call_off_relief()
        for place in self._places:
            if place.successor is None and place.service.state is not State.READY:
                place.relieved = False  # another one comes anyway, or nobody needs one
        waiting = [place for place in self._places if place.relieved]
        # One after the other: all of them may have begun at the same moment.
        if not waiting or not self._wanted or any(one.due or one.successor for one in self._places):
            return
        now = self._clock()
        place = min(waiting, key=lambda one: self._reliefs.wait(now, one.service.ready_since))
        wait = self._reliefs.wait(now, place.service.ready_since)
        if wait > 0:
            self._relief_timer = asyncio.get_running_loop().call_later(wait, self._roll)
            return
        in_place = not self._plan.restart.rolling or not self._plan.has_room()
        if in_place and any(one.service.state in _BETWEEN for one in self._places):
            return
        self._reliefs.begun(now)
        self._say("has answered its number of requests: another process follows", Level.INFO, ())
        if in_place:
            place.relieved = False
            if self._plan.restart.rolling:
                self._say(_NO_ROOM, Level.WARNING, ())
            place.service.relieve()
            return
        place.successor_number = self._free_number()
        place.successor = self._service(place.successor_number)
        place.successor.relieve()

    def _call_off_relief(self) -> None:
        if self._relief_timer is not None:
            self._relief_timer.cancel()
            self._relief_timer = None

    def _follow(self) -> None:
        """A successor that serves takes its place; one that never will leaves."""
        for place in self._places:
            successor = place.successor
            if successor is None:
                continue
            if successor.state is State.READY:
                self._leave(place.service, place.number)
                place.service, place.number = successor, place.successor_number
                place.successor, place.due, place.relieved = None, False, False
                place.idle_since = self._clock()
            elif successor.state in (State.FAILED, State.ENDED):
                self._abort(place, successor)

    def _restart_in_place(self, place: _Place) -> None:
        place.due = False
        self._failures.forget()
        self._say(_NO_ROOM, Level.WARNING, ())
        place.service.restart()

    def _abort(self, place: _Place, successor: Service) -> None:
        place.successor = None
        if place.relieved:
            # Nobody has asked for it: what serves, serves on, and may say it again.
            place.relieved = False
            self._reliefs.given_up(self._clock())
            message = "no process follows the one that has answered its number: it goes on"
        elif not self._plan.has_room():
            self._restart_in_place(place)
            return
        else:
            message = "the restart is given up: the processes before it go on"
            for one in self._places:
                one.due = False
        failure = successor.failure
        self._aborted = Failure(message, time.time(), failure.last_output if failure else ())
        self._say(message, Level.ERROR, self._aborted.last_output)

    def _leave(self, service: Service, number: int) -> None:
        self._leaving[service] = number
        service.stop()

    def _fault(self, details: tuple[str, ...]) -> None:
        self._say("internal fault", Level.ERROR, details)

    def _say(self, message: str, level: Level, details: tuple[str, ...]) -> None:
        fields = {"event": "service", "state": self.state.value}
        self._sink.emit(LogEvent(self._plan.name, message, level, details, fields))
