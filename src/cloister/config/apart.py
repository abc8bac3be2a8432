"""Checks configurations apart from the supervisor, which lives for months and loads no parser.

What validates text takes 20 MiB and half a second to load. So there is a process for it, from the
first question until nobody has asked for a while, which answers nothing itself: for each question
it forks one more, and a text that brings the parser to its knees costs that one only. This module
loads no parser in the process that asks.
"""

import asyncio
import contextlib
import os
import pickle
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
KEPT = 30.0
"""Seconds that the process is kept for the next question."""


class Checker:
    """Asks; lives on one event loop. One question at a time."""

    def __init__(self, kept: float = KEPT) -> None:
        self._kept = kept
        self._process: Process | None = None
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._end()

    async def _ask(self, question: Configuration | str) -> object:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            async with asyncio.timeout(PATIENCE):
                asked = pickle.dumps(question)
                kept = self._process is not None
                output = await self._exchange(asked)
                if not output and kept:
                    # Somebody may have killed the one that was kept.
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
        self._timer = asyncio.get_running_loop().call_later(self._kept, self._let_go)
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
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # what it forks ends with it: see _end()
            )
        self._socket = ours
        return ours

    def _let_go(self) -> None:
        """It ends by itself, and is reaped by the loop."""
        self._timer = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._process = None

    async def _end(self) -> str | None:
        """Kills it and what it has forked; the last thing that it said."""
        process, self._process = self._process, None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
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


def _serve(asked: socket.socket) -> None:
    """Forks for each question, until nobody asks any more."""
    import cloister.config.load  # noqa: F401, PLC0415 - what all of this is for

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        _, descriptors, _, _ = socket.recv_fds(asked, 1, 1)
        if not descriptors:
            return
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.alarm(int(PATIENCE))  # whoever asked may have gone
            asked.close()
            _reply(socket.socket(fileno=descriptors[0]))
            sys.exit()
        os.close(descriptors[0])


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
