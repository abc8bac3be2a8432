"""What a supervisor has its holder keep, and what the next one finds there.

Every descriptor that ties something to its supervisor is kept: listening sockets; of each
process its pidfd, the reading ends of its output, and its lifeline, the writing end of a pipe
whose end ends it. An entry is stored whole or not at all, so a process is either known to the
next supervisor or ends with the one that made it.
"""

import contextlib
import hashlib
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from cloister import wire
from cloister.adopted import AdoptedProcess, is_alive
from cloister.apps.changes import Place, same_in_cell
from cloister.apps.holder import Entry, Holder, close
from cloister.cells.spec import Fence
from cloister.door.messages import Protection
from cloister.model.app import App
from cloister.model.isolation import HostIdentity
from cloister.wire import U32, U64

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SocketRecord:
    """A listening socket."""

    address: str
    """With the port that the kernel chose."""
    device: U64
    """With ``inode`` the file of its path; 0 where it has none."""
    inode: U64


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process of an application, in its cell."""

    app: str
    cell: str
    """A digest of the settings that it was made from."""
    listening: U64
    """The inode of its listening socket."""
    uid: U32
    gid: U32
    ready: bool
    notify: str | None
    """Where it reports."""
    fences: tuple[Fence, ...]
    """What its cell has said of them."""
    group: str | None
    """The folder of its own control group."""
    since: U64
    """When it was made, in seconds since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class DoorRecord:
    """A door."""

    number: U64
    """A later one has a greater number."""
    accepting: bool
    version: str
    start: str
    """A digest of what it was started with and cannot change."""
    protections: tuple[Protection, ...]


@dataclass(frozen=True, slots=True)
class LeftProcess:
    """A process that a supervisor has left. Whoever takes it owns the descriptors."""

    name: str
    """Of its entry."""
    record: ProcessRecord
    process: AdoptedProcess
    output: tuple[int, int]
    notify: socket.socket | None
    egress: tuple[socket.socket, ...] = ()
    """What listens in its cell for its ways out."""

    def close(self) -> None:
        """Give up the sockets of one that is not taken."""
        for one in (*self.egress, *([self.notify] if self.notify else [])):
            one.close()


