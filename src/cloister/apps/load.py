"""What the processes of an application have to do, as far as it can be seen from outside."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from cloister.sockets.bind import BoundSocket
from cloister.sockets.queue import File, accepted, bound_file, pending

_SHARE = 20
"""One part in so many of a processor is the most that looking at all sockets may take."""
_FRESH = 0.2
"""Seconds for which a look counts for everybody."""


class Census:
    """Who has accepted which connection, on the whole machine: one look for all applications."""

    def __init__(
        self,
        look: Callable[[], dict[File, set[int]]] = accepted,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._clock = clock
        self._found: dict[File, set[int]] = {}
        self._until = float("-inf")

    def connections(self, file: File) -> set[int]:
        """The inodes of the accepted connections of a listener that is bound to ``file``; as
        they were up to :data:`_FRESH` seconds ago, or longer where a look takes long.
        """
        begin = self._clock()
        if begin >= self._until:
            self._found = self._look()
            end = self._clock()
            self._until = end + max(_FRESH, _SHARE * (end - begin))
        return self._found.get(file, set())


class Busy(Protocol):
    """A process that may have something to do."""

    @property
    def requests(self) -> int | None:
        """How many it answers now; ``None`` where it does not tell."""

    @property
    def connections(self) -> int | None:
        """How many connections it holds now; ``None`` where it does not tell."""

    def sockets(self) -> Iterable[int]:
        """The inodes of the sockets that it has open."""


@dataclass(frozen=True, slots=True)
class Load:
    """What there is to do."""

    waiting: int
    """Connections that nobody has taken."""
    open: int
    """Connections that somebody has taken, and that are not closed."""
    busy: tuple[int, ...]
    """For each process that was asked about: requests, or else connections."""


class ListenerLoad:
    """Of one listening Unix socket. Lives on one event loop."""

    def __init__(self, listening: BoundSocket, census: Census) -> None:
        self._socket = listening.socket
        self._census = census

    def waiting(self) -> int:
        """Connections that nobody has taken."""
        return pending(self._socket)

    def measure(self, processes: Iterable[Busy], *, count_open: bool) -> Load:
        """As it is now, with something for each of ``processes``.

        Without ``count_open``, connections are looked at only where a process does not tell.
        """
        processes = tuple(processes)
        taken: set[int] = set()
        if count_open or any(one.requests is None for one in processes):
            taken = self._census.connections(bound_file(self._socket))
        busy = tuple(
            one.requests if one.requests is not None else len(taken.intersection(one.sockets()))
            for one in processes
        )
        # Connections that the door hands over are none of this socket.
        told = sum(one.connections or 0 for one in processes)
        return Load(self.waiting(), max(len(taken), told), busy)

    async def wait_connection(self) -> None:
        """Returns when a connection waits to be taken, and takes none."""
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        # Of its own: two versions of an application may wait at one socket.
        descriptor = os.dup(self._socket.fileno())
        try:
            # Level-triggered: one that waits already is seen as well.
            loop.add_reader(descriptor, _done, came)
            await came
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
