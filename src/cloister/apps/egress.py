"""The ways out of one application's cells: a door of its own, outside, that dials for it.

Each cell has sockets that listen on its loopback interface and at paths in its file system
(``crates/cell/src/egress.rs``), which are given away before the application runs. A door relays
what it accepts there, each to its one destination. So the application reaches what is listed, by
the names in its /etc/hosts and by its sockets, and nothing else; it cannot reach the door itself,
which is in none of its namespaces.

There is a door while there is a cell. It is confined like the front door, but has a network;
the front door, and the doors of other applications, are not in reach of what it does.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace

from cloister.apps.backoff import BackoffPolicy
from cloister.apps.endpoints import ListenerEndpoint
from cloister.apps.front_door import Arrangement, FrontDoorProcess, FrontDoorProgram
from cloister.apps.kept import Kept
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.machine import State
from cloister.apps.service import Service, ServicePlan
from cloister.apps.status import EgressStatus
from cloister.cells.launch import CellProcess
from cloister.door.messages import Outcome, Statistics
from cloister.model import egress as model
from cloister.model.app import App
from cloister.model.errors import CloisterError, DoorError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import Address, Listener
from cloister.model.route import TargetRoute
from cloister.model.snapshot import Snapshot
from cloister.sockets.bind import BoundSocket

KIND = "egress-door"
"""What its doors are called where they are kept."""
FAILED = frozenset(
    outcome.value
    for outcome in (
        Outcome.REFUSED_LIMIT,
        Outcome.REFUSED_CLIENT_LIMIT,
        Outcome.TARGET_UNREACHABLE,
        Outcome.TARGET_TIMEOUT,
        Outcome.INTERNAL,
    )
)
"""How a connection ends that did not come to its target."""
_FLUSHING = 2.0
"""Seconds in which what an application has sent before its end still goes out."""
_BACKOFF = BackoffPolicy(longest_pause=5.0, give_up_after=None)


class Egress:
    """Lives on one event loop."""

    def __init__(
        self,
        app: App,
        snapshot: Snapshot,
        identity: HostIdentity | None,
        sink: Sink,
        kept: Kept | None = None,
    ) -> None:
        """``identity`` is whom the door becomes; ``None`` leaves it the supervisor's own user.
        ``kept`` is where it is found by, and kept for, a next supervisor."""
        self._app = app
        self._sink = sink
        self._kept = kept
        self._cells: dict[object, Sequence[ListenerEndpoint]] = {}
        self._gone: list[ListenerEndpoint] = []
        self._telling: asyncio.Task[None] | None = None
        self._due = False
        listeners = tuple(
            Listener(str(one), one.places, TargetRoute(one.target)) for one in app.egress
        )
        self._snapshot = replace(
            snapshot, listeners=listeners, apps=(), door=replace(snapshot.door, workers=1)
        )
        self._identity = identity
        self._name = f"{KIND} {app.name}"
        self._program = FrontDoorProgram(
            self._arrangement(), sink, kept, name=self._name, patience=_FLUSHING
        )
        plan = ServicePlan(
            self._name,
            self._program.launch,
            ready_timeout=10.0,
            stop_timeout=_FLUSHING + 2.0,
            backoff=_BACKOFF,
            quiet=True,
        )
        self._service = Service(plan, sink)

    @property
    def pid(self) -> int | None:
        """Of the door, while there is one."""
        process = self._service.process
        return None if process is None else process.pid

    async def status(self) -> tuple[EgressStatus, ...]:
        """What each way out was used for. A door has a second to give its counters."""
        process = self._service.process
        if isinstance(process, FrontDoorProcess):
            statistics = await process.stats()
        else:
            statistics = await self._program.statistics()
        return tuple(counted(way, statistics) for way in self._app.egress)

    def add(self, cell: object, sockets: Sequence[socket.socket]) -> None:
        """Serve what listens in a new cell, in the order of the application's ways out. The
        sockets are the ways' own from now on."""
        self._cells[cell] = [
            ListenerEndpoint(str(way), BoundSocket(one, place))
            for (way, place), one in zip(_places(self._app), sockets, strict=True)
        ]
        self._changed()
        self._service.start()

    def remove(self, cell: object) -> None:
        """A cell has ended. Nothing where it is not known."""
        self._gone += self._cells.pop(cell, ())
        self._changed()
        if not self._cells:
            self._service.stop()

    async def end(self) -> None:
        """Returns when no door of it is left. There must be no cell any more."""
        self._service.stop()
        await self._service.wait_state(State.STOPPED)
        if self._telling is not None:
            self._telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._telling
        self._close_gone()
        for left in [] if self._kept is None else self._kept.take_doors(self._name):
            left.end()
            if self._kept is not None:
                self._kept.forget(left.name)

    def _arrangement(self) -> Arrangement:
        listening = [endpoint for cell in self._cells.values() for endpoint in cell]
        return Arrangement(self._snapshot, tuple(listening), {}, self._identity)

    def _changed(self) -> None:
        # The next door begins with it, the running one is told.
        self._program.arrangement = self._arrangement()
        self._due = True
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell())

    async def _tell(self) -> None:
        """Brings the door to what there is now, as often as that changes meanwhile."""
        while self._due:
            state = await self._service.wait_state(State.READY, State.STOPPED)
            self._due = False
            gone = len(self._gone)
            process = self._service.process
            if state is State.READY and isinstance(process, FrontDoorProcess):
                async with self._program.changing:
                    try:
                        await process.tell(self._program.arrangement)
                    except DoorError as error:
                        # The next one begins with what there is now.
                        process.kill()
                        self._say(f"its door is replaced: {error}")
            self._close_gone(gone)

    def _close_gone(self, count: int | None = None) -> None:
        """Nobody is told of them any more."""
        for endpoint in self._gone[:count]:
            endpoint.bound.close()
        del self._gone[:count]

    def _say(self, message: str) -> None:
        fields = {"event": "egress"}
        self._sink.emit(LogEvent(self._name, message, Level.WARNING, fields=fields))