@dataclass(frozen=True, slots=True)
class LeftDoor:
    """A door that a supervisor has left. Whoever takes it owns the descriptors."""

    name: str
    record: DoorRecord
    process: AdoptedProcess
    control: socket.socket
    output: tuple[int, int]

    def end(self) -> None:
        """End one that is not taken, at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.control.close()
        for descriptor in self.output:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class LeftSocket:
    """A listening socket that a supervisor has left."""

    socket: socket.socket
    record: SocketRecord

    @property
    def file(self) -> tuple[int, int] | None:
        """The file of its path."""
        return (self.record.device, self.record.inode) if self.record.inode else None

    def remove(self) -> None:
        """Closes it, and unlinks its path where that still leads to it."""
        path = Path(self.record.address.removeprefix("unix:"))
        with contextlib.suppress(OSError):
            found = path.lstat()
            if self.file == (found.st_dev, found.st_ino):
                path.unlink()
        self.socket.close()


class Kept:
    """The holder's entries, by what they mean. Lives on one event loop."""

    def __init__(self, holder: Holder, inherited: dict[str, Entry]) -> None:
        """``inherited`` is what a last supervisor has left; it is the caller's no more."""
        self._holder = holder
        self._inherited = inherited
        self._doors = 0

    @property
    def anything(self) -> bool:
        """Whether something of a last supervisor waits to be taken."""
        return bool(self._inherited)

    # Listening sockets.

    def store_listener(self, place: Place, listening: socket.socket, record: SocketRecord) -> None:
        """Keep a listener's socket."""
        self._holder.store(_listener(place), _text(record), [listening.fileno()])

    def forget_listener(self, place: Place) -> None:
        """Keep it no longer."""
        self._holder.forget(_listener(place))

    def take_listener(self, place: Place) -> LeftSocket | None:
        """The socket that stands there."""
        return self._take_socket(_listener(place))

    def store_app(self, name: str, listening: socket.socket, record: SocketRecord) -> None:
        """Keep an application's socket."""
        self._holder.store(f"app {name}", _text(record), [listening.fileno()])

    def forget_app(self, name: str) -> None:
        """Keep it no longer."""
        self._holder.forget(f"app {name}")

    def take_app(self, name: str) -> LeftSocket | None:
        """The application's socket."""
        return self._take_socket(f"app {name}")

    def store_socket(self, name: str, listening: socket.socket, record: SocketRecord) -> None:
        """Keep a socket of another kind, under a name that begins with its kind."""
        self._holder.store(name, _text(record), [listening.fileno()])

    def take_socket(self, name: str) -> LeftSocket | None:
        """The one of that name."""
        return self._take_socket(name)

    def _take_socket(self, name: str) -> LeftSocket | None:
        found = self._take(name, SocketRecord)
        if found is None:
            return None
        entry, record = found
        listening = socket.socket(fileno=entry.descriptors[0])
        listening.setblocking(False)
        return LeftSocket(listening, record)

    def _take(self, name: str, kind: type[R]) -> tuple[Entry, R] | None:
        """What is there and of use. What another version has stored, and this one does not
        understand, ends."""
        entry = self._inherited.pop(name, None)
        if entry is None:
            return None
        try:
            record: R = wire.decode(kind, entry.record.encode())
            if kind is SocketRecord or is_alive(entry.descriptors[0]):
                return entry, record
        except wire.WireError:
            if kind is not SocketRecord:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(entry.descriptors[0], signal.SIGTERM)
        close(entry)
        self._holder.forget(name)
        return None

    # Processes.

    def store_process(self, record: ProcessRecord, pid: int, descriptors: Sequence[int]) -> str:
        """Keep a process: its pidfd, its two outputs, its lifeline, where it reports, and what
        listens in its cell; the name of the entry."""
        name = f"process {record.app} {pid} {time.monotonic_ns()}"
        self._holder.store(name, _text(record), descriptors)
        return name

    def process_ready(self, name: str, record: ProcessRecord) -> None:
        """It serves."""
        self._holder.amend(name, _text(replace(record, ready=True)))

    def forget(self, name: str) -> None:
        """An entry that is of no use any more."""
        self._holder.forget(name)

    def take_processes(self, app: App, identity: HostIdentity, listening: int) -> "Left":
        """The processes of an application: those that are as the next ones would be, and the
        others. ``listening`` is the inode of its socket."""
        found = Left([], [])
        for left in self._take_processes(f"process {app.name} "):
            same = (
                left.record.cell == cell_digest(app)
                and left.record.listening == listening
                and (left.record.uid, left.record.gid) == (identity.uid, identity.gid)
            )
            (found.fitting if same else found.other).append(left)
        return found

    def take_others(self) -> list[LeftProcess]:
        """The processes of applications that nobody has asked for."""
        return list(self._take_processes("process "))

    def _take_processes(self, prefix: str) -> Iterator[LeftProcess]:
        for name in [name for name in self._inherited if name.startswith(prefix)]:
            taken = self._take(name, ProcessRecord)
            if taken is None:
                continue
            entry, record = taken
            pidfd, stdout, stderr, lifeline, *others = entry.descriptors
            os.close(lifeline)  # the holder and its registry have theirs
            sockets = [socket.socket(fileno=one) for one in others]
            reporting = None if record.notify is None else sockets.pop(0)
            yield LeftProcess(
                name, record, AdoptedProcess(pidfd), (stdout, stderr), reporting, tuple(sockets)
            )

    # Doors.

    def store_door(
        self, kind: str, record: DoorRecord, descriptors: Sequence[int]
    ) -> tuple[str, DoorRecord]:
        """Keep a door of some ``kind``: its pidfd, its control socket, its two outputs; the name
        of the entry, and the record with its number."""
        self._doors = max(self._doors + 1, time.time_ns())
        record = replace(record, number=self._doors)
        name = f"{kind} {record.number}"
        self._holder.store(name, _text(record), descriptors)
        return name, record

    def door_retires(self, name: str, record: DoorRecord) -> None:
        """Another one accepts."""
        self._holder.amend(name, _text(replace(record, accepting=False)))

    def take_doors(self, kind: str) -> list[LeftDoor]:
        """All doors of a kind, or of all kinds that begin so; the last one accepts, if any
        does."""
        found = []
        for name in [name for name in self._inherited if name.startswith(f"{kind} ")]:
            taken = self._take(name, DoorRecord)
            if taken is None:
                continue
            entry, record = taken
            pidfd, control, stdout, stderr = entry.descriptors
            line = socket.socket(fileno=control)
            found.append(LeftDoor(name, record, AdoptedProcess(pidfd), line, (stdout, stderr)))
        return sorted(found, key=lambda door: (door.record.accepting, door.record.number))

    def owners(self, kind: str) -> list[str]:
        """The applications that have doors of a kind."""
        names = [name.split(" ") for name in self._inherited if name.startswith(f"{kind} ")]
        return sorted({name[1] for name in names if len(name) > 2})

    def take_sockets(self, *kinds: str) -> list[LeftSocket]:
        """The sockets of these kinds that nobody has asked for."""
        kinds = tuple(f"{kind} " for kind in kinds)
        names = [name for name in self._inherited if name.startswith(kinds)]
        found = []
        for name in names:
            left = self._take_socket(name)
            if left is not None:
                found.append(left)
                self._holder.forget(name)
        return found

    def leave(self) -> None:
        """What was not taken stays with the holder."""
        for entry in self._inherited.values():
            close(entry)
        self._inherited.clear()


@dataclass(frozen=True, slots=True)
class Left:
    """The processes that a supervisor has left of one application."""

    fitting: list[LeftProcess]
    """They are as the next ones would be."""
    other: list[LeftProcess]
    """They are of an earlier version."""


def cell_digest(app: App) -> str:
    """What a process of ``app`` was made from."""
    return hashlib.sha256(repr(same_in_cell(app)).encode()).hexdigest()


def _listener(place: Place) -> str:
    return f"listener {place.listener} {place.number} {place.address}"


def _text(record: object) -> str:
    return wire.encode(record).decode()
