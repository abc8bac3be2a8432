"""Listening sockets."""

import errno
import os
import socket
from pathlib import Path

from cloister.model.errors import CloisterError, NotPermittedError
from cloister.model.listener import Address, SocketOptions, TcpAddress, UnixAddress
from cloister.sockets.holders import describe_process, tcp_holder
from cloister.sockets.path import BoundPath, bind_path
from cloister.sockets.peer import peer
from cloister.sockets.plan import plan_path

_NAME_LIMIT = 107
"""Bytes of an abstract name (unix(7)), without its leading NUL."""


class BoundSocket:
    """A listening socket that this process bound and owns."""

    def __init__(
        self, listening: socket.socket, address: Address, path: BoundPath | None = None
    ) -> None:
        self.socket = listening
        """Non-blocking and close-on-exec."""
        self.address = address
        """With the port that the kernel chose, where 0 was asked for."""
        self._path = path

    def close(self) -> None:
        """Closes it; unlinks its path if that is still its own, and then the directories
        made for it if they are empty. Idempotent. Copies of the descriptor in other
        processes go on listening, without a path.
        """
        path, self._path = self._path, None
        if path is not None:
            path.remove()
        self.socket.close()


def bind_listener(address: Address, options: SocketOptions) -> BoundSocket:
    """A non-blocking, close-on-exec socket that listens on ``address``.

    A Unix path appears with its owner, group and mode already right; directories above it
    that are missing are made with ``options.directory_mode``. IPv6 sockets take IPv6 only,
    so that ``[::]`` and ``0.0.0.0`` can both be bound. Does not block, apart from waiting up
    to five seconds for another process that binds the same path.

    Raises :class:`CloisterError` when the address cannot be had (with who has it), and
    :class:`NotPermittedError` for lack of rights or an unsafe directory.
    """
    if isinstance(address, TcpAddress):
        return _bind_tcp(address, options)
    if address.abstract:
        return _bind_abstract(address, options)
    listening, path = bind_path(plan_path(address.path, options))
    return BoundSocket(listening, address, path)


def _bind_tcp(address: TcpAddress, options: SocketOptions) -> BoundSocket:
    try:
        # AI_NUMERICHOST: the text is an address; a scope such as %eth0 gets its number.
        ((family, kind, _, _, resolved), *_) = socket.getaddrinfo(
            address.host,
            address.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE,
        )
    except OSError as error:
        raise CloisterError(
            f"{address} cannot be bound: {address.host} is no address of this host",
            why=str(error),
            hint="use an IPv4 or IPv6 address in digits",
        ) from error
    listening = None
    try:
        listening = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        # Connections of an earlier process in TIME_WAIT do not keep the port; another
        # listening socket still does (socket(7)).
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(resolved)
        listening.listen(options.backlog)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise _tcp_error(address, error) from error
    return BoundSocket(listening, TcpAddress(address.host, listening.getsockname()[1]))


def _tcp_error(address: TcpAddress, error: OSError) -> CloisterError:
    what = f"{address} cannot be bound"
    why = os.strerror(error.errno or 0)
    match error.errno:
        case errno.EADDRINUSE:
            holder = tcp_holder(address)
            return CloisterError(
                f"{address} is in use",
                why=f"{holder} listens there" if holder else why,
                hint="stop that process, or choose another port",
            )
        case errno.EACCES | errno.EPERM:
            return NotPermittedError(
                what,
                why=f"ports below {_first_unprivileged_port()} need CAP_NET_BIND_SERVICE",
                hint="run as root, choose a higher port, or lower the sysctl "
                "net.ipv4.ip_unprivileged_port_start",
            )
        case errno.EADDRNOTAVAIL:
            hint = "`ip address` lists this host's addresses; 0.0.0.0 and [::] mean all of them"
            return CloisterError(what, why="no interface has this address", hint=hint)
        case errno.EAFNOSUPPORT:
            hint = "leave this address out, or turn IPv6 on (sysctl net.ipv6.conf.all)"
            return CloisterError(what, why="this host does not speak IPv6", hint=hint)
        case _:
            return CloisterError(what, why=why)


def _first_unprivileged_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text("utf-8"))
    except (OSError, ValueError):
        return 1024


def _bind_abstract(address: UnixAddress, options: SocketOptions) -> BoundSocket:
    name = b"\0" + os.fsencode(address.path)
    if len(name) > _NAME_LIMIT + 1 or not address.path:
        raise CloisterError(
            f"{address} cannot be bound: the name has {len(name) - 1} bytes",
            why=f"an abstract name has 1 to {_NAME_LIMIT} (unix(7))",
            hint="choose another name, or a path",
        )
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.bind(name)
        listening.listen(options.backlog)
    except OSError as error:
        listening.close()
        if error.errno != errno.EADDRINUSE:
            raise CloisterError(
                f"{address} cannot be bound", why=os.strerror(error.errno or 0)
            ) from error
        raise CloisterError(
            f"{address} is in use",
            why=f"{_abstract_holder(name)} has this name",
            hint="stop that process, or choose another name",
        ) from error
    return BoundSocket(listening, address)


def _abstract_holder(name: bytes) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(name)
            return describe_process(peer(probe).pid)
        except OSError:
            return "another process"
