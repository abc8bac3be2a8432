"""Whether a process serves: it takes a connection, or answers a request.

Several processes may share the listening socket, and only one of them takes a probe. Whose
it was is seen by the inode of the connection's other end, which one of them has open.
"""

import asyncio
import contextlib
import os
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from cloister.apps.readiness import short_name
from cloister.model.route import SendProxy
from cloister.sockets.queue import peer, pending

FIRST_INTERVAL = 0.02
"""Seconds between two looks at first; they grow to a quarter of a second."""
LONGEST_INTERVAL = 0.25
ANSWER_TIMEOUT = 5.0
"""Seconds that one answer may take."""
ANSWER_LIMIT = 8 * 1024
"""Bytes that are read of an answer: its first line is enough."""
_HEADERS = {
    SendProxy.NONE: b"",
    # For a connection of the proxy's own (haproxy's proxy-protocol.txt, 2.1 and 2.2).
    SendProxy.V1: b"PROXY UNKNOWN\r\n",
    SendProxy.V2: b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
}


@dataclass(frozen=True, slots=True)
class Listening:
    """Where probes go, and who may take them."""

    socket: socket.socket
    path: str
    """What it is bound to."""
    is_ours: Callable[[int], bool]
    """Whether the process that is asked about has the socket with this inode open."""
    is_alone: Callable[[], bool]
    """Whether no other process takes connections from it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an application is asked."""

    path: str
    host: str
    tls: bool
    send_proxy: SendProxy = SendProxy.NONE


async def wait_accepting(listening: Listening) -> None:
    """Returns when the process takes connections; runs until cancelled."""
    (await _taken(listening)).close()


async def wait_answering(listening: Listening, request: Request) -> None:
    """Returns when the process answers ``request`` with a status of 2xx or 3xx; asks again
    after any other answer or none, until cancelled.
    """
    interval = FIRST_INTERVAL
    while True:
        probe = await _taken(listening)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                status = await _ask(probe, request)
        except (OSError, ValueError):
            # ssl.SSLError is an OSError, and so is TimeoutError; a line beyond the limit
            # raises ValueError.
            status = None
        finally:
            probe.close()
        if status is not None and 200 <= status < 400:
            return
        await asyncio.sleep(interval)
        interval = min(interval * 1.5, LONGEST_INTERVAL)


async def _taken(listening: Listening) -> socket.socket:
    """A connection that the process has taken, for the caller to close."""
    interval = FIRST_INTERVAL
    waiting: int | None = None
    while True:
        with contextlib.ExitStack() as stack:
            probe = socket.socket(
                socket.AF_UNIX,
                listening.socket.type | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            )
            stack.callback(probe.close)
            # Where the queue is full, who waits in it is taken before any probe.
            before, waiting = waiting, None
            connected = _connect(probe, listening.path)
            if not connected:
                waiting = pending(listening.socket)
            if before is not None and listening.is_alone():
                taken = connected or (waiting is not None and waiting < before)
            elif connected:
                taker = await _taker(probe)
                # Where it was closed at once nobody can tell who did, unless there is one only.
                taken = listening.is_ours(taker) if taker else listening.is_alone()
            else:
                taken = False
            if taken:
                stack.pop_all()
                return probe
        await asyncio.sleep(interval)
        interval = min(interval * 1.5, LONGEST_INTERVAL)


def _connect(probe: socket.socket, path: str) -> bool:
    """Whether there was room: connect(2) on a Unix socket is done at once or fails with
    EAGAIN, where the queue is full."""
    with short_name(path) as reachable:
        try:
            probe.connect(reachable)
        except BlockingIOError:
            return False
    return True


async def _taker(probe: socket.socket) -> int:
    """The inode of the other end once it was accepted; 0 where it is closed already."""
    interval = FIRST_INTERVAL
    watch = select.poll()
    # POLLHUP comes without being asked for.
    watch.register(probe.fileno(), 0)
    while True:
        inode = peer(probe)
        if inode or watch.poll(0):
            return inode
        await asyncio.sleep(interval)
        interval = min(interval * 1.5, LONGEST_INTERVAL)


async def _ask(probe: socket.socket, request: Request) -> int:
    """The status of the answer. Raises :class:`OSError`, :class:`ValueError`."""
    loop = asyncio.get_running_loop()
    if request.send_proxy is not SendProxy.NONE:
        await loop.sock_sendall(probe, _HEADERS[request.send_proxy])
    context = _trusting() if request.tls else None
    # The transport closes what it is given, and the caller wants to close the probe.
    reader, writer = await asyncio.open_connection(
        sock=socket.socket(fileno=os.dup(probe.fileno())),
        ssl=context,
        server_hostname=request.host if context else None,
        limit=ANSWER_LIMIT,
    )
    try:
        writer.write(
            f"GET {request.path} HTTP/1.1\r\nHost: {request.host}\r\n"
            "User-Agent: cloister\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        version, _, rest = (await reader.readline()).partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ValueError("no HTTP")
        return int(rest[:3])
    finally:
        writer.transport.abort()


def _trusting() -> ssl.SSLContext:
    """For a server at the end of a socket of our own: whose certificate it has, and for
    whom, is for its clients to judge."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
