"""What outlives a supervisor that is killed: descriptors, kept by ``cloister-door hold``.

The messages are those of ``crates/proto/src/messages/holder.rs``; those in
``tests/contract/holder`` hold both sides to them.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cloister import wire
from cloister.cells.programs import find
from cloister.model.errors import CloisterError, DoorError
from cloister.model.listener import SocketOptions, UnixAddress
from cloister.sockets.bind import bind_listener
from cloister.sockets.peer import peer
from cloister.wire import U32, Tag

PACKET_LIMIT = 64 * 1024
DESCRIPTOR_LIMIT = 64
"""Of one entry."""
_PAUSE = 1.0
"""Seconds before the second holder that follows another one, and each after it."""
_PATIENCE = 5.0
"""Seconds for which a holder is waited for: it has nothing else to do."""


@dataclass(frozen=True, slots=True)
class Store:
    """Keeps the packet's descriptors in the place of what had this name."""

    TAG: ClassVar[Tag] = Tag("type", "store")
    name: str
    record: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Closes what was stored under a name."""

    TAG: ClassVar[Tag] = Tag("type", "forget")
    name: str


@dataclass(frozen=True, slots=True)
class List:
    """Asks for everything."""

    TAG: ClassVar[Tag] = Tag("type", "list")


@dataclass(frozen=True, slots=True)
class End:
    """Closes everything and ends."""

    TAG: ClassVar[Tag] = Tag("type", "end")


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry, with copies of its descriptors."""

    TAG: ClassVar[Tag] = Tag("type", "kept")
    name: str
    record: str


@dataclass(frozen=True, slots=True)
class Listed:
    """There are no more."""

    TAG: ClassVar[Tag] = Tag("type", "listed")
    count: U32


