"""What a process says of itself: sd_notify(3) messages.

:func:`parse_notification` is pure. :class:`NotifySocket` receives the messages and lets
through only those that the application's own user sent.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cloister.model.errors import CloisterError
from cloister.model.isolation import HostIdentity
from cloister.model.listener import UNIX_NAME_MAX

DATAGRAM_LIMIT = 4096
"""Bytes of one notification; a longer one is dropped whole."""

STATUS_LIMIT = 200
"""Characters of a status text that are kept."""

_UCRED = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7))


@dataclass(frozen=True, slots=True)
class Notification:
    """What one datagram says. Assignments that Cloister does not use are left out:
    ``MAINPID`` among them, since a cell's first process is known without its word.
    """

    ready: bool = False
    stopping: bool = False
    status: str | None = None
    requests: int | None = None
    """How many it answers now (``X_CLOISTER_REQUESTS=``, which the server for Python says)."""
    connections: int | None = None
    """How many it holds now (``X_CLOISTER_CONNECTIONS=``)."""
    relief: bool = False
    """Whether it has answered as many requests as it should (``X_CLOISTER_RELIEF=1``)."""


def parse_notification(datagram: bytes) -> Notification:
    """The assignments of one datagram, one a line (sd_notify(3)); unknown ones are passed
    over, the last of equal ones counts. Never fails: it is the application's text.
    """
    ready = stopping = relief = False
    status = requests = connections = None
    for line in datagram.split(b"\n"):
        name, separator, value = line.partition(b"=")
        if not separator:
            continue
        if name == b"READY":
            ready = value == b"1"
        elif name == b"STOPPING":
            stopping = value == b"1"
        elif name == b"STATUS":
            status = value.decode("utf-8", "replace")[:STATUS_LIMIT]
        elif name == b"X_CLOISTER_REQUESTS":
            requests = _count(value)
        elif name == b"X_CLOISTER_CONNECTIONS":
            connections = _count(value)
        elif name == b"X_CLOISTER_RELIEF":
            relief = value == b"1"
    return Notification(ready, stopping, status, requests, connections, relief)


def _count(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) < 10 else None


class NotifySocket:
    """A datagram socket on which one process reports.

    Bound at ``path``, owned by the application's user and writable by nobody else, from
    the first instant: its folder must be closed to others until it is made. Owns its
    descriptor and its path; :meth:`close` gives both back.
    """

    def __init__(self, path: str, identity: HostIdentity) -> None:
        self.path = path
        self._uid = identity.uid
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        try:
            # Every datagram then carries its sender's ids as the kernel knows them, seen
            # from this process's user namespace (unix(7)).
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with short_name(path) as bindable:
                self._socket.bind(bindable)
            os.chmod(path, 0o600)  # noqa: PTH101 - no Path object is at hand
            if os.geteuid() == 0:
                os.chown(path, identity.uid, identity.gid)
        except OSError as error:
            self._socket.close()
            raise CloisterError(
                f"the notification socket {path} cannot be made", why=os.strerror(error.errno or 0)
            ) from error

    @classmethod
    def adopt(cls, listening: socket.socket, path: str, identity: HostIdentity) -> "NotifySocket":
        """The same for one that another process has made. Takes the socket over."""
        adopted = cls.__new__(cls)
        adopted.path = path
        adopted._uid = identity.uid  # noqa: SLF001 - of this very class
        adopted._socket = listening  # noqa: SLF001
        listening.setblocking(False)
        return adopted

    def move(self, path: str) -> None:
        """Has another path from now on, on the same file system; whatever is there is replaced.
        Owner and mode stay as they are. Raises :class:`CloisterError`."""
        try:
            os.rename(self.path, path)  # noqa: PTH104 - no Path object is at hand
        except OSError as error:
            raise CloisterError(
                f"the notification socket {path} cannot be made", why=os.strerror(error.errno or 0)
            ) from error
        self.path = path

    def fileno(self) -> int:
        """Of its descriptor."""
        return self._socket.fileno()

    def watch(self, on_notification: Callable[[Notification], None]) -> None:
        """Calls back for each message, on the running event loop, until :meth:`close`."""
        asyncio.get_running_loop().add_reader(self._socket, self._readable, on_notification)

    def close(self) -> None:
        """Stop watching; close and unlink. May be called twice."""
        if self._socket.fileno() < 0:
            return
        with contextlib.suppress(RuntimeError):  # no loop runs: nothing watches
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108 - no Path object is at hand

    def _readable(self, on_notification: Callable[[Notification], None]) -> None:
        # One datagram a turn: a flood from one application must not hold up the others.
        received = self._receive()
        if received:
            on_notification(parse_notification(received))

    def _receive(self) -> bytes | None:
        """One datagram; empty where it counts for nothing, ``None`` where none waits."""
        try:
            datagram, ancillary, flags, _ = self._socket.recvmsg(
                DATAGRAM_LIMIT,
                socket.CMSG_SPACE(_UCRED.size) + socket.CMSG_SPACE(64),
                socket.MSG_CMSG_CLOEXEC,
            )
        except BlockingIOError:
            return None
        uid = None
        for level, kind, data in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_CREDENTIALS and len(data) >= _UCRED.size:
                uid = _UCRED.unpack_from(data)[1]
            elif kind == socket.SCM_RIGHTS:
                # FDSTORE and its kind: whatever is sent along is closed at once.
                for (descriptor,) in struct.iter_unpack("i", data[: len(data) // 4 * 4]):
                    os.close(descriptor)
        if flags & socket.MSG_TRUNC or uid != self._uid:
            return b""
        return datagram


@contextlib.contextmanager
def short_name(path: str) -> Iterator[str]:
    """A name of ``path`` that fits sun_path, for as long as the block runs."""
    if len(os.fsencode(path)) <= UNIX_NAME_MAX:
        yield path
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
