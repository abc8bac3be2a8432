"""The server that runs inside a Python application's cell: uvicorn, made to lose no request.

A process that is told to stop has taken connections whose requests are on their way: fresh
ones, and kept ones whose client has just sent the next. uvicorn closes those at once. Here
they are answered first, with ``Connection: close``, as long as :data:`GRACE`.
"""

import asyncio
import contextlib
import os
import random
import socket
import time
import weakref
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

GRACE = 1.0
"""Seconds for which a connection without a request may bring one."""
_LOAD_INTERVAL = 0.5
"""Seconds between two messages of how much there is to do, while there is something."""

_RELIEF_INTERVAL = 5.0
"""Seconds after which a server that is not relieved says again that it could be: a supervisor
that has taken over may not have heard it, or the next process did not become ready."""

_accepted: "weakref.WeakSet[Protocol]" = weakref.WeakSet()
"""Connections on their way to be known to the server: TLS handshakes."""


class Protocol(H11Protocol):
    """HTTP/1.1, counted from the moment that a connection is accepted."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _accepted.add(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the loop once TLS, if there is any, is agreed on."""
        _accepted.discard(self)
        super().connection_made(transport)


class Server(uvicorn.Server):
    """Tells the supervisor when it serves, how much it has to do, when it has done its share,
    and when it stops."""

    def __init__(
        self, config: uvicorn.Config, notify: Callable[[str], None], share: int | None = None
    ) -> None:
        """``notify`` sends one sd_notify(3) message. ``share`` is how many answers are enough;
        it goes on after them."""
        super().__init__(config)
        self._notify = notify
        self._told = (0, 0)
        self._told_at = 0.0
        self._share = share
        self._relief_asked_at = float("-inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve."""
        await super().startup(sockets)
        if self.started:
            self._notify("READY=1")

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        load = (len(self.server_state.tasks), len(self.server_state.connections))
        idle_changed = any(
            bool(now) != bool(told) for now, told in zip(load, self._told, strict=True)
        )
        now = time.monotonic()
        if idle_changed or (load != self._told and now - self._told_at >= _LOAD_INTERVAL):
            self._told, self._told_at = load, now
            requests, connections = load
            # A supervisor that does not listen just now hears the next one.
            with contextlib.suppress(OSError):
                self._notify(
                    f"X_CLOISTER_REQUESTS={requests}\nX_CLOISTER_CONNECTIONS={connections}"
                )
        if self._share is not None and self.server_state.total_requests >= self._share:
            self._ask_for_relief(now)
        return await super().on_tick(counter)

    def _ask_for_relief(self, now: float) -> None:
        if now - self._relief_asked_at >= _RELIEF_INTERVAL:
            with contextlib.suppress(OSError):
                self._notify("X_CLOISTER_RELIEF=1")
                self._relief_asked_at = now

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and answer what comes on those that were taken."""
        with contextlib.suppress(OSError):
            self._notify("STOPPING=1")
        for server in self.servers:
            server.close()
        # In place: requests under way share the list, and their answers say it too.
        self.server_state.default_headers.append((b"connection", b"close"))
        end = time.monotonic() + min(GRACE, (self.config.timeout_graceful_shutdown or 1) / 2)
        # At least one turn of the loop: it makes protocols of what was accepted a moment ago.
        while True:
            await asyncio.sleep(0.02)
            if time.monotonic() >= end or not (self.server_state.connections or _accepted):
                break
        await super().shutdown(sockets)


def share(after_requests: int | None) -> int | None:
    """How many answers of one process are enough: up to a tenth fewer, as chance has it, so
    that processes which began together do not end together."""
    if after_requests is None:
        return None
    return after_requests - random.randint(0, after_requests // 10)  # noqa: S311 - no secret


class Messenger:
    """Sends sd_notify(3) messages; nothing where nobody asked for them."""

    def __init__(self, address: str | None = None) -> None:
        """``address`` is by default that of ``$NOTIFY_SOCKET``."""
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._sender: socket.socket | None = None
        if not address:
            return
        if address.startswith("@"):
            address = "\0" + address[1:]
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._sender.connect(address)

    def __call__(self, message: str) -> None:
        """Does not wait for a supervisor that is slow, but for ``READY=1``.

        Raises :class:`OSError`.
        """
        if self._sender is not None:
            patient = message.startswith("READY=")
            self._sender.send(message.encode(), 0 if patient else socket.MSG_DONTWAIT)
