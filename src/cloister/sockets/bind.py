"""Listening sockets."""

import errno
import os
import socket
from pathlib import Path

from cloister.model.errors import CloisterError, NotPermittedError
from cloister.model.listener import (
    UNIX_NAME_MAX,
    Address,
    SocketOptions,
    TcpAddress,
    UnixAddress,
    VsockAddress,
)
from cloister.sockets.holders import describe_process, tcp_holder
from cloister.sockets.numbers import PathPlan, resolve
from cloister.sockets.path import BoundPath, adopt_path, bind_path
from cloister.sockets.peer import peer
from cloister.sockets.plan import SocketPlan, plan_socket


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

    @property
    def sequenced(self) -> bool:
        """Whether it is of ``SOCK_SEQPACKET``."""
        return self.socket.type == socket.SOCK_SEQPACKET

    @property
    def file(self) -> tuple[int, int] | None:
        """Device and inode number of its path's file."""
        return None if self._path is None else self._path.inode

    def release(self) -> None:
        """Closes this process's descriptor and leaves the path: another process goes on with
        the socket. Idempotent."""
        path, self._path = self._path, None
        if path is not None:
            path.release()
        self.socket.close()

    def adjust(self, options: SocketOptions) -> None:
        """Gives it the queue, and its path the owner, group and mode, of ``options``.

        Raises as :func:`bind_listener`.
        """
        if self._path is not None and isinstance(self.address, UnixAddress):
            self._path.adjust(resolve(plan_socket(self.address.path, options)))
        self.socket.listen(options.backlog)

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
    if isinstance(address, VsockAddress):
        return _bind_vsock(address, options)
    if address.abstract:
        return _bind_abstract(address, options)
    return bind_planned(plan_socket(address.path, options))


def bind_planned(plan: SocketPlan, *, over: BoundSocket | None = None) -> BoundSocket:
    """The same for a Unix path that is planned already.

    ``over`` is a socket of this process whose path the new one takes, at once; it goes on
    listening without a path.
    """
    return _bind_path(resolve(plan), over)


def _bind_path(plan: PathPlan, over: BoundSocket | None) -> BoundSocket:
    former = None if over is None else over._path  # noqa: SLF001 - of this very module
    listening, path = bind_path(plan, over=former)
    return BoundSocket(listening, UnixAddress(plan.path), path)


def adopt_listener(
    listening: socket.socket, address: Address, options: SocketOptions
) -> BoundSocket:
    """The same for a socket that listens on ``address`` already: whoever waits in its queue
    goes on waiting. Takes it over."""
    listening.listen(options.backlog)
    if isinstance(address, TcpAddress):
        address = TcpAddress(address.host, listening.getsockname()[1])
    return BoundSocket(listening, address)


def adopt_path_listener(
    listening: socket.socket, plan: PathPlan, file: tuple[int, int]
) -> BoundSocket | None:
    """The same for a Unix path, which leads to ``file``; ``None`` where it does not any more.
    Takes the socket over only where it can be used."""
    path = adopt_path(plan, file)
    if path is None:
        return None
    bound = BoundSocket(listening, UnixAddress(plan.path), path)
    path.adjust(plan)
    listening.listen(plan.backlog)
    return bound


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


def _bind_vsock(address: VsockAddress, options: SocketOptions) -> BoundSocket:
    listening = None
    try:
        listening = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        cid = socket.VMADDR_CID_ANY if address.cid is None else address.cid
        listening.bind((cid, address.port))
        listening.listen(options.backlog)
    except OSError as error:
        if listening is not None:
            listening.close()
        hints = {
            errno.EADDRINUSE: "stop whoever listens there, or choose another port",
            errno.EADDRNOTAVAIL: 'this machine has another context id; write "any" for it',
            errno.EAFNOSUPPORT: "load the kernel module vsock (modprobe vsock)",
        }
        raise CloisterError(
            f"{address} cannot be bound",
            why=os.strerror(error.errno or 0),
            hint=hints.get(error.errno or 0),
        ) from error
    return BoundSocket(listening, address)


def _bind_abstract(address: UnixAddress, options: SocketOptions) -> BoundSocket:
    name = b"\0" + os.fsencode(address.path)
    if len(name) - 1 > UNIX_NAME_MAX or not address.path:
        raise CloisterError(
            f"{address} cannot be bound: the name has {len(name) - 1} bytes",
            why=f"an abstract name has 1 to {UNIX_NAME_MAX} (unix(7))",
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
