"""Receives connections that ``cloister-door`` hands off: a listening socket for any server.

A :class:`HandoffListener` stands where a listening socket stands. Its ``accept()`` gives the
client's own connection, from which no byte was taken, and the client's own address, so TLS,
HTTP/2 and everything else are between the client and this process alone:

    loop.create_server(factory, sock=HandoffListener("/srv/hosts/a.example/handoff-socket"))

It serves asyncio, and with it uvicorn (``Server.run(sockets=[listener])``) and hypercorn
(a ``Config`` whose ``create_sockets`` returns it), and servers that block, such as those of
``socketserver``. It does not serve uvloop's ``create_server``, which takes connections
beside Python; docs/handoff.md shows the way there.

Needs Linux and the standard library only: this one file can be copied into an application.
The protocol is docs/handoff.md.
"""

import contextlib
import errno
import logging
import os
import select
import socket
import stat
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

MESSAGE_LIMIT = 4096
"""No message is longer, in bytes."""

CONNECTIONS_LIMIT = 16
"""No message brings more connections."""

_WAITING_LIMIT = 64
"""Senders that have connected and said nothing yet. One more, and the oldest is closed."""

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")
"""Signature, version and command, transport, length of the rest (proxy-protocol.txt 2.2)."""
_PROXY, _LOCAL = 0x21, 0x20
_TRANSPORTS = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
"""Bytes of addresses by transport."""
_VALUE = struct.Struct("!BH")
_AUTHORITY, _LISTENER, _OFFERED = 0x02, 0xE0, 0xE1

_UCRED = struct.Struct("iII")
"""struct ucred: pid, uid, gid (unix(7))."""

_log = logging.getLogger(__name__)

Address = tuple[str, int]


class HandoffError(ValueError):
    """A message that is not of this protocol."""


@dataclass(frozen=True, slots=True)
class Handoff:
    """What the door says of a connection."""

    server_name: str | None
    """The name that the client asked for, in canonical form; ``None`` for none."""
    protocols: tuple[bytes, ...]
    """The protocols that the client offers (ALPN), in its order."""
    listener: str
    """The name of the door's listener."""
    client: Address | None
    """The client's address and port, where a PROXY header that the door accepted named them;
    otherwise the socket itself tells."""
    server: Address | None
    """The address and port that the client connected to; as ``client``."""


def parse_all(message: bytes) -> tuple[Handoff, ...]:
    """What a message says of each of its connections, in the order of their descriptors.

    Raises :class:`HandoffError`.
    """
    said = []
    while True:
        end = _FIXED.size
        if len(message) > end:
            end += _FIXED.unpack_from(message)[3]
        said.append(parse(message[:end]))
        message = message[end:]
        if not message:
            return tuple(said)


