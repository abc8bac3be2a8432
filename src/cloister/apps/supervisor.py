"""Everything that one supervisor keeps alive: the applications, and the door before them.

Each program has its own :class:`cloister.apps.service.Service`; this module only starts
and stops them in the right order, exchanges them when the configuration changes, and says
how they are.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from functools import partial

import cloister
from cloister.apps import reporting
from cloister.apps.app import AppProgram
from cloister.apps.backoff import BackoffPolicy
from cloister.apps.brief import Brief, listener_briefs
from cloister.apps.certificates import RENEWAL, Certificates
from cloister.apps.changes import (
    AddApp,
    AdjustApp,
    CloseListener,
    KeepListener,
    OpenListener,
    Operation,
    Place,
    RemoveApp,
    ReplaceApp,
    TellDoor,
    changes,
    places,
)
from cloister.apps.connections import ConnectionPlan, ConnectionPool
from cloister.apps.egress import Egress
from cloister.apps.endpoints import AppEndpoint, Endpoints, ListenerEndpoint
from cloister.apps.front_door import (
    DRAIN_TIMEOUT,
    Arrangement,
    FrontDoorProcess,
    FrontDoorProgram,
)
from cloister.apps.keeping import Keeping, PoolPlan
from cloister.apps.kept import Kept
from cloister.apps.load import Census, ListenerLoad
from cloister.apps.log_keeping import keeper
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.machine import State
from cloister.apps.pool import Pool
from cloister.apps.reporting import Supervised
from cloister.apps.resources import Resources
from cloister.apps.service import Service, ServicePlan
from cloister.apps.status import (
    AppStatus,
    DaemonStatus,
    DoorStatus,
)
from cloister.apps.takeover import Takeover
from cloister.cells.cgroups.groups import ControlGroups
from cloister.cells.quotas.bounds import DiskBounds
from cloister.door.messages import Statistics
from cloister.model.app import App, Endpoint, SelfSignedTls
from cloister.model.errors import CloisterError, DoorError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import SocketOptions
from cloister.model.snapshot import Snapshot
from cloister.sockets.bind import BoundSocket

SETTLED = (
    State.READY,
    State.DORMANT,
    State.BACKOFF,
    State.ENDED,
    State.FAILED,
    State.STOPPED,
)
"""The states in which the outcome of a start is known."""
_ENDED = (State.STOPPED,)
_FLYING = 1.0
"""Seconds that requests under way may take before the applications are stopped too."""
_DOOR_BACKOFF = BackoffPolicy(longest_pause=5.0, give_up_after=None)
"""The door is never given up: without it nothing is served."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a change needs that could fail."""

    places: dict[Place, ListenerEndpoint]
    apps: dict[str, AppEndpoint]
    certificates: Certificates


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
        *,
        identify: Callable[[App], HostIdentity],
        retain: Callable[[Iterable[App]], None],
        groups: ControlGroups,
        kept: Kept | None = None,
        disks: DiskBounds | None = None,
    ) -> None:
        """``identify`` gives the host ids of an application that comes later, or raises
        :class:`CloisterError`; ``retain`` is told who is left when one has gone. ``kept`` is
        where what a last supervisor has left is found, and what this one makes is kept for
        the next one. ``disks`` bounds what applications have there."""
        self._resources = Resources(groups, sink, disks)
        self._retain = retain
        self._kept = kept
        self._snapshot = snapshot
        self._endpoints = endpoints
        self._door_identity = door_identity
        self._certificates = certificates
        self._sink = sink
        self._identify = identify
        self._since = time.time()
        self._renewal: asyncio.Task[None] | None = None
        self._stopping = False
        self._changing = asyncio.Lock()
        self._handovers: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._takeover = Takeover(kept, self._resources, sink, self._leave)
        self._left: list[Keeping] = []
        """Of applications that are not configured any more."""
        self._apps: dict[str, Supervised] = {}
        self._census = Census()
        for app in snapshot.apps:
            self._apps[app.name] = self._supervise(app, endpoints.apps[app.name])
        self._front_door = FrontDoorProgram(
            self._arrangement(snapshot, endpoints.places, endpoints.apps), sink, kept
        )
        door_plan = ServicePlan(
            "door",
            self._front_door.launch,
            ready_timeout=10.0,
            stop_timeout=DRAIN_TIMEOUT + 2.0,
            backoff=_DOOR_BACKOFF,
        )
        self._door = Service(door_plan, sink)

    def _supervise(self, app: App, endpoint: AppEndpoint) -> Supervised:
        self._sink.keep(app.name, keeper(app, self._snapshot.paths, partial(self._say, app.name)))
        program = AppProgram(
            app,
            endpoint,
            self._certificates,
            self._resources,
            self._sink,
            # A process for one connection ends with its supervisor: nobody could await it.
            kept=None if app.endpoint is Endpoint.STDIO else self._kept,
            egress=self._egress(app),
        )
        return Supervised(app, endpoint, program, self._keeping(program))

    def _say(self, name: str, message: str, level: Level) -> None:
        self._sink.emit(LogEvent(name, message, level, fields={"event": "log"}))

    def _egress(self, app: App) -> Egress | None:
        if not app.egress:
            return None
        identity = self._door_identity if os.geteuid() == 0 else None
        kept = None if app.endpoint is Endpoint.STDIO else self._kept
        return Egress(app, self._snapshot, identity, self._sink, kept)

    def _keeping(self, program: AppProgram) -> Keeping:
        listening = program.endpoint.listening
        if program.app.endpoint is Endpoint.STDIO:
            return ConnectionPool(_connection_plan(program), self._sink)
        plan = _pool_plan(program, partial(self._resources.has_room, program.app.name))
        pool = Pool(plan, ListenerLoad(listening, self._census), self._sink)
        program.on_load = pool.stirred
        if program.app.restart.after_requests is not None:
            program.on_relief = pool.relieve
        return pool

    def _arrangement(
        self,
        snapshot: Snapshot,
        listening: dict[Place, ListenerEndpoint],
        apps: dict[str, AppEndpoint],
    ) -> Arrangement:
        return Arrangement(
            snapshot,
            tuple(listening.values()),
            {name: endpoint.path for name, endpoint in apps.items()},
            self._door_identity if os.geteuid() == 0 else None,
        )

    @property
    def snapshot(self) -> Snapshot:
        """What runs."""
        return self._snapshot

    async def start(self) -> tuple[str, ...]:
        """Start everything at once: whoever connects to an application that is not ready
        yet waits in its queue, and a slow one holds up no other.

        Returns when the door serves and each application is ready or has failed once, with
        the names of those that failed; they are tried again. Raises :class:`DoorError`
        where the door cannot be started.
        """
        self._door.start()
        self._leave(self._resources.retain_disks([one.name for one in self._snapshot.apps]))
        for supervised in self._apps.values():
            self._takeover.take(supervised.program, supervised.service)
            supervised.service.start()
            if isinstance(supervised.service, Pool):
                supervised.service.resume(len(supervised.program.left))
        self._takeover.clear_away([one.app.name for one in self._apps.values() if one.app.egress])
        self._begin_renewal()
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
            name
            for name, state in zip(self._apps, states, strict=True)
            if state not in (State.READY, State.DORMANT)
        )

    async def stop(self) -> None:
        """Stop all in an order that loses no request which can still be answered: the door
        takes no more, then the applications end, which ends idle connections too.
        """
        self._stopping = True
        async with self._changing:  # one that is under way comes to its end
            pass
        for task in (*self._handovers.values(), *([self._renewal] if self._renewal else [])):
            task.cancel()
        process = self._door_process()
        self._door.stop()
        if process is not None:
            await process.drained.wait()
        # Whoever comes now is refused and can go elsewhere, instead of waiting in vain.
        self._endpoints.close_listeners()
        try:
            async with asyncio.timeout(_FLYING):
                await self._door.wait_state(*_ENDED)
        except TimeoutError:
            pass
        services = self._services()
        for service in services:
            service.stop()
        for service in services:
            await service.wait_state(*_ENDED)
        await self._door.wait_state(*_ENDED)
        for supervised in self._apps.values():
            self._takeover.end(supervised.program)
            await supervised.program.end()
        if self._leaving:
            await asyncio.wait(self._leaving)
        self._resources.close()

    def force(self) -> None:
        """End everything now; :meth:`stop` then returns soon."""
        for service in self._services():
            service.force()
        self._door.force()

    def _services(self) -> list[Keeping]:
        """Of the applications: those that are configured, earlier versions, and removed ones."""
        found = list(self._left)
        for supervised in self._apps.values():
            found += [supervised.service, *(one.service for one in supervised.former)]
        return found

    def _door_process(self) -> FrontDoorProcess | None:
        process = self._door.process
        return process if isinstance(process, FrontDoorProcess) else None

    async def apply(
        self, snapshot: Snapshot, commit: Callable[[], None] = lambda: None
    ) -> tuple[Operation, ...]:
        """Run another snapshot from now on; what was done, in order.

        What is the same in both is not touched. ``commit`` is called when nothing but it can
        fail any more, and what it raises is raised. Raises :class:`CloisterError`; then
        nothing has changed. One change at a time: others wait.

        Returns when the change has happened: the door goes by it, and new applications, and
        new versions of old ones, are being started. An old version serves until its
        successor does.
        """
        async with self._changing:
            self._refuse_stopping()
            operations = changes(self._snapshot, snapshot)
            with contextlib.ExitStack() as undo:
                prepared = await self._prepare(operations, snapshot, undo)
                if TellDoor() in operations:
                    arrangement = self._arrangement(snapshot, prepared.places, prepared.apps)
                    await self._front_door.change(self._door_process(), arrangement, commit)
                else:
                    commit()
                undo.pop_all()
            self._snapshot = snapshot
            self._certificates.become(prepared.certificates)
            self._begin_renewal()
            former = self._endpoints.places
            self._endpoints.places = prepared.places
            self._endpoints.apps = prepared.apps
            for operation in operations:
                self._obey(operation, former)
            return operations

    async def _prepare(
        self, operations: tuple[Operation, ...], snapshot: Snapshot, undo: contextlib.ExitStack
    ) -> _Prepared:
        """Does all that can fail; ``undo`` takes it back."""
        endpoints = self._endpoints
        opened: dict[Place, ListenerEndpoint] = {}
        made: dict[str, AppEndpoint] = {}
        for operation in operations:
            match operation:
                case OpenListener(place, listener):
                    opened[place] = endpoint = endpoints.open_listener(place, listener)
                    undo.callback(endpoints.close_listener, place, endpoint)
                case KeepListener(place, listener, former) if former is not None:
                    bound = endpoints.places[place].bound
                    undo.callback(_restore, bound, former)
                    bound.adjust(listener.socket)
                case AddApp(app):
                    made[app.name] = new = endpoints.make_app(app, self._identify(app))
                    undo.callback(new.close)
                case ReplaceApp(app):
                    before = endpoints.apps[app.name]
                    new = endpoints.make_app(app, self._identify(app), before)
                    made[app.name] = new
                    undo.callback(new.close, before)
                case _:
                    pass
        hosts = {app.name: app.hosts for app in snapshot.apps if isinstance(app.tls, SelfSignedTls)}
        return _Prepared(
            places={
                place: opened.get(place)
                or ListenerEndpoint(listener.name, endpoints.places[place].bound)
                for place, listener in places(snapshot.listeners)
            },
            apps={
                app.name: made.get(app.name) or endpoints.apps[app.name] for app in snapshot.apps
            },
            certificates=await self._certificates.prepare(hosts),
        )

    def _obey(self, operation: Operation, former: dict[Place, ListenerEndpoint]) -> None:
        """What cannot fail."""
        self._sink.emit(LogEvent("cloister", str(operation), fields={"event": "change"}))
        match operation:
            case AddApp(app):
                self._endpoints.keep_app(app.name)
                supervised = self._supervise(app, self._endpoints.apps[app.name])
                self._apps[app.name] = supervised
                supervised.service.start()
            case ReplaceApp(app):
                self._endpoints.keep_app(app.name)
                self._succeed(self._supervise(app, self._endpoints.apps[app.name]))
            case AdjustApp(app):
                self._apps[app.name] = replace(self._apps[app.name], app=app)
            case RemoveApp(name):
                self._remove(self._apps.pop(name))
            case CloseListener(place, _):
                self._endpoints.close_listener(place, former[place])
            case _:
                pass

    def _succeed(self, following: Supervised) -> None:
        """Another version of an application takes over, once it serves."""
        name = following.app.name
        handover = self._handovers.pop(name, None)
        if handover is not None:
            handover.cancel()
        old = self._apps[name]
        if following.endpoint.listening is old.endpoint.listening:
            following.program.live = old.program.live
        following.former.extend((*old.former, old))
        self._apps[name] = following
        if old.service.state is State.STOPPED and not old.former:
            self._dismiss(following)  # somebody has stopped it: that stays so
            return
        if old.service.process is None or old.service.state is not State.READY:
            # It serves nobody: what it still does would only be in the way.
            old.service.stop()
        following.service.start()
        self._handovers[name] = asyncio.create_task(self._hand_over(following))

    async def _hand_over(self, following: Supervised) -> None:
        await following.service.wait_state(State.READY, State.DORMANT)
        self._dismiss(following)

    def _dismiss(self, successor: Supervised) -> None:
        """The versions before it have served their time."""
        while successor.former:
            self._retire(successor.former.pop(), successor.endpoint)

    def _remove(self, supervised: Supervised) -> None:
        handover = self._handovers.pop(supervised.app.name, None)
        if handover is not None:
            handover.cancel()
        self._dismiss(supervised)
        # Its name is free for an application that comes next; what waits in its queue is
        # still served.
        self._endpoints.close_app(supervised.app.name, supervised.endpoint)
        self._retire(supervised, None)

    def _retire(self, supervised: Supervised, successor: AppEndpoint | None) -> None:
        self._left.append(supervised.service)
        supervised.service.stop()
        self._leave(self._see_off(supervised, successor))

    async def _see_off(self, supervised: Supervised, successor: AppEndpoint | None) -> None:
        await supervised.service.wait_state(*_ENDED)
        self._left.remove(supervised.service)
        await supervised.program.end()
        supervised.endpoint.close(successor)
        if supervised.app.name not in self._apps:
            self._sink.keep(supervised.app.name, None)
            self._resources.release(supervised.app.name)
            self._retain(one.app for one in self._apps.values())
            await self._resources.retain_disks(list(self._apps))

    def _leave(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Something that goes on until it is done, and that a stop waits for."""
        task = asyncio.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task

    def _begin_renewal(self) -> None:
        if self._renewal is None and self._certificates.path is not None:
            self._renewal = asyncio.create_task(self._renew())

    def _refuse_stopping(self) -> None:
        if self._stopping:
            raise CloisterError("the supervisor is stopping")

    async def status(self) -> DaemonStatus:
        """How everything is. The door has a second to give its counters."""
        statistics = await self._statistics()
        await self._resources.look_at_disks()
        traffic = reporting.traffic_by_app(self._apps, statistics)
        apps = await asyncio.gather(
            *(
                reporting.app_status(one, traffic.get(name), self._resources)
                for name, one in self._apps.items()
            )
        )
        return DaemonStatus(
            version=cloister.__version__,
            pid=os.getpid(),
            since=self._since,
            config=self._snapshot.source,
            runtime_directory=self._snapshot.paths.runtime,
            authority=self._certificates.path,
            rootless=os.geteuid() != 0,
            listeners=reporting.listener_statuses(
                self._snapshot.listeners, self._endpoints.listeners, statistics
            ),
            apps=tuple(apps),
            door=self._door_status(statistics),
        )

    async def app_status(self, name: str) -> AppStatus:
        """How one application is, without a look at the others: of hundreds that takes a second.
        Waits for the door as :meth:`status`. Raises :class:`UnknownAppError`."""
        statistics = await self._statistics()
        await self._resources.look_at_disks()
        traffic = reporting.traffic_by_app(self._apps, statistics).get(name)
        return await reporting.app_status(self._supervised(name), traffic, self._resources)

    async def door_status(self) -> DoorStatus:
        """How the door is. Waits for it as :meth:`status`."""
        return self._door_status(await self._statistics())

    async def brief(self) -> Brief:
        """What changes all the time, cheaply. Waits for the door as :meth:`status`."""
        statistics = await self._statistics()
        counted = {one.name: one for one in (statistics.apps if statistics else ())}
        process = self._door.process
        return Brief(
            time=time.monotonic(),
            door_pids=(process.pid,) if process else (),
            door_state=self._door.state.value,
            listeners=listener_briefs(statistics),
            apps=tuple(
                reporting.app_brief(
                    name, one.service, counted.get(name), self._resources.places(name)
                )
                for name, one in self._apps.items()
            ),
        )

    async def _statistics(self) -> Statistics | None:
        process = self._door_process()
        return None if process is None else await process.stats()

    def _door_status(self, statistics: Statistics | None) -> DoorStatus:
        return reporting.door_status(
            self._door,
            self._door_process(),
            self._front_door,
            self._door_identity.uid,
            statistics,
        )

    async def _renew(self) -> None:
        """Applications get a new certificate by a restart; their sockets stay."""
        pause = max(0.0, self._takeover.oldest + RENEWAL - time.time())
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
                if due and supervised.service.process is not None:
                    message = "restarts for its new certificate"
                    self._sink.emit(LogEvent(supervised.app.name, message))
                    supervised.service.restart()

    async def replace_door(self) -> None:
        """Have another door accept, and the one that runs now end with its last connection:
        no connection is lost, and a new program is in use.

        Returns once the new one accepts. Raises :class:`DoorError`, or
        :class:`CloisterError` while everything stops; then the old one goes on.
        """
        self._refuse_stopping()
        process = self._door_process()
        if process is None:
            raise DoorError(
                "there is no door to replace",
                why=f"its state is {self._door.state.value}",
                hint="the next one starts by itself",
            )
        await process.replace()

    async def door_answers(self, patience: float) -> bool:
        """Whether every worker of the door answers within ``patience`` seconds; true while
        no door runs, since the next one is on its way."""
        process = self._door_process()
        return process is None or await process.answers(patience)

    def restart_door(self) -> None:
        """End a door that does not answer; the next one starts by itself."""
        if self._door.process is not None:
            self._door.process.kill()

    def command(self, name: str, verb: str) -> None:
        """Do ``start``, ``stop`` or ``restart`` to one application.

        Raises :class:`UnknownAppError`, and :class:`CloisterError` while everything stops.
        """
        self._refuse_stopping()
        supervised = self._supervised(name)
        verbs: dict[str, Callable[[], None]] = {
            "start": supervised.service.start,
            "stop": supervised.service.stop,
            "restart": supervised.service.restart,
        }
        verbs[verb]()

    def _supervised(self, name: str) -> Supervised:
        found = self._apps.get(name)
        if found is None:
            raise UnknownAppError(name, tuple(self._apps))
        return found


def _connection_plan(program: AppProgram) -> ConnectionPlan:
    app = program.app
    return ConnectionPlan(
        app.name,
        program.launch_for,
        program.endpoint.listening.socket,
        app.processes.most,
        app.stop_timeout,
        app.restart,
    )


def _pool_plan(program: AppProgram, has_room: Callable[[], bool]) -> PoolPlan:
    app = program.app
    return PoolPlan(
        app.name,
        program.launch,
        app.ready_timeout,
        app.stop_timeout,
        app.processes,
        app.idle_stop,
        app.restart,
        has_room,
    )


def _restore(bound: BoundSocket, former: SocketOptions) -> None:
    with contextlib.suppress(CloisterError):  # what could be done once, can be done again
        bound.adjust(former)


class UnknownAppError(CloisterError):
    """No application of that name is configured."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"there is no application {name!r}",
            hint=f"the applications are: {', '.join(known)}" if known else None,
        )
