"""Serves the control API on a Unix socket, to root and to the supervisor's own user."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterator

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from cloister.apps.logs import Level, LogEvent, Sink
from cloister.control.api import refusal
from cloister.model.listener import SocketOptions, UnixAddress
from cloister.sockets.bind import bind_listener

_UCRED = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7))


class ControlServer:
    """The control socket and the server behind it.

    The socket's mode keeps others out already; the peer's user is checked as well, since
    modes can be changed by hand, and every refused peer is logged.
    """

    def __init__(self, path: str, application: ASGIApp, sink: Sink) -> None:
        """Binds the socket. Raises what ``bind_listener`` raises."""
        self._bound = bind_listener(UnixAddress(path), SocketOptions(mode=0o600, backlog=64))
        config = uvicorn.Config(
            _guarded(application, sink),
            http=_PeerProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Serve, on the running event loop."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._bound.socket]))

    async def close(self) -> None:
        """Finish the requests under way, and close and unlink the socket."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
        self._bound.close()


class _Server(uvicorn.Server):
    """Leaves the signals to the supervisor, whose loop it shares."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _PeerProtocol(H11Protocol):
    """Gives the application its peer's user and process as ``scope["client"]``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the loop for each connection."""
        super().connection_made(transport)
        connection: socket.socket = transport.get_extra_info("socket")
        pid, uid, _ = _UCRED.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
        self.client = (str(uid), pid)


def _guarded(application: ASGIApp, sink: Sink) -> ASGIApp:
    """The application for peers that may ask; a refusal for all others."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        user, pid = scope["client"]
        if int(user) in (0, os.geteuid()):
            await application(scope, receive, send)
            return
        message = f"refused a request of user {user} (process {pid}) on the control socket"
        fields = {"uid": int(user), "pid": pid}
        sink.emit(LogEvent("cloister", message, Level.WARNING, fields=fields))
        body = refusal(
            "not permitted",
            f"user {user} is neither root nor the supervisor's own user",
            "ask as one of them, for example with sudo",
        )
        await JSONResponse(body, 403)(scope, receive, send)

    return guard
