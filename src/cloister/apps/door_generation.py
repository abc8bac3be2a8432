"""One door with its output: a generation of the front door."""

import asyncio
import contextlib
import json
from collections.abc import Callable

from cloister.apps.lines import LastLines, Line, LineSplitter
from cloister.apps.logs import LogEvent, Sink, Value
from cloister.door.client import DoorProcess
from cloister.door.messages import Statistics
from cloister.door.totals import NOTHING
from cloister.model.errors import DoorError


class Generation:
    """A running door that has its snapshot. Must be made on a running event loop."""

    def __init__(
        self,
        door: DoorProcess,
        sink: Sink,
        on_end: Callable[[], None] = lambda: None,
        *,
        source: str = "door",
    ) -> None:
        """Takes the door over: it ends with :meth:`wait` or :meth:`close`. ``on_end`` is
        called once it has ended. Its log lines are of ``source``."""
        self._source = source
        self._on_end = on_end
        self.door = door
        self.last = LastLines()
        self._newest = NOTHING
        self._sink = sink
        self._pumps = [
            asyncio.ensure_future(_pump(door.records, self._record)),
            asyncio.ensure_future(_pump(door.messages, self._message)),
        ]
        self._end = asyncio.ensure_future(self._wait())

    @property
    def statistics(self) -> Statistics:
        """Its counters as they were last heard: for a door that drained to its end the last
        ones, for one that was killed those of the last time that somebody asked."""
        return self.door.last_statistics or self._newest

    async def ask(self) -> Statistics:
        """Its counters now; the newest known ones where it does not answer within a second."""
        with contextlib.suppress(DoorError, TimeoutError):
            async with asyncio.timeout(1.0):
                self._newest = await self.door.stats()
        return self.statistics

    async def drain(self, deadline: float) -> None:
        """Have it accept no more. One that does not answer is killed: there is nothing to
        wait for."""
        try:
            await self.door.drain(deadline)
        except DoorError:
            self.door.kill()

    async def wait(self) -> int:
        """Its exit status, after its last line was read. Several may wait, and be cancelled."""
        return await asyncio.shield(self._end)

    async def _wait(self) -> int:
        status = await self.door.wait()
        self._on_end()
        await asyncio.wait(self._pumps, timeout=2.0)
        self._stop_pumps()
        return status

    async def close(self) -> None:
        """End it now."""
        await self.door.close()
        await self.wait()

    def _stop_pumps(self) -> None:
        for pump in self._pumps:
            pump.cancel()

    def _message(self, line: Line) -> None:
        self.last.add(line)
        self._sink.emit(LogEvent(self._source, line.text, fields={"event": "output"}))

    def _record(self, line: Line) -> None:
        self._sink.emit(connection_event(line.text, self._source))


def connection_event(text: str, source: str = "door") -> LogEvent:
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
        return LogEvent(source, text, fields={"event": "output"})
    return LogEvent(source, message, fields=fields)


async def _pump(reader: asyncio.StreamReader, on_line: Callable[[Line], None]) -> None:
    """Reads a stream to its end; holds one bounded line."""
    splitter = LineSplitter(256 * 1024)
    while received := await reader.read(64 * 1024):
        for line in splitter.feed(received):
            on_line(line)
    for line in splitter.end():
        on_line(line)
