"""Everything that one supervisor keeps alive: the applications, and the door before them.

Whoever keeps a part of it has a module of its own; this one starts and stops them in the right
order, exchanges them when the configuration changes, and is what everybody else asks.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping

from cloister.apps.assembly import Assembly
from cloister.apps.brief import Brief
from cloister.apps.certificates import Certificates
from cloister.apps.changes import (
    AddApp,
    AdjustApp,
    CloseListener,
    Operation,
    Place,
    RemoveApp,
    ReplaceApp,
    TellDoor,
    changes,
)
from cloister.apps.door_service import DoorService
from cloister.apps.endpoints import AppEndpoint, Endpoints, ListenerEndpoint
from cloister.apps.fleet import Fleet
from cloister.apps.front_door import Arrangement
from cloister.apps.kept import Kept
from cloister.apps.logs import LogEvent, Sink
from cloister.apps.machine import State
from cloister.apps.overview import Overview
from cloister.apps.preparation import prepare
from cloister.apps.renewal import Renewal
from cloister.apps.resources import Resources
from cloister.apps.status import AppStatus, DaemonStatus, DoorStatus
from cloister.cells.cgroups.groups import ControlGroups
from cloister.cells.quotas.bounds import DiskBounds
from cloister.model.app import App
from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.snapshot import Snapshot

_FLYING = 1.0
"""Seconds that requests under way may take before the applications are stopped too."""


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
        self._snapshot = snapshot
        self._endpoints = endpoints
        self._door_identity = door_identity if os.geteuid() == 0 else None
        self._certificates = certificates
        self._sink = sink
        self._identify = identify
        self._stopping = False
        self._changing = asyncio.Lock()
        self._resources = Resources(groups, sink, disks)
        assembly = Assembly(self._door_identity, certificates, self._resources, sink, kept)
        self._fleet = Fleet(assembly, endpoints, self._resources, sink, kept=kept, retain=retain)
        for app in snapshot.apps:
            self._fleet.add(app, snapshot)
        arrangement = self._arrangement(snapshot, endpoints.places, endpoints.apps)
        self._door = DoorService(arrangement, door_identity.uid, sink, kept)
        self._renewal = Renewal(certificates, sink, self._fleet.restart_for_certificates)
        self._overview = Overview(
            lambda: self._snapshot,
            door=self._door,
            fleet=self._fleet,
            endpoints=endpoints,
            certificates=certificates,
            resources=self._resources,
        )

    def _arrangement(
        self,
        snapshot: Snapshot,
        listening: Mapping[Place, ListenerEndpoint],
        apps: Mapping[str, AppEndpoint],
    ) -> Arrangement:
        return Arrangement(
            snapshot,
            tuple(listening.values()),
            {name: endpoint.path for name, endpoint in apps.items()},
            self._door_identity,
        )

    @property
    def snapshot(self) -> Snapshot:
        """What runs."""
        return self._snapshot

    # From start to stop.

    async def start(self) -> tuple[str, ...]:
        """Start everything at once: whoever connects to an application that is not ready
        yet waits in its queue, and a slow one holds up no other.

        Returns when the door serves and each application is ready or has failed once, with
        the names of those that failed; they are tried again. Raises :class:`DoorError`
        where the door cannot be started.
        """
        self._door.start()
        outcomes = self._fleet.start()
        self._renewal.begin(self._fleet.oldest)
        try:
            await self._door.wait_serving()
            states = await asyncio.gather(*outcomes.values())
        finally:
            for outcome in outcomes.values():
                outcome.cancel()
        return tuple(
            name
            for name, state in zip(outcomes, states, strict=True)
            if state not in (State.READY, State.DORMANT)
        )

    async def stop(self) -> None:
        """Stop all in an order that loses no request which can still be answered: the door
        takes no more, then the applications end, which ends idle connections too.
        """
        self._stopping = True
        async with self._changing:  # one that is under way comes to its end
            pass
        self._fleet.call_off_handovers()
        self._renewal.cancel()
        await self._door.stop()
        # Whoever comes now is refused and can go elsewhere, instead of waiting in vain.
        self._endpoints.close_listeners()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLYING):
                await self._door.wait_stopped()
        await self._fleet.stop()
        await self._door.wait_stopped()
        await self._fleet.close()
        self._resources.close()

    def force(self) -> None:
        """End everything now; :meth:`stop` then returns soon."""
        self._fleet.force()
        self._door.force()

    def _refuse_stopping(self) -> None:
        if self._stopping:
            raise CloisterError("the supervisor is stopping")

    # From one snapshot to the next.

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
                prepared = await prepare(
                    operations,
                    snapshot,
                    self._endpoints,
                    self._certificates,
                    identify=self._identify,
                    undo=undo,
                )
                if TellDoor() in operations:
                    arrangement = self._arrangement(snapshot, prepared.places, prepared.apps)
                    await self._door.change(arrangement, commit)
                else:
                    commit()
                undo.pop_all()
            self._snapshot = snapshot
            self._certificates.become(prepared.certificates)
            self._renewal.begin(self._fleet.oldest)
            former = self._endpoints.places
            self._endpoints.places = prepared.places
            self._endpoints.apps = prepared.apps
            for operation in operations:
                self._obey(operation, former)
            return operations

    def _obey(self, operation: Operation, former: Mapping[Place, ListenerEndpoint]) -> None:
        """What cannot fail."""
        self._sink.emit(LogEvent("cloister", str(operation), fields={"event": "change"}))
        match operation:
            case AddApp(app):
                self._endpoints.keep_app(app.name)
                self._fleet.add(app, self._snapshot).service.start()
            case ReplaceApp(app):
                self._endpoints.keep_app(app.name)
                self._fleet.succeed(app, self._snapshot)
            case AdjustApp(app):
                self._fleet.adjust(app)
            case RemoveApp(name):
                self._fleet.remove(name)
            case CloseListener(place, _):
                self._endpoints.close_listener(place, former[place])
            case _:
                pass

    # What it is asked and told.

    async def status(self) -> DaemonStatus:
        """How everything is. The door has a second to give its counters."""
        return await self._overview.all()

    async def app_status(self, name: str) -> AppStatus:
        """How one application is. Waits for the door as :meth:`status`. Raises
        :class:`UnknownAppError`."""
        return await self._overview.app(name)

    async def door_status(self) -> DoorStatus:
        """How the door is. Waits for it as :meth:`status`."""
        return await self._overview.door()

    async def brief(self) -> Brief:
        """What changes all the time, cheaply. Waits for the door as :meth:`status`."""
        return await self._overview.brief()

    async def replace_door(self) -> None:
        """Have another door accept, and the one that runs now end with its last connection:
        no connection is lost, and a new program is in use.

        Returns once the new one accepts. Raises :class:`DoorError`, or
        :class:`CloisterError` while everything stops; then the old one goes on.
        """
        self._refuse_stopping()
        await self._door.replace()

    async def door_answers(self, patience: float) -> bool:
        """Whether every worker of the door answers within ``patience`` seconds; true while
        no door runs, since the next one is on its way."""
        return await self._door.answers(patience)

    def restart_door(self) -> None:
        """End a door that does not answer; the next one starts by itself."""
        self._door.restart()

    def command(self, name: str, verb: str) -> None:
        """Do ``start``, ``stop`` or ``restart`` to one application.

        Raises :class:`UnknownAppError`, and :class:`CloisterError` while everything stops.
        """
        self._refuse_stopping()
        self._fleet.command(name, verb)
