"""What the supervisor says: events, their two forms, and a sink that never blocks it."""

import json
import queue
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TextIO

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


class Sink:
    """Writes events to a stream from a thread of its own.

    The stream may block (a terminal at rest, a slow pipe): then events wait, up to
    ``capacity`` characters, and further ones are lost and counted; the count is written as
    soon as there is room. :meth:`emit` never blocks. :meth:`close` waits for the thread, at most
    ``patience`` seconds.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        log_format: LogFormat = LogFormat.AUTO,
        *,
        width: int = 0,
        capacity: int = 1024 * 1024,
    ) -> None:
        self._stream = sys.stdout if stream is None else stream
        if log_format is LogFormat.AUTO:
            log_format = LogFormat.PLAIN if self._stream.isatty() else LogFormat.JSON
        self.log_format = log_format
        self.width = width
        self._events: queue.SimpleQueue[LogEvent | None] = queue.SimpleQueue()
        self._room = capacity
        self._lost = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def emit(self, event: LogEvent) -> None:
        """Say something. May be called from any thread."""
        with self._lock:
            if self._room < _weight(event):
                self._lost += 1
                return
            self._room -= _weight(event)
        self._events.put(event)

    def close(self, patience: float = 2.0) -> None:
        """Write what waits and stop; what the stream does not take in time is lost."""
        self._events.put(None)
        self._thread.join(patience)

    def _write_all(self) -> None:
        while (event := self._events.get()) is not None:
            self._write(event)
            with self._lock:
                self._room += _weight(event)
                lost, self._lost = self._lost, 0
            if lost:
                message = f"{lost} log lines lost: their reader was too slow"
                self._write(LogEvent("cloister", message, Level.WARNING, fields={"lost": lost}))

    def _write(self, event: LogEvent) -> None:
        plainly = self.log_format is LogFormat.PLAIN
        text = plain(event, self.width) if plainly else as_json(event)
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # The reader is gone (EPIPE) or the stream closed: serving goes on unheard.
            with self._lock:
                self._lost += 1


def _weight(event: LogEvent) -> int:
    """About what an event holds in memory, in characters."""
    return 200 + len(event.message) + sum(len(detail) for detail in event.details)
