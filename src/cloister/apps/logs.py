"""What the supervisor says: events, their two forms, and a sink that never blocks it."""

import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TextIO

Value = str | int | float | bool | None | tuple[str, ...]
"""What a field of an event may hold."""


class Level(Enum):
    """How much an event matters; names as in syslog(3)."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    """The form of the log."""

    AUTO = "auto"
    """Plain on a terminal, JSON otherwise."""
    PLAIN = "plain"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One thing to say."""

    source: str
    """``cloister``, ``door`` or an application's name."""
    message: str
    level: Level = Level.INFO
    details: tuple[str, ...] = ()
    """Further lines for a person, for example a program's last output."""
    fields: Mapping[str, Value] = field(default_factory=dict)
    """For programs; a plain line leaves them out."""
    time: float = field(default_factory=time.time)
    """Seconds since 1970-01-01 00:00 UTC."""


# C0 without tab, DEL, C1: whatever a terminal may take for a command (ECMA-48), and the
# marks that change the direction of text (Unicode TR 36, section 3).
_HARMLESS = {
    code: f"\\x{code:02x}" for code in (*range(0x09), *range(0x0A, 0x20), *range(0x7F, 0xA0))
} | {
    code: f"\\u{code:04x}"
    for code in (0x2028, 0x2029, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def harmless(text: str) -> str:
    """The text with everything spelled out that could steer a terminal or forge a line."""
    return text.translate(_HARMLESS)


def plain(event: LogEvent, width: int = 0) -> str:
    """One or more lines for a person, each with its line break.

    ``width`` is the room for the source's name.
    """
    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    source = harmless(event.source).ljust(width)
    mark = {Level.WARNING: "warning: ", Level.ERROR: "error: "}.get(event.level, "")
    lines = [f"{clock} {source} | {mark}{harmless(event.message)}"]
    lines += [f"{clock} {source} |     {harmless(detail)}" for detail in event.details]
    return "\n".join(lines) + "\n"


def as_json(event: LogEvent) -> str:
    """One line of JSON with its line break. ASCII only: nothing in it steers a terminal."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(event.time))
    value: dict[str, Value] = {
        "time": f"{stamp}.{int(event.time * 1000) % 1000:03d}Z",
        "level": event.level.value,
        "source": event.source,
        "message": event.message,
    }
    if event.details:
        value["details"] = event.details
    # An event's own keys win: a program's output cannot forge another source.
    value = {**event.fields, **value}
    return json.dumps(value) + "\n"


class Keeper(Protocol):
    """Keeps the events of one source."""

    alone: bool
    """Whether they are kept here only, and not in the supervisor's own output as well."""

    def keep(self, event: LogEvent) -> None:
        """May block, for a while. Raises :class:`OSError`; the event is lost then."""

    def close(self) -> None:
        """Called when no more events come."""


class Sink:
    """Writes events to a stream, and those of some sources to where they are kept.

    Stream and keepers have a thread each. Either may block (a terminal at rest, a slow disk):
    then events wait, up to ``capacity`` characters of each source, and further ones are lost
    and counted; the count is written as soon as there is room. :meth:`emit` never blocks.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        log_format: LogFormat = LogFormat.AUTO,
        *,
        width: int = 0,
        capacity: int = 256 * 1024,
    ) -> None:
        self._stream = sys.stdout if stream is None else stream
        if log_format is LogFormat.AUTO:
            log_format = LogFormat.PLAIN if self._stream.isatty() else LogFormat.JSON
        self.log_format = log_format
        self.width = width
        self._keepers: dict[str, Keeper] = {}
        self._replaced: list[Keeper] = []
        self._shown = _Outlet("log", self._show, capacity)
        self._kept = _Outlet("kept log", self._keep, capacity)

    def keep(self, source: str, keeper: Keeper | None) -> None:
        """Has the events of a source kept from now on, or no longer. Owns the keeper."""
        before = self._keepers.pop(source, None)
        if keeper is not None:
            self._keepers[source] = keeper
        if before is not None:
            # Closed by its own thread, after what waits for it.
            self._kept.call(before.close)

    def emit(self, event: LogEvent) -> None:
        """Say something. May be called from any thread."""
        keeper = self._keepers.get(event.source)
        if keeper is None or not keeper.alone:
            self._shown.put(event)
        if keeper is not None:
            self._kept.put(event)

    def close(self, patience: float = 2.0) -> None:
        """Write what waits and stop; what is not taken in time is lost. Waits for each of the
        two threads, at most ``patience`` seconds.
        """
        for keeper in self._keepers.values():
            self._kept.call(keeper.close)
        for outlet in (self._kept, self._shown):
            outlet.close(patience)

    def _show(self, event: LogEvent) -> None:
        plainly = self.log_format is LogFormat.PLAIN
        self._stream.write(plain(event, self.width) if plainly else as_json(event))
        self._stream.flush()

    def _keep(self, event: LogEvent) -> None:
        keeper = self._keepers.get(event.source)
        if keeper is not None:
            keeper.keep(event)


class _Outlet:
    """A thread that writes events, with a bounded queue before it."""

    def __init__(self, name: str, write: Callable[[LogEvent], None], capacity: int) -> None:
        self._write = write
        self._capacity = capacity
        self._queue: queue.SimpleQueue[LogEvent | Callable[[], None] | None] = queue.SimpleQueue()
        self._used: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, event: LogEvent) -> None:
        weight = _weight(event)
        with self._lock:
            used = self._used.get(event.source, 0)
            if used + weight > self._capacity:
                self._lost[event.source] = self._lost.get(event.source, 0) + 1
                return
            self._used[event.source] = used + weight
        self._queue.put(event)

    def call(self, action: Callable[[], None]) -> None:
        self._queue.put(action)

    def close(self, patience: float) -> None:
        self._queue.put(None)
        self._thread.join(patience)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if not isinstance(item, LogEvent):
                item()
                continue
            written = self._write_or_count(item, 1)
            with self._lock:
                self._used[item.source] -= _weight(item)
                if not self._used[item.source]:
                    del self._used[item.source]
                lost = self._lost.pop(item.source, 0) if written else 0
            if lost:
                message = f"{lost} log lines lost: their reader was too slow"
                report = LogEvent(item.source, message, Level.WARNING, fields={"lost": lost})
                self._write_or_count(report, lost)

    def _write_or_count(self, event: LogEvent, lines: int) -> bool:
        """Whether it was written; else so many lines are lost with it."""
        try:
            self._write(event)
        except (OSError, ValueError):
            # The reader is gone (EPIPE), the disk full, the stream closed: serving goes on.
            with self._lock:
                self._lost[event.source] = self._lost.get(event.source, 0) + lines
            return False
        return True


def _weight(event: LogEvent) -> int:
    """About what an event holds in memory, in characters."""
    return 200 + len(event.message) + sum(len(detail) for detail in event.details)
