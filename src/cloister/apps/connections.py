"""One process for each connection, as inetd does it: the connection is its standard input and
output.

The supervisor accepts the connection and reads nothing of it: it only hands it over.
"""

import asyncio
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cloister.apps.backoff import BackoffPolicy, FailureRecord
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.machine import State
from cloister.apps.service import Process, Service, ServicePlan
from cloister.apps.standing import Standing
from cloister.apps.status import Failure
from cloister.model.lifecycle import RestartPolicy, RestartWhen

_OVER = (State.ENDED, State.STOPPED, State.FAILED)


@dataclass(frozen=True, slots=True)
class ConnectionPlan:
    """What is started for connections, and how many at once."""

    name: str
    launch: Callable[[socket.socket, int], Awaitable[Process]]
    """Makes the process of a connection, with a number that no other one has now. Raises
    :class:`CloisterError`."""
    listening: socket.socket
    """Stays the caller's, who takes no connections from it."""
    most: int
    stop_timeout: float
    restart: RestartPolicy


class ConnectionPool:
    """Has connections served, from a start request to a stop request; further ones than
    ``most`` wait in the queue. Lives on one event loop, whose thread alone may call it.

    Its state is ``READY`` while it takes connections, whether there are any or not.
    """

    def __init__(self, plan: ConnectionPlan, sink: Sink) -> None:
        self._plan = plan
        self._sink = sink
        self._failures = FailureRecord(
            BackoffPolicy(give_up_after=plan.restart.failures, window=plan.restart.window)
        )
        self._running: dict[Service, int] = {}
        self._served = 0
        self._watched = -1
        self._pause: asyncio.TimerHandle | None = None
        self._standing = Standing()
        self.failure: Failure | None = None

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._standing.state

    @property
    def since(self) -> float:
        """When it entered that state."""
        return self._standing.since

    @property
    def services(self) -> tuple[Service, ...]:
        """One for each connection."""
        return tuple(self._running)

    @property
    def process(self) -> Process | None:
        """That of the oldest connection."""
        return next((one.process for one in self._running if one.process is not None), None)

    @property
    def restarts(self) -> int:
        """None: each connection has its process."""
        return 0

    def start(self) -> None:
        """Take connections; what was given up is tried again."""
        self._failures.forget()
        self._standing.enter(State.READY)
        self._watch()

    def restart(self) -> None:
        """Connections that come get new processes anyway; those that there are go on."""
        self.start()

    def stop(self) -> None:
        """Take no more, and have those that are served end."""
        self._end(Service.stop)

    def force(self) -> None:
        """Have all end now."""
        self._end(Service.force)

    async def wait_state(self, *states: State) -> State:
        """Returns the first of these states that it is in."""
        return await self._standing.wait(*states)

    def _end(self, request: Callable[[Service], None]) -> None:
        self._unwatch()
        if self.state is not State.STOPPED:
            self._standing.enter(State.STOPPING)
        for service in self.services:
            request(service)
        self._changed()

    def _watch(self) -> None:
        """Waits for connections, unless there are as many as there may be."""
        wanted = self.state is State.READY and len(self._running) < self._plan.most
        if not wanted or self._watched >= 0 or self._pause is not None:
            return
        # A descriptor of its own: another version may wait at the same socket.
        self._watched = os.dup(self._plan.listening.fileno())
        asyncio.get_running_loop().add_reader(self._watched, self._accept)

    def _unwatch(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = -1

    def _accept(self) -> None:
        """One connection a turn: a crowd of clients must not hold up the other programs."""
        self._plan.listening.setblocking(False)
        try:
            connection, _ = self._plan.listening.accept()
        except BlockingIOError:
            return
        except OSError as error:  # out of descriptors or memory
            self._rest(f"a connection cannot be accepted: {error.strerror}", ())
            return
        number = next(n for n in range(self._plan.most) if n not in self._running.values())
        service = Service(
            ServicePlan(
                self._plan.name,
                lambda: self._launch(connection, number),
                # It serves as soon as it is there.
                ready_timeout=60.0,
                stop_timeout=self._plan.stop_timeout,
                when=RestartWhen.NEVER,
                quiet=True,
            ),
            self._sink,
            on_change=self._changed,
        )
        self._running[service] = number
        if len(self._running) >= self._plan.most:
            self._unwatch()
        service.start()

    async def _launch(self, connection: socket.socket, number: int) -> Process:
        with connection:  # the process has it then, or nobody
            return await self._plan.launch(connection, number)

    def _changed(self) -> None:
        for service in [one for one in self._running if one.state in _OVER]:
            del self._running[service]
            if service.failure is not None and self.state is not State.FAILED:
                self.failure = service.failure
            if service.ready_since is None and service.failure is not None:
                self._rest(service.failure.message, service.failure.last_output)
        if self.state is State.STOPPING and not self._running:
            self._standing.enter(State.STOPPED)
        self._watch()

    def _rest(self, why: str, details: tuple[str, ...]) -> None:
        """A process could not be made: the next connection waits a while."""
        if self.state is not State.READY:
            return
        self._unwatch()
        loop = asyncio.get_running_loop()
        pause = self._failures.failed(now=loop.time(), ready_since=None, chance=random.random())  # noqa: S311
        if pause is None:
            message = f"given up after {self._failures.counted} failures: {why}"
            self.failure = Failure(
                message, time.time(), (*details, "next: correct it, then restart it")
            )
            self._sink.emit(
                LogEvent(self._plan.name, message, Level.ERROR, self.failure.last_output)
            )
            self._standing.enter(State.FAILED)
            return
        self._pause = loop.call_later(pause, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._watch()
