"""The server that runs inside a Python application's cell: uvicorn, made to lose no request.

A process that is told to stop has taken connections whose requests are on their way: fresh
ones, and kept ones whose client has just sent the next. uvicorn closes those at once. Here
they are answered first, with ``Connection: close``, as long as :data:`GRACE`.
"""

import asyncio
import contextlib
import os
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
    """Tells the supervisor when it serves, how much it has to do, and when it stops."""

    def __init__(self, config: uvicorn.Config, notify: Callable[[str], None]) -> None:
        """``notify`` sends one sd_notify(3) message."""
        super().__init__(config)
        self._notify = notify
        self._told = (0, 0)
        self._told_at = 0.0

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
        return await super().on_tick(counter)

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
