"""Serves the control API on a Unix socket, to root, to the supervisor's own user, and to whom
its configuration names.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import Server

from cloister.apps.logs import Level, LogEvent, Sink
from cloister.control.api import refusal
from cloister.sockets.bind import bind_planned
from cloister.sockets.numbers import resolve
from cloister.sockets.peer import Peer, peer, peer_groups
from cloister.sockets.plan import SocketPlan


@dataclass(frozen=True, slots=True)
class Callers:
    """Who may ask; ids of the host."""

    users: frozenset[int]
    group: int | None

    def admit(self, caller: Peer, groups: tuple[int, ...]) -> bool:
        """Whether a peer may, who had these supplementary groups when it connected."""
        if caller.uid in self.users:
            return True
        return self.group is not None and self.group in (caller.gid, *groups)


class ControlServer:
    """The control socket and the server behind it.

    The socket's mode keeps others out already; the peer's user and groups are checked as well,
    since modes can be changed by hand, and every refused peer is logged.
    """

    def __init__(
        self,
        plan: SocketPlan,
        application: ASGIApp,
        sink: Sink,
    ) -> None:
        """Binds the socket. Raises what ``bind_planned`` raises."""
        made = resolve(plan)
        callers = Callers(
            users=frozenset(
                {0, os.geteuid()} | ({made.owner} if made.owner is not None else set())
            ),
            group=made.group if plan.joinable is not None else None,
        )
        self._bound = bind_planned(plan)
        config = Config(
            _guarded(application, callers, sink),
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


class _Server(Server):
    """Leaves the signals to the supervisor, whose loop it shares."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _PeerProtocol(H11Protocol):
    """Gives the application its peer's credentials in ``scope["state"]``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the loop for each connection."""
        super().connection_made(transport)
        connection: socket.socket = transport.get_extra_info("socket")
        try:
            groups = peer_groups(connection)
        except OSError:  # more than can be asked for: the first one alone counts
            groups = ()
        self.app_state = {**self.app_state, "peer": peer(connection), "groups": groups}


def _guarded(application: ASGIApp, callers: Callers, sink: Sink) -> ASGIApp:
    """The application for peers that may ask; a refusal for all others."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        caller: Peer = scope["state"]["peer"]
        if callers.admit(caller, scope["state"]["groups"]):
            await application(scope, receive, send)
            return
        user = f"user {caller.uid} (process {caller.pid})"
        message = f"refused a request of {user} on the control socket"
        fields = {"uid": caller.uid, "pid": caller.pid}
        sink.emit(LogEvent("cloister", message, Level.WARNING, fields=fields))
        body = refusal(
            "not permitted",
            f"user {caller.uid} is neither root nor the supervisor's own user"
            + (", nor is it in the socket's group" if callers.group is not None else ""),
            "ask as one of them, for example with sudo; `control` in [cloister] may name others",
        )
        await JSONResponse(body, 403)(scope, receive, send)

    return guard
