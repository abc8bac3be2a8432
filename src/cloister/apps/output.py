"""What the processes of an application write: read at once, bounded, told to the log."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable

from cloister.apps.lines import LastLines, Line, PipeReader
from cloister.apps.logs import Level, LogEvent, Sink, Value
from cloister.apps.rate import RateLimit
from cloister.model.app import App

_PIPE = 256 * 1024
"""Bytes that an application can print while no supervisor reads, before it has to wait."""

_END_OF_OUTPUT = 2.0
"""Seconds that a pipe may stay open after the cell has ended. Nothing of the cell is left
to hold it; this bounds the wait where something else does."""

_LOSS_INTERVAL = 1.0
"""Seconds between two messages of how many lines were lost."""


class AppLines:
    """What becomes of the lines of all processes of one application."""

    def __init__(self, app: App, sink: Sink) -> None:
        self._name = app.name
        self._rate = app.log.rate
        self._sink = sink
        self._limit = RateLimit(app.log.rate)
        self._reporting = False

    def admit(self, count: int) -> int:
        """How many of so many new lines are worth keeping."""
        loop = asyncio.get_running_loop()
        passing = self._limit.take(count, loop.time())
        if passing < count and not self._reporting:
            self._reporting = True
            loop.call_later(_LOSS_INTERVAL, self._report)
        return passing

    def tell(self, line: Line, stream: str, process: int) -> None:
        """One that is."""
        text = line.text
        if line.dropped:
            text += f" [{line.dropped} bytes more]"
        fields: dict[str, Value] = {"event": "output", "stream": stream, "process": process}
        self._sink.emit(LogEvent(self._name, text, fields=fields))

    def _report(self) -> None:
        self._reporting = False
        lost = self._limit.report()
        message = f"{lost} lines lost: more than {self._rate} a second"
        self._sink.emit(LogEvent(self._name, message, Level.WARNING, fields={"lost": lost}))


class Output:
    """The two pipes of one process. Must be made on a running event loop."""

    def __init__(
        self,
        lines: AppLines,
        process: int,
        readers: tuple[int, int] | None = None,
        *,
        owner: tuple[int, int] | None = None,
    ) -> None:
        """``readers`` are the pipes of a process that runs already; they are taken over.
        ``owner``, a user and group of the host, is whom new ones belong to: a program that
        opens /dev/stderr opens the pipe anew (proc_pid_fd(5)), by the rights of its file."""
        self.last = LastLines()
        self.writers: list[int] = []
        self.descriptors: list[int] = list(readers or ())
        """The reading ends, while the process is being made."""
        self._lines = lines
        self._process = process
        self._readers: list[PipeReader] = []
        if readers is None:
            for _ in range(2):
                reading, writing = os.pipe2(os.O_CLOEXEC)
                with contextlib.suppress(OSError):  # beyond what this user's pipes may have
                    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
                if owner is not None:
                    os.fchown(writing, *owner)
                self.writers.append(writing)
                self.descriptors.append(reading)
        for stream, reading in zip(("stdout", "stderr"), self.descriptors, strict=True):
            self._readers.append(PipeReader(reading, self._teller(stream), lines.admit))

    def _teller(self, stream: str) -> Callable[[Line], None]:
        def tell(line: Line) -> None:
            self.last.add(line)
            self._lines.tell(line, stream, self._process)

        return tell

    def close_writers(self) -> None:
        """Called once the process has its own copies; may be called twice."""
        while self.writers:
            os.close(self.writers.pop())

    async def end(self) -> None:
        """Returns when all was read, or the wait for it is over."""
        try:
            async with asyncio.timeout(_END_OF_OUTPUT):
                for reader in self._readers:
                    await reader.wait_end()
        except TimeoutError:
            pass
        self.close()

    def close(self) -> None:
        """Reads no more."""
        for reader in self._readers:
            reader.close()