class Ways:
    """How the sockets of one new cell come out of it."""

    def __init__(self, app: App) -> None:
        """Opens a pair of sockets; close it."""
        self._app = app
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)

    def close(self) -> None:
        """Close both ends. Idempotent."""
        self._ours.close()
        self.theirs.close()

    def receive(self) -> tuple[socket.socket, ...]:
        """What listens in the cell, once its application runs: the caller's from now on.

        Raises :class:`CloisterError` where there is less than there should be.
        """
        wanted = len(_places(self._app))
        try:
            _, descriptors, _, _ = socket.recv_fds(self._ours, 1, wanted)
        except OSError as error:
            raise _lost(self._app, os.strerror(error.errno or 0)) from error
        if len(descriptors) != wanted:
            for descriptor in descriptors:
                os.close(descriptor)
            raise _lost(self._app, f"{len(descriptors)} of {wanted} sockets have come")
        return tuple(socket.socket(fileno=descriptor) for descriptor in descriptors)


async def received(ways: Ways | None, cell: CellProcess) -> tuple[socket.socket, ...]:
    """What listens in a new cell; without it the cell ends. Raises as :meth:`Ways.receive`."""
    try:
        return () if ways is None else ways.receive()
    except CloisterError:
        cell.signal(signal.SIGKILL)
        await cell.wait()
        raise


def counted(way: model.Egress, statistics: Statistics) -> EgressStatus:
    """What the door has counted at all places of ``way`` together."""
    found = [one for one in statistics.listeners if one.name == str(way)]
    outcomes: dict[str, int] = {}
    for one in found:
        for outcome, count in one.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    return EgressStatus(
        name=str(way),
        target=str(way.target),
        accepted=sum(one.accepted for one in found),
        active=sum(one.active for one in found),
        failed=sum(count for outcome, count in outcomes.items() if outcome in FAILED),
        bytes_to_target=sum(one.bytes_to_target for one in found),
        bytes_to_client=sum(one.bytes_to_client for one in found),
        outcomes=outcomes,
    )


def _places(app: App) -> list[tuple[model.Egress, Address]]:
    """Each way out with each place where a cell listens for it, as they come out of it."""
    return [(way, place) for way in app.egress for place in way.places]


def _lost(app: App, why: str) -> CloisterError:
    return CloisterError(
        f"the ways out of {app.name} are not there",
        why=why,
        hint="check that cloister and cloister-cell are of the same version",
    )
