"""Everything that one supervisor keeps alive: the applications, and the door before them.

Each program has its own :class:`cloister.apps.service.Service`; this module only starts
and stops them in the right order, and says how they are.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import cloister
from cloister.apps.app import AppProgram
from cloister.apps.backoff import BackoffPolicy
from cloister.apps.certificates import RENEWAL, Certificates
from cloister.apps.endpoints import Endpoints
from cloister.apps.front_door import DRAIN_TIMEOUT, FrontDoorProcess, FrontDoorProgram
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.machine import State
from cloister.apps.service import Service, ServicePlan
from cloister.apps.status import (
    AppStatus,
    DaemonStatus,
    DoorStatus,
    ListenerStatus,
    ProtectionStatus,
    Traffic,
)
from cloister.door.messages import Statistics
from cloister.model.app import App, CommandProgram, SelfSignedTls
from cloister.model.errors import CloisterError, DoorError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import Listener
from cloister.model.route import TargetRoute
from cloister.model.snapshot import Snapshot

SETTLED = (State.READY, State.BACKOFF, State.FAILED, State.STOPPED)
"""The states in which the outcome of a start is known."""
_ENDED = (State.STOPPED,)
_FLYING = 1.0
"""Seconds that requests under way may take before the applications are stopped too."""
_DOOR_BACKOFF = BackoffPolicy(longest_pause=5.0, give_up_after=None)
"""The door is never given up: without it nothing is served."""


@dataclass(frozen=True, slots=True)
class _Supervised:
    app: App
    program: AppProgram
    service: Service


class Supervisor:
    """Runs a snapshot on endpoints that were bound before. Lives on one event loop.

    The endpoints stay the caller's, except that :meth:`stop` closes the listeners.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        endpoints: Endpoints,
        door_identity: HostIdentity,
        certificates: Certificates,
        sink: Sink,
    ) -> None:
        self._snapshot = snapshot
        self._endpoints = endpoints
        self._door_identity = door_identity
        self._certificates = certificates
        self._sink = sink
        self._since = time.time()
        self._renewal: asyncio.Task[None] | None = None
        self._stopping = False
        self._apps: dict[str, _Supervised] = {}
        for app in snapshot.apps:
            program = AppProgram(app, endpoints.apps[app.name], certificates, sink)
            plan = ServicePlan(app.name, program.launch, app.ready_timeout, app.stop_timeout)
            self._apps[app.name] = _Supervised(app, program, Service(plan, sink))
        rootless = os.geteuid() != 0
        self._front_door = FrontDoorProgram(
            snapshot, endpoints, None if rootless else door_identity, sink
        )
        door_plan = ServicePlan(
            "door",
            self._front_door.launch,
            ready_timeout=10.0,
            stop_timeout=DRAIN_TIMEOUT + 2.0,
            backoff=_DOOR_BACKOFF,
        )
        self._door = Service(door_plan, sink)

    async def start(self) -> tuple[str, ...]:
        """Start everything at once: whoever connects to an application that is not ready
        yet waits in its queue, and a slow one holds up no other.

        Returns when the door serves and each application is ready or has failed once, with
        the names of those that failed; they are tried again. Raises :class:`DoorError`
        where the door cannot be started.
        """
        self._door.start()
        for supervised in self._apps.values():
            supervised.service.start()
        if self._certificates.path is not None:
            self._renewal = asyncio.create_task(self._renew())
        outcomes = [
            asyncio.ensure_future(supervised.service.wait_state(*SETTLED))
            for supervised in self._apps.values()
        ]
        try:
            if await self._door.wait_state(*SETTLED) is not State.READY:
                failure = self._door.failure
                raise DoorError(
                    "the door does not start",
                    why="; ".join((failure.message, *failure.last_output)) if failure else None,
                    hint="see the lines of `door` above",
                )
            states = await asyncio.gather(*outcomes)
        finally:
            for outcome in outcomes:
                outcome.cancel()
        return tuple(
            name for name, state in zip(self._apps, states, strict=True) if state is not State.READY
        )

    async def stop(self) -> None:
        """Stop all in an order that loses no request which can still be answered: the door
        takes no more, then the applications end, which ends idle connections too.
        """
        self._stopping = True
        if self._renewal is not None:
            self._renewal.cancel()
        process = self._door.process
        self._door.stop()
        if isinstance(process, FrontDoorProcess):
            await process.drained.wait()
        # Whoever comes now is refused and can go elsewhere, instead of waiting in vain.
        self._endpoints.close_listeners()
        try:
            async with asyncio.timeout(_FLYING):
                await self._door.wait_state(*_ENDED)
        except TimeoutError:
            pass
        for supervised in self._apps.values():
            supervised.service.stop()
        for supervised in self._apps.values():
            await supervised.service.wait_state(*_ENDED)
        await self._door.wait_state(*_ENDED)

    def force(self) -> None:
        """End everything now; :meth:`stop` then returns soon."""
        for supervised in self._apps.values():
            supervised.service.force()
        self._door.force()

    async def status(self) -> DaemonStatus:
        """How everything is. The door has a second to give its counters."""
        statistics = await self._statistics()
        return DaemonStatus(
            version=cloister.__version__,
            pid=os.getpid(),
            since=self._since,
            config=self._snapshot.source,
            runtime_directory=self._snapshot.paths.runtime,
            authority=self._certificates.path,
            rootless=os.geteuid() != 0,
            listeners=self._listeners(statistics),
            apps=tuple(self._app(one, statistics) for one in self._apps.values()),
            door=self._door_status(statistics),
        )

    async def _statistics(self) -> Statistics | None:
        process = self._door.process
        if not isinstance(process, FrontDoorProcess):
            return None
        try:
            async with asyncio.timeout(1.0):
                return await process.stats()
        except (DoorError, TimeoutError):
            return None

    def _listeners(self, statistics: Statistics | None) -> tuple[ListenerStatus, ...]:
        counters = {
            (one.name, one.address): one for one in (statistics.listeners if statistics else ())
        }
        routes = {listener.name: describe_route(listener) for listener in self._snapshot.listeners}
        found = []
        for endpoint in self._endpoints.listeners:
            address = str(endpoint.bound.address)
            one = counters.get((endpoint.listener, address))
            found.append(
                ListenerStatus(
                    name=endpoint.listener,
                    address=address,
                    route=routes[endpoint.listener],
                    accepted=one.accepted if one else None,
                    active=one.active if one else None,
                )
            )
        return tuple(found)

    def _app(self, supervised: _Supervised, statistics: Statistics | None) -> AppStatus:
        app, service = supervised.app, supervised.service
        endpoint = self._endpoints.apps[app.name]
        traffic = None
        if statistics is not None:
            traffic = Traffic(0, 0, 0, 0)
            for one in statistics.apps:
                if one.name == app.name:
                    traffic = Traffic(
                        one.accepted, one.active, one.bytes_to_target, one.bytes_to_client
                    )
        return AppStatus(
            name=app.name,
            program=describe_program(app),
            state=service.state.value,
            since=service.since,
            pid=service.process.pid if service.process else None,
            restarts=service.restarts,
            host_uid=endpoint.identity.uid,
            hosts=app.hosts,
            socket=endpoint.path,
            message=supervised.program.message,
            failure=service.failure,
            traffic=traffic,
        )

    def _door_status(self, statistics: Statistics | None) -> DoorStatus:
        process = self._door.process
        protections = process.protections if isinstance(process, FrontDoorProcess) else ()
        return DoorStatus(
            state=self._door.state.value,
            since=self._door.since,
            pid=process.pid if process else None,
            restarts=self._door.restarts,
            host_uid=self._door_identity.uid,
            generation=self._front_door.generation,
            protections=tuple(
                ProtectionStatus(one.name, one.active, one.detail) for one in protections
            ),
            workers=statistics.workers if statistics else None,
            accepted=statistics.accepted if statistics else None,
            active=statistics.active if statistics else None,
            log_lines_lost=statistics.log_lines_lost if statistics else None,
            outcomes=dict(statistics.outcomes) if statistics else {},
            failure=self._door.failure,
        )

    async def _renew(self) -> None:
        """Applications get a new certificate by a restart; their sockets stay."""
        pause = RENEWAL
        while True:
            await asyncio.sleep(pause)
            try:
                await self._certificates.renew()
            except CloisterError as error:
                message = f"certificates are not renewed, next try in a day: {error}"
                self._sink.emit(LogEvent("cloister", message, Level.ERROR))
                pause = 24 * 3600.0
                continue
            pause = RENEWAL
            for supervised in self._apps.values():
                due = isinstance(supervised.app.tls, SelfSignedTls)
                if due and supervised.service.state is State.READY:
                    message = "restarts for its new certificate"
                    self._sink.emit(LogEvent(supervised.app.name, message))
                    supervised.service.restart()

    def command(self, name: str, verb: str) -> None:
        """Do ``start``, ``stop`` or ``restart`` to one application.

        Raises :class:`UnknownAppError`, and :class:`CloisterError` while everything stops.
        """
        if self._stopping:
            raise CloisterError("the supervisor is stopping")
        supervised = self._apps.get(name)
        if supervised is None:
            raise UnknownAppError(name, tuple(self._apps))
        verbs: dict[str, Callable[[], None]] = {
            "start": supervised.service.start,
            "stop": supervised.service.stop,
            "restart": supervised.service.restart,
        }
        verbs[verb]()


class UnknownAppError(CloisterError):
    """No application of that name is configured."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"there is no application {name!r}",
            hint=f"the applications are: {', '.join(known)}" if known else None,
        )


def describe_route(listener: Listener) -> str:
    """A listener's route for people."""
    route = listener.route
    if isinstance(route, TargetRoute):
        return f"to {route.target}"
    if route.hosts_directory is None:
        return "by server name"
    return f"by server name, then {route.hosts_directory}"


def describe_program(app: App) -> str:
    """An application's program for people."""
    if isinstance(app.program, CommandProgram):
        return " ".join(app.program.command)
    return f"python {app.program}"
