"""A Python program of Cloister's own beside the supervisor, with a channel between the two.

It meets what the supervisor must not: hostile bytes, or keys. So it is a process of its own,
which takes off itself what it does not need (:mod:`cloister.confinement`), and of what it says
nothing is trusted: lines of bounded length, and it ends where one of them is none that is known.
It ends with the supervisor, when the channel closes.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence

from cloister.apps.lines import LastLines, Line, PipeReader
from cloister.processes import memory_file

LINE_LIMIT = 8 * 1024
"""Bytes of a line from it."""
_OUTPUT_PATIENCE = 2.0
"""Seconds for its last lines to be read, once it has ended."""

Hear = Callable[[bytes], Awaitable[bytes | None]]
"""Takes a line, without its break, and gives what is answered; raises :class:`ValueError` for
a line that is none."""


class Companion:
    """One running program; a ``Process`` of :mod:`cloister.apps.service`."""

    def __init__(
        self,
        process: Process,
        channel: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        *,
        hear: Hear,
        ready: Callable[[frozenset[str]], None],
        output: PipeReader,
        last: LastLines,
    ) -> None:
        """See :func:`start_companion`."""
        self._process = process
        self._reader, self._writer = channel
        self._hear = hear
        self._tell_ready = ready
        self._output = output
        self._last = last
        self._ready = asyncio.Event()
        self._serving = asyncio.ensure_future(self._serve())

    @property
    def pid(self) -> int:
        """Of the program."""
        return self._process.pid

    async def wait_ready(self) -> None:
        """Returns when it serves."""
        await self._ready.wait()

    def terminate(self) -> None:
        """SIGTERM."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def wait(self) -> int:
        """Its exit status, once everything that it has said was heard."""
        status = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OUTPUT_PATIENCE):
                await self._serving
        self._serving.cancel()
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OUTPUT_PATIENCE):
                await self._output.wait_end()
        self._output.close()
        return status

    def last_output(self) -> tuple[str, ...]:
        """Its newest lines."""
        return self._last.all()

    async def _serve(self) -> None:
        try:
            while line := await self._reader.readline():
                word, _, rest = line.strip().partition(b" ")
                if word == b"ready":
                    self._tell_ready(frozenset(rest.decode("ascii", "replace").split(",")))
                    self._ready.set()
                    continue
                answer = await self._hear(line.rstrip(b"\n"))
                if answer is not None:
                    self._writer.write(answer)
                    await self._writer.drain()
        except (OSError, ValueError):
            self.kill()


async def start_companion(
    module: str,
    spec: Callable[[int], bytes],
    descriptors: Sequence[int],
    *,
    hear: Hear,
    tell: Callable[[Line], None],
    ready: Callable[[frozenset[str]], None] = lambda _: None,
) -> Companion:
    """Starts ``python -m MODULE N``; on descriptor N it reads what ``spec`` makes of the number
    of its end of the channel. It inherits ``descriptors``, which stay the caller's, and nothing
    else. ``tell`` gets its output, ``ready`` what it says is in force around it. Raises
    :class:`OSError`, and what ``spec`` raises.
    """
    with contextlib.ExitStack() as stack:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stack.callback(theirs.close)
        ours_owned = stack.enter_context(contextlib.ExitStack())
        ours_owned.callback(ours.close)
        brief = memory_file("companion", spec(theirs.fileno()))
        stack.callback(os.close, brief)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, writing)
        last = LastLines()

        def told(line: Line) -> None:
            last.add(line)
            tell(line)

        output = PipeReader(reading, told)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                # No code from the current folder or the environment.
                *("-P", "-E", "-m", module, str(brief)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                pass_fds=(brief, theirs.fileno(), *descriptors),
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                cwd="/",
                process_group=0,
            )
        except BaseException:
            output.close()
            raise
        ours_owned.pop_all()
        channel = await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT)
        return Companion(process, channel, hear=hear, ready=ready, output=output, last=last)
