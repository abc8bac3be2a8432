"""Drives one ``cloister-door`` process."""

import asyncio
import contextlib
import os
import socket
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.adopted import AdoptedProcess
from cloister.door.channel import DoorChannel, RefusedError
from cloister.door.messages import (
    PROTOCOL,
    Applied,
    Apply,
    Check,
    Checked,
    Descriptors,
    Drain,
    Draining,
    Protection,
    Ready,
    Received,
    Snapshot,
    Statistics,
    Stats,
    StatsReply,
    encode,
)
from cloister.model.errors import DoorError
from cloister.model.isolation import HostIdentity
from cloister.processes import LINE_LIMIT, TailReader, connect_reader, end, memory_file

NO_DESCRIPTOR = 2**32 - 1
"""An index that no descriptor has."""

BATCH = 253
"""Descriptors in one packet: ``SCM_MAX_FD`` (Linux, include/net/scm.h)."""


@dataclass(frozen=True, slots=True)
class DoorLaunch:
    """How a door is started."""

    program: str
    """The absolute path of ``cloister-door``."""
    identity: HostIdentity | None = None
    """Whom it becomes; ``None`` leaves it the supervisor's own user."""
    targets: frozenset[str] = frozenset()
    """Kinds of targets beyond Unix sockets with a path: see ``snapshot.target_kinds``."""
    start_timeout: float = 10.0
    """Seconds until it must be ready."""
    reply_timeout: float = 5.0
    """Seconds until it must answer a request."""