Order = Store | Forget | List | End
Answer = Kept | Listed


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under one name."""

    record: str
    descriptors: tuple[int, ...]


class Holder:
    """The supervisor's side. Lives on one event loop.

    Keeps copies of all descriptors itself: a holder that is killed is followed by another
    one, which gets everything again. Only where both are killed at once is anything lost.
    """

    def __init__(self, path: str, on_loss: Callable[[str], None] = lambda _: None) -> None:
        """``path`` is the holder's socket, in a folder that nobody else can write.
        ``on_loss`` is told of trouble, for a person."""
        self._path = path
        self._on_loss = on_loss
        self._entries: dict[str, Entry] = {}
        self._line: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[None] | None = None
        self._pause = 0.0
        self._loop = asyncio.get_running_loop()

    async def begin(self) -> dict[str, Entry]:
        """Finds the holder that the last supervisor has left, or starts one; what it has kept
        by now, whose descriptors are the caller's copies.

        Raises :class:`DoorError` where none can be had.
        """
        if not self._connect():
            await self._start()
            return {}
        inherited = self._list()
        for name, entry in inherited.items():
            self._entries[name] = _copy(entry)
        return inherited

    def store(self, name: str, record: str, descriptors: Sequence[int]) -> None:
        """Keeps these, in the place of what had this name; they stay the caller's, too."""
        if len(descriptors) > DESCRIPTOR_LIMIT:
            raise ValueError("too many descriptors for one entry")
        self._close(name)
        self._entries[name] = entry = _copy(Entry(record, tuple(descriptors)))
        self._order(Store(name, record), entry.descriptors)

    def amend(self, name: str, record: str) -> None:
        """Another record for what is kept already."""
        if name in self._entries:
            self._entries[name] = entry = Entry(record, self._entries[name].descriptors)
            self._order(Store(name, record), entry.descriptors)

    def forget(self, name: str) -> None:
        """Keeps it no longer. Unknown names are ignored."""
        if self._close(name):
            self._order(Forget(name))

    def detach(self) -> None:
        """Leaves everything to a next supervisor."""
        if self._line is not None:
            self._loop.remove_reader(self._line)
            self._line.close()
            self._line = None
        for name in list(self._entries):
            self._close(name)

    async def end(self) -> None:
        """The supervisor stops: everything is given up, and the holder has ended."""
        if self._starting is not None:
            self._starting.cancel()
        for name in list(self._entries):
            self._close(name)
        line, self._line = self._line, None
        if line is not None:
            self._loop.remove_reader(line)
            with contextlib.suppress(OSError), line:
                line.sendall(wire.encode(End()))
                line.settimeout(0)
                async with asyncio.timeout(_PATIENCE):
                    await self._loop.sock_recv(line, 1)
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await self._process.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - a text

    def _connect(self) -> bool:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        line.settimeout(_PATIENCE)
        try:
            line.connect(self._path)
            if peer(line).uid not in (0, os.geteuid()):
                raise ConnectionRefusedError
        except (FileNotFoundError, ConnectionRefusedError):
            line.close()
            return False
        except OSError as error:
            line.close()
            raise self._unusable(os.strerror(error.errno or 0)) from error
        self._line = line
        self._loop.add_reader(line, self._lost)
        return True

    async def _start(self) -> None:
        options = SocketOptions(mode=0o600, backlog=16, sequenced=True)
        bound = bind_listener(UnixAddress(self._path), options)
        try:
            bound.socket.setblocking(True)  # it has nothing else to do than to wait
            descriptor = bound.socket.fileno()
            self._process = await asyncio.create_subprocess_exec(
                find("cloister-door"), "hold", "--socket-fd", str(descriptor),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(descriptor,),
                # Whatever ends the supervisor's session does not end it.
                start_new_session=True,
            )  # fmt: skip
        finally:
            bound.release()
        if not self._connect():
            raise self._unusable("it has ended at once")

    def _unusable(self, why: str) -> CloisterError:
        return DoorError(
            "nothing can be kept for a next supervisor",
            why=why,
            hint=f"look at its messages above; a process that does not answer at {self._path}"
            " can be ended",
        )

    def _list(self) -> dict[str, Entry]:
        assert self._line is not None  # noqa: S101 - connected just now
        found: dict[str, Entry] = {}
        try:
            self._line.sendall(wire.encode(List()))
            while True:
                packet, descriptors, flags, _ = socket.recv_fds(
                    self._line, PACKET_LIMIT, DESCRIPTOR_LIMIT
                )
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
                if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or not packet:
                    raise OSError(0, "its answer is not whole")
                match wire.decode(Answer, packet):
                    case Kept(name, record):
                        found[name] = Entry(record, tuple(descriptors))
                    case Listed():
                        return found
        except (OSError, wire.WireError) as error:
            for entry in found.values():
                close(entry)
            raise self._unusable(str(error)) from error

    def _order(self, order: Order, descriptors: Sequence[int] = ()) -> None:
        if self._line is None:
            return  # the next holder gets everything
        try:
            socket.send_fds(self._line, [wire.encode(order)], list(descriptors))
        except OSError:
            self._lost()

    def _lost(self) -> None:
        """The holder has ended, or does not listen: it never speaks unasked."""
        line, self._line = self._line, None
        if line is not None:
            self._loop.remove_reader(line)
            line.close()
            self._on_loss("what kept descriptors for a next supervisor has ended; another starts")
            self._starting = self._loop.create_task(self._replace())

    async def _replace(self) -> None:
        try:
            await asyncio.sleep(self._pause)
            self._pause = _PAUSE  # one that ends again and again is not made without end
            await self._start()
        except CloisterError as error:
            self._on_loss(f"{error.what}: {error.why}")
            return
        for name, entry in self._entries.items():
            self._order(Store(name, entry.record), entry.descriptors)

    def _close(self, name: str) -> bool:
        entry = self._entries.pop(name, None)
        if entry is not None:
            close(entry)
        return entry is not None


def close(entry: Entry) -> None:
    """Closes the descriptors of an entry."""
    for descriptor in entry.descriptors:
        os.close(descriptor)


def _copy(entry: Entry) -> Entry:
    return Entry(entry.record, tuple(os.dup(descriptor) for descriptor in entry.descriptors))
