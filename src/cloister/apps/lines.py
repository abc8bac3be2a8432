"""Lines out of a program's output, bounded in memory.

:class:`LineSplitter` is pure. :class:`PipeReader` feeds it from a pipe on the event loop.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

LINE_LIMIT = 8 * 1024
"""Bytes of a line that are kept; the rest of it is counted and dropped."""

_READ_SIZE = 64 * 1024
_FLOOD_PAUSE = 0.01
"""Seconds between two reads from a program that prints more than is kept: more would only cost
processor time, its own as well. Its pipe holds what it prints meanwhile."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of output, without its line break."""

    text: str
    """Invalid UTF-8 stands as U+FFFD; control characters are still in it."""
    dropped: int = 0
    """Bytes that were cut off its end."""


class LineSplitter:
    """Cuts a byte stream into lines; holds at most :data:`LINE_LIMIT` bytes."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._dropped = 0

    def feed(self, received: bytes) -> list[Line]:
        """The lines that these bytes complete."""
        *complete, rest = received.split(b"\n")
        lines = []
        for part in complete:
            self._take(part)
            lines.append(self._line())
        self._take(rest)
        return lines

    def skip(self, received: bytes) -> None:
        """Passes over these bytes and all lines that they complete, looking at none."""
        _, broken, rest = received.rpartition(b"\n")
        if broken:
            self._kept.clear()
            self._dropped = 0
        self._take(rest)

    def end(self) -> list[Line]:
        """The last line, where the stream ended inside one."""
        return [self._line()] if self._kept or self._dropped else []

    def _take(self, part: bytes) -> None:
        room = self._limit - len(self._kept)
        self._kept += part[:room]
        self._dropped += max(0, len(part) - room)

    def _line(self) -> Line:
        line = Line(self._kept.removesuffix(b"\r").decode("utf-8", "replace"), self._dropped)
        self._kept.clear()
        self._dropped = 0
        return line


class PipeReader:
    """Reads a pipe to its end and hands each line to ``on_line``.

    Owns ``descriptor``, the pipe's reading end, and closes it. Must be made on a running
    event loop; never blocks it, and gives way to others after each 64 KiB, so that a
    program which writes without pause delays nobody. What nobody wants is read a hundred
    times a second only.
    """

    def __init__(
        self,
        descriptor: int,
        on_line: Callable[[Line], None],
        admit: Callable[[int], int] | None = None,
    ) -> None:
        """``admit`` is asked how many of so many new lines are wanted; the others are read and
        dropped, 6 MB a second at most, which costs next to nothing."""
        self._admit = admit
        self._descriptor = descriptor
        self._on_line = on_line
        self._splitter = LineSplitter()
        self._flooded = False
        """Whether more comes than is kept; then nobody waits for the pipe, ``_pause`` does."""
        self._pause: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._readable)

    def _readable(self) -> None:
        self._pause = None
        try:
            received = os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            self._rest(flooded=False)
            return
        if not received:
            self.close()
            return
        count = received.count(b"\n")
        wanted = count if self._admit is None or not count else self._admit(count)
        end = _end_of_line(received, wanted) if wanted < count else len(received)
        for line in self._splitter.feed(received[:end]):
            self._on_line(line)
        if wanted < count:
            self._splitter.skip(received[end:])
        # A line that is longer than a read is longer than what is kept of it.
        self._rest(flooded=wanted < count or (not count and len(received) == _READ_SIZE))

    def _rest(self, *, flooded: bool) -> None:
        """Reads on as soon as there is something, or after a pause."""
        if flooded:
            if not self._flooded:
                self._loop.remove_reader(self._descriptor)
            self._pause = self._loop.call_later(_FLOOD_PAUSE, self._readable)
        elif self._flooded:
            self._loop.add_reader(self._descriptor, self._readable)
        self._flooded = flooded

    async def wait_end(self) -> None:
        """Returns when every writer has closed the pipe, or :meth:`close` was called."""
        await asyncio.shield(self._ended)

    def close(self) -> None:
        """Stop reading; what a line holds so far is handed on. May be called twice."""
        if self._ended.done():
            return
        self._loop.remove_reader(self._descriptor)
        if self._pause is not None:
            self._pause.cancel()
        os.close(self._descriptor)
        for line in self._splitter.end():
            self._on_line(line)
        self._ended.set_result(None)


def _end_of_line(text: bytes, count: int) -> int:
    """Where the first so many lines end."""
    end = 0
    for _ in range(count):
        end = text.index(b"\n", end) + 1
    return end


class LastLines:
    """The newest lines, for messages about a failure."""

    def __init__(self, count: int = 12) -> None:
        self._lines: deque[str] = deque(maxlen=count)

    def add(self, line: Line) -> None:
        """Keep a line, at most 400 characters of it."""
        self._lines.append(line.text[:400])

    def all(self) -> tuple[str, ...]:
        """Oldest first."""
        return tuple(self._lines)