class DoorProcess:
    """One running ``cloister-door``. Made by :meth:`start`.

    Its owner reads :attr:`records` and :attr:`messages` to their ends, or the door blocks
    (messages) or loses lines (records).
    """

    def __init__(
        self,
        process: Process | AdoptedProcess,
        channel: DoorChannel,
        streams: tuple[asyncio.StreamReader, TailReader],
        ready: Ready,
        output: tuple[int, int],
    ) -> None:
        self._process = process
        self._channel = channel
        self._applying = asyncio.Lock()
        self._stale = False
        self._output = output
        self.pid = process.pid
        self.version = ready.version
        self.protections: tuple[Protection, ...] = ready.confinement
        """What it took on itself, in order, and whether each is in force."""
        self.records = streams[0]
        """One :class:`~cloister.door.messages.ConnectionRecord` as JSON on each line."""
        self.messages: asyncio.StreamReader = streams[1]
        """What it says to people."""

    @classmethod
    async def start(cls, launch: DoorLaunch) -> "DoorProcess":
        """A confined door that waits for its first snapshot.

        Raises :class:`DoorError` with its last words; nothing is left then, nor when the
        caller is cancelled.
        """
        with contextlib.ExitStack() as stack:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.callback(ours.close)
            stack.callback(theirs.close)
            unread = stack.enter_context(contextlib.ExitStack())
            unwritten = stack.enter_context(contextlib.ExitStack())
            reading, writing = [], []
            for _ in range(2):
                read_end, write_end = os.pipe2(os.O_CLOEXEC)
                unread.callback(os.close, read_end)
                unwritten.callback(os.close, write_end)
                reading.append(read_end)
                writing.append(write_end)
            try:
                process = await asyncio.create_subprocess_exec(
                    *_command(launch, theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=writing[0],
                    stderr=writing[1],
                    pass_fds=(theirs.fileno(),),
                    # A Ctrl-C on the terminal is for the supervisor, which drains the door.
                    process_group=0,
                )
            except OSError as error:
                raise DoorError(
                    f"{launch.program} cannot be started",
                    why=os.strerror(error.errno or 0),
                    hint="run `make install` in a checkout, or reinstall cloister",
                ) from error
            theirs.close()
            unwritten.close()
            records, messages = asyncio.StreamReader(limit=LINE_LIMIT), TailReader()
            channel: DoorChannel | None = None
            try:
                unread.pop_all()
                for reader, descriptor in zip((records, messages), reading, strict=True):
                    transport = await connect_reader(reader, descriptor)
                    stack.callback(transport.close)
                channel = DoorChannel(ours, process, messages, launch.reply_timeout)
                ready = await channel.ready(launch.start_timeout)
                if ready.protocol != PROTOCOL:
                    raise DoorError(
                        f"cloister-door {ready.version} speaks protocol {ready.protocol}",
                        why=f"this cloister speaks protocol {PROTOCOL}",
                        hint="install cloister and cloister-door of the same version",
                    )
            except BaseException:
                await end(process)
                if channel is not None:
                    channel.close()
                raise
            stack.pop_all()
        return cls(process, channel, (records, messages), ready, (reading[0], reading[1]))

    @classmethod
    async def adopt(
        cls,
        process: AdoptedProcess,
        control: socket.socket,
        output: tuple[int, int],
        ready: Ready,
        reply_timeout: float = 5.0,
    ) -> "DoorProcess":
        """A door that another supervisor has started, which was ``ready`` then. Takes the
        descriptors over. Raises :class:`DoorError` where it does not answer; it is ended then.
        """
        records, messages = asyncio.StreamReader(limit=LINE_LIMIT), TailReader()
        for reader, descriptor in zip((records, messages), output, strict=True):
            await connect_reader(reader, descriptor)
        channel = DoorChannel(control, process, messages, reply_timeout)
        door = cls(process, channel, (records, messages), ready, output)
        try:
            # Its supervisor may have been killed while it sent descriptors: drop them.
            await channel.request(
                lambda number: Apply(number, snapshot=NO_DESCRIPTOR), answer=Applied
            )
        except RefusedError:
            return door
        except BaseException:
            await door.close()
            raise
        raise AssertionError("there is no such descriptor")

    def descriptors(self) -> tuple[int, int, int]:
        """What ties it to this process: its control socket, records and messages. To be
        asked for before anything else is done with it."""
        return (self._channel.descriptor(), *self._output)

    async def apply(self, snapshot: Snapshot, descriptors: Sequence[int]) -> None:
        """Replaces the running snapshot, atomically for each connection.

        ``descriptors`` are what the snapshot's indices count; they stay the caller's.
        Raises :class:`DoorError` when the door refuses, in which case the previous
        snapshot goes on, or when it does not answer or has ended.
        """
        async with self._applying:
            content = memory_file("door-snapshot", encode(snapshot))
            try:
                await self._apply(snapshot, [*descriptors, content])
            finally:
                os.close(content)

    async def _apply(self, snapshot: Snapshot, descriptors: list[int]) -> None:
        if self._stale:
            raise DoorError(
                "the door cannot take a snapshot any more",
                why="an earlier one was interrupted while its descriptors were sent",
                hint="replace the door by a new one on the same listeners",
            )
        # From here on the door may hold descriptors of an unfinished list; only an answer
        # to Apply says that the list is empty again.
        self._stale = True
        last = (len(descriptors) - 1) // BATCH * BATCH
        for first in range(0, last, BATCH):
            batch = descriptors[first : first + BATCH]
            await self._channel.request(Descriptors, batch, answer=Received)
        try:
            applied = await self._channel.request(
                lambda number: Apply(number, snapshot=len(descriptors) - 1),
                descriptors[last:],
                answer=Applied,
            )
        except RefusedError:
            self._stale = False
            raise
        self._stale = False
        if applied.generation != snapshot.generation:
            raise DoorError(
                f"the door applied snapshot {applied.generation}",
                why=f"it was given snapshot {snapshot.generation}",
                hint="report this with the versions of cloister and cloister-door",
            )

    async def stats(self) -> Statistics:
        """All counters since the door started."""
        reply = await self._channel.request(Stats, answer=StatsReply)
        return reply.stats

    @property
    def last_statistics(self) -> Statistics | None:
        """Its counters at the end of a drain; ``None`` before, or where it was killed."""
        return self._channel.last_statistics

    async def check(self, patience: float) -> bool:
        """Whether every worker thread answers within ``patience`` seconds."""
        milliseconds = max(0, round(patience * 1000))
        reply = await self._channel.request(
            lambda number: Check(number, patience_ms=milliseconds), answer=Checked
        )
        return reply.answering

    async def drain(self, deadline: float) -> int:
        """Closes the door's listeners; open connections are cut after ``deadline`` seconds.

        Returns at once, with the number of open connections; :meth:`wait` tells the end.
        """
        milliseconds = max(0, round(deadline * 1000))
        reply = await self._channel.request(
            lambda number: Drain(number, deadline_ms=milliseconds), answer=Draining
        )
        return reply.active

    @property
    def returncode(self) -> int | None:
        """Its exit status once it has ended; negative for a signal."""
        return self._process.returncode

    async def wait(self) -> int:
        """Its exit status; negative for a signal, as in asyncio.subprocess."""
        status = await self._process.wait()
        self._channel.finish()
        return status

    def kill(self) -> None:
        """Ends it at once (SIGKILL). Does nothing when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> int:
        """Ends it where it still runs, frees everything, and returns its status."""
        try:
            return await end(self._process)
        finally:
            self._channel.close()


def _command(launch: DoorLaunch, control: int) -> list[str]:
    command = [launch.program, "serve", "--control-fd", str(control)]
    if launch.targets:
        command += ["--targets", ",".join(sorted(launch.targets))]
    if launch.identity is not None:
        command += ["--user", f"{launch.identity.uid}:{launch.identity.gid}"]
    return command
