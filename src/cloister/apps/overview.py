"""How everything that a supervisor runs is, at the moment that somebody asks."""

import asyncio
import os
import time
from collections.abc import Callable

import cloister
from cloister.apps import reporting
from cloister.apps.brief import Brief, listener_briefs
from cloister.apps.certificates import Certificates
from cloister.apps.door_service import DoorService
from cloister.apps.endpoints import Endpoints
from cloister.apps.fleet import Fleet
from cloister.apps.resources import Resources
from cloister.apps.status import AppStatus, DaemonStatus, DoorStatus
from cloister.model.snapshot import Snapshot


class Overview:
    """Of one supervisor, since it was made. Changes nothing. Whatever is asked, the door has a
    second to give its counters."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        door: DoorService,
        fleet: Fleet,
        endpoints: Endpoints,
        certificates: Certificates,
        resources: Resources,
    ) -> None:
        """``snapshot`` tells what runs now."""
        self._snapshot = snapshot
        self._door = door
        self._fleet = fleet
        self._endpoints = endpoints
        self._certificates = certificates
        self._resources = resources
        self._since = time.time()

    async def all(self) -> DaemonStatus:
        """How everything is."""
        statistics = await self._door.statistics()
        await self._resources.look_at_disks()
        versions = self._fleet.versions
        traffic = reporting.traffic_by_app(versions, statistics)
        apps = await asyncio.gather(
            *(
                reporting.app_status(one, traffic.get(name), self._resources)
                for name, one in versions.items()
            )
        )
        snapshot = self._snapshot()  # as it is now: it goes with the endpoints
        return DaemonStatus(
            version=cloister.__version__,
            pid=os.getpid(),
            since=self._since,
            config=snapshot.source,
            runtime_directory=snapshot.paths.runtime,
            authority=self._certificates.path,
            rootless=os.geteuid() != 0,
            listeners=reporting.listener_statuses(
                snapshot.listeners, self._endpoints.listeners, statistics
            ),
            apps=tuple(apps),
            door=self._door.status(statistics),
        )

    async def app(self, name: str) -> AppStatus:
        """How one application is, without a look at the others: of hundreds that takes a second.
        Raises :class:`UnknownAppError`."""
        statistics = await self._door.statistics()
        await self._resources.look_at_disks()
        traffic = reporting.traffic_by_app(self._fleet.versions, statistics).get(name)
        return await reporting.app_status(self._fleet.version(name), traffic, self._resources)

    async def door(self) -> DoorStatus:
        """How the door is."""
        return self._door.status(await self._door.statistics())

    async def brief(self) -> Brief:
        """What changes all the time, cheaply."""
        statistics = await self._door.statistics()
        counted = {one.name: one for one in (statistics.apps if statistics else ())}
        return Brief(
            time=time.monotonic(),
            door_pids=self._door.pids,
            door_state=self._door.state.value,
            listeners=listener_briefs(statistics),
            apps=tuple(
                reporting.app_brief(
                    name, one.service, counted.get(name), self._resources.places(name)
                )
                for name, one in self._fleet.versions.items()
            ),
        )
