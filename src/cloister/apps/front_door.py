"""The front door as a program of ``cloister.apps.service``."""

import asyncio
import json
from collections.abc import Callable

from cloister.apps.endpoints import Endpoints
from cloister.apps.lines import LastLines, Line, LineSplitter
from cloister.apps.logs import LogEvent, Sink, Value
from cloister.cells.programs import find
from cloister.door.client import DoorLaunch, DoorProcess
from cloister.door.messages import Protection, Statistics
from cloister.door.snapshot import ListeningSocket, door_snapshot, open_hosts_directories
from cloister.model.errors import DoorError
from cloister.model.isolation import HostIdentity
from cloister.model.route import UnixPathTarget
from cloister.model.snapshot import Snapshot

DRAIN_TIMEOUT = 10.0
"""Seconds that open connections may go on after a stop was asked for."""


class FrontDoorProcess:
    """One running door that has its snapshot."""

    def __init__(self, door: DoorProcess, last: LastLines, pumps: list[asyncio.Task[None]]) -> None:
        self._door = door
        self._last = last
        self._pumps = pumps
        self._draining: asyncio.Task[None] | None = None
        self.drained = asyncio.Event()
        """Set when it accepts no more, or cannot."""

    @property
    def pid(self) -> int:
        """The door's process id."""
        return self._door.pid

    @property
    def protections(self) -> tuple[Protection, ...]:
        """What it took on itself."""
        return self._door.protections

    async def stats(self) -> Statistics:
        """Its counters. Raises :class:`DoorError`."""
        return await self._door.stats()

    async def wait_ready(self) -> None:
        """Returns at once: it has applied its snapshot already."""

    def terminate(self) -> None:
        """Accept no more, and end with the last open connection."""
        self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        try:
            await self._door.drain(DRAIN_TIMEOUT)
        except DoorError:
            # It has ended, or answers nothing: then there is nothing to wait for.
            self._door.kill()
        finally:
            self.drained.set()

    def kill(self) -> None:
        """SIGKILL."""
        self._door.kill()

    async def wait(self) -> int:
        """Its exit status, after its last line was read."""
        status = await self._door.wait()
        self.drained.set()
        await asyncio.wait(self._pumps, timeout=2.0)
        for pump in self._pumps:
            pump.cancel()
        return status

    def last_output(self) -> tuple[str, ...]:
        """What it last said to people."""
        return self._last.all()


class FrontDoorProgram:
    """Makes doors, one after the other, on the same listeners."""

    def __init__(
        self, snapshot: Snapshot, endpoints: Endpoints, identity: HostIdentity | None, sink: Sink
    ) -> None:
        self._snapshot = snapshot
        self._endpoints = endpoints
        self._identity = identity
        self._sink = sink
        self.generation = 0
        """Of the snapshot in force; each door gets a new one."""

    async def launch(self) -> FrontDoorProcess:
        """A door that serves. Raises :class:`DoorError`, or :class:`CloisterError`."""
        door = await DoorProcess.start(DoorLaunch(find("cloister-door"), self._identity))
        last = LastLines()
        pumps = [
            asyncio.ensure_future(_pump(door.records, self._record)),
            asyncio.ensure_future(_pump(door.messages, self._message(last))),
        ]
        try:
            await self._apply(door)
        except BaseException:
            await door.close()
            for pump in pumps:
                pump.cancel()
            raise
        return FrontDoorProcess(door, last, pumps)

    async def _apply(self, door: DoorProcess) -> None:
        self.generation += 1
        listeners = [
            ListeningSocket(
                endpoint.listener, str(endpoint.bound.address), endpoint.bound.socket.fileno()
            )
            for endpoint in self._endpoints.listeners
        ]
        targets = {
            name: UnixPathTarget(endpoint.path) for name, endpoint in self._endpoints.apps.items()
        }
        with open_hosts_directories(self._snapshot) as directories:
            message, descriptors = door_snapshot(
                self._snapshot, self.generation, listeners, targets, directories=directories
            )
            await door.apply(message, descriptors)

    def _message(self, last: LastLines) -> Callable[[Line], None]:
        def tell(line: Line) -> None:
            last.add(line)
            self._sink.emit(LogEvent("door", line.text, fields={"event": "output"}))

        return tell

    def _record(self, line: Line) -> None:
        self._sink.emit(connection_event(line.text))


def connection_event(text: str) -> LogEvent:
    """A connection record for the log; whatever is none is logged as it is."""
    try:
        record = json.loads(text)
        fields: dict[str, Value] = {"event": "connection"}
        for name, value in record.items():
            fields[name] = tuple(value) if isinstance(value, list) else value
        name = record["name"] or "-"
        goal = record["app"] or record["target"] or "-"
        milliseconds = record["duration_us"] / 1000
        message = (
            f"{record['client']} {name} -> {goal}: {record['outcome']},"
            f" {record['bytes_to_target']} B in, {record['bytes_to_client']} B out,"
            f" {milliseconds:.1f} ms"
        )
        if record["reason"]:
            message += f" ({record['reason']})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return LogEvent("door", text, fields={"event": "output"})
    return LogEvent("door", message, fields=fields)


async def _pump(reader: asyncio.StreamReader, on_line: Callable[[Line], None]) -> None:
    """Reads a stream to its end; holds one bounded line."""
    splitter = LineSplitter(256 * 1024)
    while received := await reader.read(64 * 1024):
        for line in splitter.feed(received):
            on_line(line)
    for line in splitter.end():
        on_line(line)