def parse(message: bytes) -> Handoff:
    """What the header of one connection says. Values of unknown kinds are passed over.

    Raises :class:`HandoffError`.
    """
    try:
        signature, command, transport, length = _FIXED.unpack_from(message)
    except struct.error:
        raise HandoffError(f"a message of {len(message)} bytes is too short") from None
    if signature != _SIGNATURE or command not in {_PROXY, _LOCAL}:
        raise HandoffError("the message does not begin as one of version 2 does")
    if length != len(message) - _FIXED.size:
        raise HandoffError(f"the message says {length} bytes, not {len(message) - _FIXED.size}")
    if transport not in _TRANSPORTS:
        raise HandoffError(f"the transport {transport:#04x} is unknown")
    end = _FIXED.size + _TRANSPORTS[transport]
    if end > len(message):
        raise HandoffError("the addresses are cut off")
    client, server = _addresses(message[_FIXED.size : end])
    values = dict(_values(message[end:]))
    try:
        name = values[_AUTHORITY].decode("ascii") if _AUTHORITY in values else None
        listener = values.get(_LISTENER, b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise HandoffError(f"a name is no text: {error}") from None
    return Handoff(name, tuple(_names(values.get(_OFFERED, b""))), listener, client, server)


def _addresses(block: bytes) -> tuple[Address | None, Address | None]:
    if len(block) == 12:
        first, second, port, server_port = struct.unpack("!4s4sHH", block)
        return (str(IPv4Address(first)), port), (str(IPv4Address(second)), server_port)
    if len(block) == 36:
        first, second, port, server_port = struct.unpack("!16s16sHH", block)
        return (str(IPv6Address(first)), port), (str(IPv6Address(second)), server_port)
    return None, None


def _values(rest: bytes) -> Iterator[tuple[int, bytes]]:
    while rest:
        if len(rest) < _VALUE.size:
            raise HandoffError("a value is cut off")
        kind, length = _VALUE.unpack_from(rest)
        end = _VALUE.size + length
        if end > len(rest):
            raise HandoffError("a value is cut off")
        yield kind, rest[_VALUE.size : end]
        rest = rest[end:]


def _names(rest: bytes) -> Iterator[bytes]:
    while rest:
        end = 1 + rest[0]
        if end == 1 or end > len(rest):
            raise HandoffError("the offered protocols are cut off")
        yield rest[1:end]
        rest = rest[end:]


class HandedOffSocket(socket.socket):
    """A client's connection. Where the door accepted a PROXY header, ``getpeername()`` and
    ``getsockname()`` are what that named.

    ``ssl.SSLContext.wrap_socket`` makes another socket of it, which knows the kernel's
    addresses only: read :attr:`handoff` before.
    """

    handoff: Handoff

    def getpeername(self) -> Any:
        """The client's address."""
        named = self.handoff.client
        return super().getpeername() if named is None else named

    def getsockname(self) -> Any:
        """The address that the client connected to."""
        named = self.handoff.server
        return super().getsockname() if named is None else named


class HandoffListener(socket.socket):
    """Where the door hands connections off.

    Made of a ``path``, which it binds and removes again when it is closed, or of the
    ``fileno`` of a listening ``SOCK_SEQPACKET`` socket, which it then owns. A name at
    ``path`` is replaced in one step, by a socket that has its ``mode`` already: the door's
    user must be able to write to it, and whoever can may hand over connections of any kind.
    ``senders`` are the user ids that may, where the mode does not say it all.

    ``fileno()`` is a descriptor to wait on, not the socket's own. Processes that fork may
    all accept; each message goes to one, with all its connections, at most
    :data:`CONNECTIONS_LIMIT`. Several threads may accept.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        fileno: int | None = None,
        mode: int = 0o660,
        backlog: int = 4096,
        senders: Collection[int] | None = None,
    ) -> None:
        if (path is None) == (fileno is None):
            raise TypeError("either `path` or `fileno` must be given")
        super().__init__(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fileno)
        self._senders = None if senders is None else frozenset(senders)
        self._timeout = socket.getdefaulttimeout()
        self._waiting: dict[int, socket.socket] = {}
        self._taken: deque[HandedOffSocket] = deque()
        # Always readable. It is in the epoll set while connections are taken that nobody
        # has accepted: `fileno()` must tell of them, however seldom `accept()` is called.
        self._more = open(os.eventfd(1), "rb", buffering=0)  # noqa: PTH123, SIM115 - no path
        self._lock = threading.Lock()
        self._bound: tuple[Path, os.stat_result] | None = None
        self._epoll = select.epoll()
        try:
            super().setblocking(False)
            if path is not None:
                self._bind(Path(path), mode, backlog)
            elif not self._listens():
                raise OSError(f"descriptor {fileno} is no listening SOCK_SEQPACKET socket")
            self._epoll.register(super().fileno(), select.EPOLLIN)
        except BaseException:
            if fileno is not None:
                super().detach()  # the caller keeps what was not taken
            self.close()
            raise
        _forked(self)

    def _listens(self) -> bool:
        kind = self.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        listens = self.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return kind == socket.SOCK_SEQPACKET and bool(listens)

    def _bind(self, path: Path, mode: int, backlog: int) -> None:
        # Through the folder's descriptor: a path may be longer than an address (unix(7)).
        descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Under another name until it listens and has its mode.
            inside = Path(f"/proc/self/fd/{descriptor}")
            fresh = inside / f".{os.getpid()}-{id(self):x}"
            super().bind(str(fresh))
            try:
                fresh.chmod(mode)
                super().listen(backlog)
                fresh.rename(inside / path.name)
            except BaseException:
                fresh.unlink()
                raise
            self._bound = (path.absolute(), (inside / path.name).stat())
        finally:
            os.close(descriptor)

    @property
    def type(self) -> socket.SocketKind:
        """That of the connections that it gives: asyncio asks."""
        return socket.SOCK_STREAM

    def fileno(self) -> int:
        """A descriptor that is readable when ``accept()`` may have something; -1 once closed."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def accept(self) -> tuple[socket.socket, Any]:
        """The next client's connection, a :class:`HandedOffSocket`, and its address.

        Blocks as the time-out says. The socket is non-blocking where the listener is. What
        is no handed-off connection is closed and passed over; the log says so. Raises
        :class:`OSError` with ``EMFILE`` where this process has no descriptor left for a
        connection, which is lost then.
        """
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            connection = self._take()
            if connection is not None:
                try:
                    address = connection.getpeername()
                except OSError:  # the client is gone already
                    connection.close()
                    continue
                connection.setblocking(self._timeout is None or self._timeout > 0)
                return connection, address
            if self._timeout == 0:
                raise BlockingIOError(errno.EAGAIN, "no connection waits")
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError("timed out")
            poll = select.poll()
            poll.register(self.fileno(), select.POLLIN)
            poll.poll(None if left is None else left * 1000)

    def _take(self) -> HandedOffSocket | None:
        if self._taken:
            with self._lock:
                # Another thread may have been quicker.
                connection = self._taken.popleft() if self._taken else None
                if connection is not None:
                    if not self._taken:
                        self._epoll.unregister(self._more)
                    return connection
        if self._waiting:
            for control in self._spoken():
                taken = self._first_of(self._receive(control))
                if taken is not None:
                    return taken
        while True:
            try:
                control, _ = super().accept()
            except BlockingIOError:
                return None
            control.setblocking(False)
            if not self._may_send(control):
                control.close()
                continue
            taken = self._first_of(self._receive(control))
            if taken is not None:
                return taken

    def _first_of(self, connections: list[HandedOffSocket]) -> HandedOffSocket | None:
        """The first; the others are for the calls to come, of any thread."""
        if not connections:
            return None
        first, *others = connections
        if others:
            with self._lock:
                if not self._taken:
                    self._epoll.register(self._more, select.EPOLLIN)
                self._taken.extend(others)
        return first

    def _spoken(self) -> Iterator[socket.socket]:
        """Senders that had said nothing and now have, or have gone; no longer waited for."""
        for descriptor, _ in self._epoll.poll(0):
            with self._lock:
                control = self._waiting.pop(descriptor, None)
            if control is not None:
                self._epoll.unregister(descriptor)
                yield control

    def _wait_for(self, control: socket.socket) -> None:
        """The sender's connect(2) comes a moment before its message."""
        with self._lock:
            self._waiting[control.fileno()] = control
            self._epoll.register(control.fileno(), select.EPOLLIN)
            if len(self._waiting) > _WAITING_LIMIT:
                oldest = self._waiting.pop(next(iter(self._waiting)))
                oldest.close()

    def _receive(self, control: socket.socket) -> list[HandedOffSocket]:
        """The connections that a sender brings; none, and the sender closed or waited for,
        where it brings none. One that is wrong closes all."""
        try:
            message, ancillary, flags, _ = control.recvmsg(
                MESSAGE_LIMIT, socket.CMSG_SPACE(4 * CONNECTIONS_LIMIT), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            self._wait_for(control)
            return []
        except OSError:
            control.close()
            return []
        control.close()
        with contextlib.ExitStack() as stack:
            descriptors = _descriptors(ancillary)
            for descriptor in descriptors:
                stack.callback(os.close, descriptor)
            if not message:
                return []  # it looked whether somebody accepts, and left
            if flags & socket.MSG_CTRUNC and len(descriptors) < CONNECTIONS_LIMIT:
                raise OSError(
                    errno.EMFILE, "no descriptor is left for a connection that was handed off"
                )
            try:
                if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                    raise HandoffError(f"a message that was cut, flags {flags:#x}")
                said = parse_all(message)
                if len(said) != len(descriptors):
                    raise HandoffError(f"{len(descriptors)} descriptors for {len(said)} headers")
                connections = _sockets_of(descriptors)
            except (HandoffError, OSError) as error:
                _log.warning("not handed-off connections: %s", error)
                return []
            stack.pop_all()
        for connection, handoff in zip(connections, said, strict=True):
            connection.handoff = handoff
        return connections

    def _may_send(self, control: socket.socket) -> bool:
        if self._senders is None:
            return True
        credentials = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        uid = _UCRED.unpack(credentials)[1]
        if uid not in self._senders:
            _log.warning("user %d is no sender of connections", uid)
        return uid in self._senders

    def setblocking(self, flag: bool) -> None:
        """Whether ``accept()`` waits."""
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """Whether ``accept()`` waits."""
        return self._timeout != 0

    def settimeout(self, value: float | None) -> None:
        """How long ``accept()`` waits, in seconds; ``None`` for ever."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = value

    def gettimeout(self) -> float | None:
        """How long ``accept()`` waits."""
        return self._timeout

    def dup(self) -> "HandoffListener":
        """Another listener on the same queue; it does not remove the path."""
        return HandoffListener(fileno=os.dup(super().fileno()), senders=self._senders)

    def detach(self) -> int:
        """The descriptor of the socket itself, which is the caller's to close from now on."""
        self._release()
        return super().detach()

    def close(self) -> None:
        """Take no more connections. Those that wait are closed, unless another process has
        the socket too; the path is removed, if it is still this socket's. Idempotent."""
        self._release()
        bound, self._bound = self._bound, None
        if bound is not None:
            path, made = bound
            with contextlib.suppress(OSError):
                if os.path.samestat(path.lstat(), made):
                    path.unlink()
        super().close()

    def _release(self) -> None:
        self._epoll.close()
        with self._lock:
            self._more.close()
            while self._taken:
                self._taken.popleft().close()
            while self._waiting:
                self._waiting.popitem()[1].close()

    def renew(self) -> None:
        """Begin anew in a forked child, which does so by itself (``os.register_at_fork``).

        Senders that the parent waits for are the parent's, as is what it has taken, and an
        epoll set that both share would wake the child for them without end.
        """
        if self._epoll.closed:
            return
        self._lock = threading.Lock()
        self._bound = None
        while self._taken:
            self._taken.popleft().close()
        while self._waiting:
            self._waiting.popitem()[1].close()
        with select.epoll() as fresh:
            fresh.register(super().fileno(), select.EPOLLIN)
            # The number stays: whoever waits on it need not know.
            os.dup2(fresh.fileno(), self._epoll.fileno(), inheritable=False)


def _sockets_of(descriptors: list[int]) -> list[HandedOffSocket]:
    """Leaves all descriptors to the caller where it raises."""
    connections: list[HandedOffSocket] = []
    try:
        for descriptor in descriptors:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                raise HandoffError("a descriptor is no socket")
            connections.append(HandedOffSocket(fileno=descriptor))
    except BaseException:
        for connection in connections:
            connection.detach()
        raise
    return connections


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    return [
        descriptor
        for level, kind, data in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for (descriptor,) in struct.iter_unpack("i", data[: len(data) // 4 * 4])
    ]


def _forked(listener: HandoffListener) -> None:
    reference = weakref.ref(listener)

    def renew() -> None:
        alive = reference()
        if alive is not None:
            alive.renew()

    os.register_at_fork(after_in_child=renew)
