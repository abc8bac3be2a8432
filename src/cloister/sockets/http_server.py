"""A small HTTP server: one request a connection, everything bounded.

For processes that answer a few short requests and face whoever can connect. A body is waited
for only where a server takes one; HTTP itself is h11's.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import h11

from cloister.sockets.peer import Peer, peer

HEAD_TIMEOUT = 10.0
"""Seconds for a whole request."""
WRITE_TIMEOUT = 30.0
"""Seconds for a client to take its answer."""
MAX_HEAD = 16 * 1024
"""Bytes of a request's line and headers."""
MAX_CONNECTIONS = 128
"""At once, of all listening sockets of a server, unless it is told otherwise."""
READING = frozenset({"GET", "HEAD"})
"""The methods that only ask."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    method: str
    path: str
    """Without the query."""
    query: str
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case."""
    body: bytes = b""
    peer: Peer | None = None
    """Who has connected, by a Unix socket."""

    def header(self, name: bytes) -> bytes:
        """The first of this name, or nothing."""
        return next((value for known, value in self.headers if known == name), b"")


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Response]]


def plain(status: int, message: str) -> Response:
    """A line for a person."""
    return Response(status, f"{message}\n".encode())


class HttpServer:
    """Serves ``handle`` on listening sockets that stay the caller's until :meth:`close`."""

    def __init__(
        self,
        handle: Handler,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        methods: frozenset[str] = READING,
        max_body: int = 0,
        most: int = MAX_CONNECTIONS,
        each: int = MAX_CONNECTIONS,
    ) -> None:
        """``headers`` are in every answer. A body may have ``max_body`` bytes. There are ``most``
        connections at once, and ``each`` of one listening socket: one more is closed at once."""
        self._handle = handle
        self._headers = headers
        self._methods = methods
        self._max_body = max_body
        self._each = each
        self._most = most
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._servers: list[asyncio.Server] = []

    async def listen(self, listening: socket.socket, handle: Handler | None = None) -> None:
        """Accept from a socket that listens; there may be a handler for it alone."""

        here = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal here
            if here >= self._each:
                writer.transport.abort()
                return
            here += 1
            try:
                await self._connection(reader, writer, handle or self._handle)
            finally:
                here -= 1

        start: Any = asyncio.start_server
        options: dict[str, Any] = {}
        if listening.family == socket.AF_UNIX:
            start = asyncio.start_unix_server
            if sys.version_info >= (3, 13):
                options["cleanup_socket"] = False  # its path is not this server's
        self._servers.append(await start(serve, sock=listening, limit=MAX_HEAD, **options))

    def close(self) -> None:
        """Accept no more, and close the sockets."""
        for server in self._servers:
            server.close()

    async def finish(self, patience: float) -> None:
        """Close, and return when who is connected has an answer, or after so many seconds."""
        self.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()

    async def _connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler
    ) -> None:
        if self._open >= self._most:
            writer.transport.abort()
            return
        self._open += 1
        self._idle.clear()
        try:
            await self._exchange(reader, writer, handle)
        except (OSError, TimeoutError, h11.LocalProtocolError):
            writer.transport.abort()
        finally:
            self._open -= 1
            if self._open == 0:
                self._idle.set()
            writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler
    ) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                request = await self._request(connection, reader, writer)
        except h11.RemoteProtocolError as error:
            response = plain(error.error_status_hint, f"no request that is understood: {error}")
        else:
            if request is None:
                return
            if request.method not in self._methods:
                names = " and ".join(sorted(self._methods - {"HEAD"}))
                response = plain(405, f"only {names} is answered")
            else:
                response = await handle(request)
        async with asyncio.timeout(WRITE_TIMEOUT):
            await self._answer(connection, writer, response)

    async def _request(
        self,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Request | None:
        """A whole request; ``None`` where the client closed before it."""
        event = await _next_event(connection, reader)
        if not isinstance(event, h11.Request):
            return None
        body = bytearray()
        while self._max_body and isinstance(
            piece := await _next_event(connection, reader), h11.Data
        ):
            body += piece.data
            if len(body) > self._max_body:
                message = f"a body has at most {self._max_body} bytes here"
                raise h11.RemoteProtocolError(message, error_status_hint=413)
        path, _, query = event.target.decode("ascii", "replace").partition("?")
        connected = writer.get_extra_info("socket")
        return Request(
            method=event.method.decode("ascii"),
            path=path,
            query=query,
            headers=tuple(event.headers),
            body=bytes(body),
            peer=peer(connected) if connected.family == socket.AF_UNIX else None,
        )

    async def _answer(
        self, connection: h11.Connection, writer: asyncio.StreamWriter, response: Response
    ) -> None:
        headers = [
            ("content-type", response.content_type),
            ("content-length", str(len(response.body))),
            ("x-content-type-options", "nosniff"),
            ("connection", "close"),
            *self._headers,
            *response.headers,
        ]
        writer.write(connection.send(h11.Response(status_code=response.status, headers=headers)))
        # h11 takes no body where the request was a HEAD.
        with contextlib.suppress(h11.LocalProtocolError):
            writer.write(connection.send(h11.Data(data=response.body)) or b"")
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    """The next event; ``None`` where the client closed before a request."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        received = await reader.read(MAX_HEAD)
        if not received and connection.their_state is h11.IDLE and not connection.trailing_data[0]:
            return None
        connection.receive_data(received)
    return event
