"""The applications that are configured, and how their versions follow one another."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from cloister.apps.assembly import Assembly, Version
from cloister.apps.endpoints import AppEndpoint, Endpoints
from cloister.apps.keeping import Keeping
from cloister.apps.kept import Kept
from cloister.apps.logs import LogEvent, Sink
from cloister.apps.machine import SETTLED, State
from cloister.apps.pool import Pool
from cloister.apps.resources import Resources
from cloister.apps.takeover import Takeover
from cloister.model.app import App, SelfSignedTls
from cloister.model.errors import CloisterError
from cloister.model.snapshot import Snapshot


class Fleet:
    """Has every application run, from the newest of its versions; those before that serve until
    it does, and what is not configured any more ends in its own time. Lives on one event loop.

    The sockets are those of ``endpoints``, and stay the caller's but for those of a version
    that has ended.
    """

    def __init__(
        self,
        assembly: Assembly,
        endpoints: Endpoints,
        resources: Resources,
        sink: Sink,
        *,
        kept: Kept | None,
        retain: Callable[[Iterable[App]], None],
    ) -> None:
        """``kept`` is where what a last supervisor has left is found; ``retain`` is told who is
        left when one has gone."""
        self._assembly = assembly
        self._endpoints = endpoints
        self._resources = resources
        self._sink = sink
        self._retain = retain
        self._versions: dict[str, Version] = {}
        self._handovers: dict[str, asyncio.Task[None]] = {}
        self._left: list[Keeping] = []
        """Of versions that nobody waits for any more."""
        self._leaving: set[asyncio.Task[None]] = set()
        self._takeover = Takeover(kept, resources, sink, self._leave)

    @property
    def versions(self) -> Mapping[str, Version]:
        """The newest one of each application, by its name."""
        return MappingProxyType(self._versions)

    def version(self, name: str) -> Version:
        """The newest one of an application. Raises :class:`UnknownAppError`."""
        found = self._versions.get(name)
        if found is None:
            raise UnknownAppError(name, tuple(self._versions))
        return found

    @property
    def oldest(self) -> float:
        """When the oldest was made of the processes that were taken over, or this fleet where
        none were; in seconds since 1970-01-01 UTC."""
        return self._takeover.oldest

    # From the first start to the last end.

    def start(self) -> dict[str, asyncio.Task[State]]:
        """Start all that were added, and go on with what a last supervisor has left of them.
        Of each the state in which the outcome of that is known; the caller ends the waiting."""
        versions = self._versions.values()
        self._leave(self._resources.retain_disks(list(self._versions)))
        for version in versions:
            self._takeover.take(version.program, version.service)
            version.service.start()
            if isinstance(version.service, Pool):
                version.service.resume(len(version.program.left))
        self._takeover.clear_away([one.app.name for one in versions if one.app.egress])
        return {
            name: asyncio.ensure_future(version.service.wait_state(*SETTLED))
            for name, version in self._versions.items()
        }

    def call_off_handovers(self) -> None:
        """Nothing takes over from the version before it any more: all are about to stop."""
        for handover in self._handovers.values():
            handover.cancel()

    async def stop(self) -> None:
        """Have every version end. Returns when they have."""
        services = self._services()
        for service in services:
            service.stop()
        for service in services:
            await service.wait_state(State.STOPPED)

    async def close(self) -> None:
        """Give up what served those that have ended, and what nobody has taken over."""
        for version in self._versions.values():
            self._takeover.end(version.program)
            await version.program.end()
        if self._leaving:
            await asyncio.wait(self._leaving)

    def force(self) -> None:
        """End everything now."""
        for service in self._services():
            service.force()

    def _services(self) -> list[Keeping]:
        """Of the applications: those that are configured, earlier versions, and removed ones."""
        found = list(self._left)
        for version in self._versions.values():
            found += [version.service, *(one.service for one in version.former)]
        return found

    # One application.

    def add(self, app: App, snapshot: Snapshot) -> Version:
        """One that was not there, on its endpoint. The caller starts it."""
        version = self._assembly.version(app, self._endpoints.apps[app.name], snapshot)
        self._versions[app.name] = version
        return version

    def adjust(self, app: App) -> None:
        """Nothing of its processes differs."""
        self._versions[app.name] = replace(self._versions[app.name], app=app)

    def succeed(self, app: App, snapshot: Snapshot) -> None:
        """Another version of an application takes over, once it serves."""
        old = self._versions[app.name]
        following = self.add(app, snapshot)
        self._call_off_handover(app.name)
        if following.endpoint.listening is old.endpoint.listening:
            following.program.live = old.program.live
        following.former.extend((*old.former, old))
        if old.service.state is State.STOPPED and not old.former:
            self._dismiss(following)  # somebody has stopped it: that stays so
            return
        if old.service.process is None or old.service.state is not State.READY:
            # It serves nobody: what it still does would only be in the way.
            old.service.stop()
        following.service.start()
        self._handovers[app.name] = asyncio.create_task(self._hand_over(following))

    def remove(self, name: str) -> None:
        """It is not configured any more."""
        version = self._versions.pop(name)
        self._call_off_handover(name)
        self._dismiss(version)
        # Its name is free for an application that comes next; what waits in its queue is
        # still served.
        self._endpoints.close_app(name, version.endpoint)
        self._retire(version, None)

    def command(self, name: str, verb: str) -> None:
        """Do ``start``, ``stop`` or ``restart`` to one. Raises :class:`UnknownAppError`."""
        service = self.version(name).service
        if verb != "stop":
            self._resources.begin_anew(name)
        verbs = {"start": service.start, "stop": service.stop, "restart": service.restart}
        verbs[verb]()

    def restart_for_certificates(self) -> None:
        """Applications get a new certificate by a restart; their sockets stay."""
        for version in self._versions.values():
            due = isinstance(version.app.tls, SelfSignedTls)
            if due and version.service.process is not None:
                self._sink.emit(LogEvent(version.app.name, "restarts for its new certificate"))
                version.service.restart()

    # How a version goes.

    async def _hand_over(self, following: Version) -> None:
        await following.service.wait_state(State.READY, State.DORMANT)
        self._dismiss(following)

    def _call_off_handover(self, name: str) -> None:
        handover = self._handovers.pop(name, None)
        if handover is not None:
            handover.cancel()

    def _dismiss(self, successor: Version) -> None:
        """The versions before it have served their time."""
        while successor.former:
            self._retire(successor.former.pop(), successor.endpoint)

    def _retire(self, version: Version, successor: AppEndpoint | None) -> None:
        self._left.append(version.service)
        version.service.stop()
        self._leave(self._see_off(version, successor))

    async def _see_off(self, version: Version, successor: AppEndpoint | None) -> None:
        await version.service.wait_state(State.STOPPED)
        self._left.remove(version.service)
        await version.program.end()
        version.endpoint.close(successor)
        if version.app.name not in self._versions:
            self._sink.keep(version.app.name, None)
            self._resources.release(version.app.name)
            self._retain(one.app for one in self._versions.values())
            await self._resources.retain_disks(list(self._versions))

    def _leave(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Something that goes on until it is done, and that :meth:`close` waits for."""
        task = asyncio.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task


class UnknownAppError(CloisterError):
    """No application of that name is configured."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"there is no application {name!r}",
            hint=f"the applications are: {', '.join(known)}" if known else None,
        )
