"""Checks configurations apart from the supervisor, which lives for months and loads no parser.

What validates text takes 20 MiB and half a second to load. So there is a process for it, from the
first question until somebody else needs its memory. A text that brings the parser to its knees
costs that process only, and the next question is put to another one. This module loads no parser
in the process that asks.
"""

import asyncio
import contextlib
import gc
import os
import pickle
import select
import signal
import socket
import sys
import traceback
from asyncio.subprocess import DEVNULL, PIPE, Process

from cloister.model.configuration import Configuration
from cloister.model.errors import CloisterError, ConfigError
from cloister.model.snapshot import Snapshot

PATIENCE = 60.0
"""Seconds that a check may take."""
PRESSURE = "/proc/pressure/memory"
"""Where the kernel tells that memory is short (its Documentation/accounting/psi.rst)."""
SHORT = b"some 200000 2000000\0"
"""When it is: microseconds that somebody waits for memory, within so many; as systemd has it."""
KEPT = 30.0
"""Seconds that the process is kept for the next question where the kernel does not tell."""
LARGEST = 128 * 1024 * 1024
"""Bytes of memory that it may have; one that has more ends with its answer."""


class Checker:
    """Asks; lives on one event loop. One question at a time."""

    def __init__(
        self, pressure: str = PRESSURE, kept: float = KEPT, largest: int = LARGEST
    ) -> None:
        """``pressure`` is where the kernel tells that memory is short: then the process that is
        kept ends. Where that is not told, it ends after ``kept`` seconds without a question."""
        self._arguments = (pressure, str(kept), str(largest))
        self._process: Process | None = None
        self._socket: socket.socket | None = None

    async def check(self, configuration: Configuration) -> Snapshot:
        """What ``cloister.config.load.check`` gives, with everything that the text names there
        and readable.

        Raises :class:`ConfigError` with every problem, and :class:`CloisterError` where it could
        not be checked. No check goes on when the caller is cancelled.
        """
        snapshot = await self._ask(configuration)
        assert isinstance(snapshot, Snapshot)  # noqa: S101 - _answer() gives nothing else
        return snapshot

    async def read(self, path: str) -> Configuration:
        """The text of a configuration file, unchecked. Raises as :meth:`check`."""
        configuration = await self._ask(path)
        assert isinstance(configuration, Configuration)  # noqa: S101
        return configuration

    async def close(self) -> None:
        """Ends the process that is kept. Idempotent."""
        await self._end()

    async def _ask(self, question: Configuration | str) -> object:
        try:
            async with asyncio.timeout(PATIENCE):
                asked = pickle.dumps(question)
                kept = self._process is not None
                output = await self._exchange(asked)
                if not output and kept:
                    # Somebody may have killed the one that was kept, or it has just ended.
                    await self._end()
                    output = await self._exchange(asked)
        except BaseException as error:
            await self._end()
            if isinstance(error, TimeoutError):
                raise CloisterError(
                    f"the configuration could not be checked within {PATIENCE:g} s",
                    hint="is it larger than it has to be?",
                ) from error
            raise
        if not output:
            why = await self._end()
            raise CloisterError("the configuration could not be checked", why=why)
        # Written by _answer() in a process that this one has made, which runs the same code for
        # the same user; a text cannot choose what it writes.
        answer = pickle.loads(output)  # noqa: S301
        if isinstance(answer, tuple):
            raise ConfigError(answer)
        if isinstance(answer, CloisterError):
            raise answer
        return answer

    async def _exchange(self, question: bytes) -> bytes:
        """Empty where there is no answer."""
        asking, answering = socket.socketpair()
        with answering:
            try:
                kept = self._socket or await self._begin()
                socket.send_fds(kept, [b"?"], [answering.fileno()])
            except (BrokenPipeError, ConnectionResetError):
                await self._end()
                socket.send_fds(await self._begin(), [b"?"], [answering.fileno()])
        reader, writer = await asyncio.open_connection(sock=asking)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                writer.write(question)
                writer.write_eof()
                return await reader.read()
            return b""
        finally:
            writer.close()

    async def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # -P: the current folder may belong to somebody whose code must not run here.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "cloister.config.apart",
                str(theirs.fileno()),
                *self._arguments,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # a Ctrl-C on the terminal is for the supervisor
            )
        self._socket = ours
        return ours

    async def _end(self) -> str | None:
        """Kills it; the last thing that it said."""
        process, self._process = self._process, None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        _, errors = await process.communicate()
        last = errors.decode("utf-8", "replace").strip().splitlines()[-1:]
        return last[0] if last else "it was killed"


def _answer(question: Configuration | str) -> object:
    from cloister.config import load  # noqa: PLC0415 - in the process apart only

    try:
        return load.read(question) if isinstance(question, str) else load.check(question)
    except ConfigError as error:
        return error.problems
    except CloisterError as error:
        return CloisterError(error.what, why=error.why, hint=error.hint)


def _reply(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as reader:
        try:
            # What the asking process has made itself.
            question = pickle.loads(reader.read())  # noqa: S301
            connection.sendall(pickle.dumps(_answer(question)))
        except Exception:  # noqa: BLE001 - whatever the text has done to the parser
            # Once, and before the connection ends: who asks then ends this process too.
            traceback.print_exc()
            os._exit(1)


def _serve(asked: socket.socket, pressure: str, kept: float, largest: int) -> None:
    """Answers one question after the other, until nobody asks any more or memory is short."""
    import cloister.config.load  # noqa: F401, PLC0415 - what all of this is for

    gc.freeze()  # this much stays: to look through it takes longer than most answers
    short: int | None = None
    patience: float | None = None  # the first question is on its way
    while True:
        waiting = select.poll()
        waiting.register(asked, select.POLLIN)
        if short is not None:
            waiting.register(short, select.POLLPRI)
        if asked.fileno() not in dict(waiting.poll(patience)):
            return
        _, descriptors, _, _ = socket.recv_fds(asked, 1, 1)
        if not descriptors:
            return
        signal.alarm(int(PATIENCE))  # whoever asked may have gone
        _reply(socket.socket(fileno=descriptors[0]))
        signal.alarm(0)
        if _resident() > largest:
            return
        if short is None:
            short = _watch_memory(pressure)
            patience = kept * 1000 if short is None else None


def _resident() -> int:
    """Bytes of memory that this process has now; the most that it ever had begins with what
    had been its parent's (getrusage(2) after vfork(2))."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - proc(5)
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _watch_memory(pressure: str) -> int | None:
    """What can be polled for POLLPRI: memory is short. ``None`` where the kernel does not tell
    (without CONFIG_PSI; an ordinary user before Linux 6.5)."""
    try:
        descriptor = os.open(pressure, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        os.write(descriptor, SHORT)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


if __name__ == "__main__":
    asked = socket.socket(fileno=int(sys.argv[1]))
    _serve(asked, sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
