"""The processes of applications that a killed supervisor has left: which go on, which end."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Coroutine, Sequence

from cloister.apps import egress
from cloister.apps.app import AppProgram
from cloister.apps.keeping import Keeping
from cloister.apps.kept import Kept, LeftProcess
from cloister.apps.lines import PipeReader
from cloister.apps.logs import LogEvent, Sink
from cloister.apps.machine import State
from cloister.apps.resources import Resources
from cloister.model.errors import CloisterError

_STRANGER_TIMEOUT = 10.0
"""Seconds that a process of an application which is not configured any more has to end."""
_SUCCESSION_TIMEOUT = 120.0
"""Seconds for which a process of an earlier version waits for its successor."""

Task = asyncio.Task[None]


class Takeover:
    """Lives on one event loop."""

    def __init__(
        self,
        kept: Kept | None,
        resources: Resources,
        sink: Sink,
        begin: Callable[[Coroutine[None, None, None]], Task],
    ) -> None:
        """``begin`` has something go on, and a stop wait for it."""
        self._kept = kept
        self._resources = resources
        self._sink = sink
        self._begin = begin
        self.oldest = time.time()
        """When the first of the processes that go on was made."""

    def take(self, program: AppProgram, successor: Keeping) -> None:
        """Gives ``program`` the processes that are as its own would be; those of an earlier
        version serve until their ``successor`` does."""
        if self._kept is None:
            return
        app, endpoint = program.app, program.endpoint
        listening = os.fstat(endpoint.listening.socket.fileno()).st_ino
        left = self._kept.take_processes(app, endpoint.identity, listening)
        if not (left.fitting or left.other):
            return
        try:
            self._resources.application(app)
        except CloisterError:  # its limits cannot be had any more: the next process says so
            left.other.extend(left.fitting)
            left.fitting.clear()
        program.left = left.fitting[: app.processes.most]
        for one in program.left:
            self.oldest = min(self.oldest, one.record.since)
            self._say(one, "goes on: the last supervisor has left it")
        # More than there may be: a restart was under way.
        for one in left.fitting[app.processes.most :]:
            self._end(one, app.stop_timeout)
        for one in left.other:
            self._end(one, app.stop_timeout, successor)

    def clear_away(self, dialling: Collection[str]) -> None:
        """Ends what is left of applications that are not configured any more. ``dialling`` are
        the names of those that are and have ways out."""
        others = [] if self._kept is None else self._kept.take_others()
        for name in [] if self._kept is None else self._kept.owners(egress.KIND):
            if self._kept is not None and name not in dialling:
                for door in self._kept.take_doors(f"{egress.KIND} {name}"):
                    door.end()
                    self._kept.forget(door.name)
        self._begin(self._clear_away([self._end(left, _STRANGER_TIMEOUT) for left in others]))

    def end(self, program: AppProgram) -> None:
        """Ends what was given to ``program`` and nobody has come to take."""
        while program.left:
            self._end(program.left.pop(), program.app.stop_timeout)

    async def _clear_away(self, ending: Sequence[Task]) -> None:
        if ending:
            await asyncio.wait(ending)
        self._resources.clear()

    def _end(self, left: LeftProcess, patience: float, successor: Keeping | None = None) -> Task:
        return self._begin(self._see_off(left, patience, successor))

    async def _see_off(self, left: LeftProcess, patience: float, successor: Keeping | None) -> None:
        """Ends a process, once its successor serves."""
        process = left.process
        readers = [PipeReader(one, lambda _: None) for one in left.output]
        try:
            if successor is not None:
                # Not for ever: it was made from settings that are not in force.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SUCCESSION_TIMEOUT):
                        await successor.wait_state(State.READY, State.DORMANT, State.STOPPED)
            self._say(left, "ends: the last supervisor has left it, and it is of no use any more")
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        for reader in readers:
            reader.close()
        left.close()
        if self._kept is not None:
            self._kept.forget(left.name)

    def _say(self, left: LeftProcess, what: str) -> None:
        message = f"process {left.process.pid} {what}"
        self._sink.emit(LogEvent(left.record.app, message, fields={"event": "takeover"}))
