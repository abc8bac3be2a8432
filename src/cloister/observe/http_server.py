"""A small HTTP server: one request a connection, everything bounded.

For processes that answer a few short GET requests and face whoever can connect. No request
has a body here, and none is waited for; HTTP itself is h11's.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import h11

HEAD_TIMEOUT = 10.0
"""Seconds for a whole request."""
WRITE_TIMEOUT = 30.0
"""Seconds for a client to take its answer."""
MAX_HEAD = 16 * 1024
"""Bytes of a request's line and headers."""
MAX_CONNECTIONS = 128
"""At once, of all listening sockets of a server; one more is closed at once."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    method: str
    path: str
    """Without the query."""
    query: str
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case."""

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

    def __init__(self, handle: Handler, *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """``headers`` are in every answer."""
        self._handle = handle
        self._headers = headers
        self._open = 0
        self._servers: list[asyncio.Server] = []

    async def listen(self, listening: socket.socket, handle: Handler | None = None) -> None:
        """Accept from a socket that listens; there may be a handler for it alone."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._connection(reader, writer, handle or self._handle)

        is_unix = listening.family == socket.AF_UNIX
        start = asyncio.start_unix_server if is_unix else asyncio.start_server
        self._servers.append(await start(serve, sock=listening, limit=MAX_HEAD))

    def close(self) -> None:
        """Accept no more, and close the sockets."""
        for server in self._servers:
            server.close()

    async def _connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler
    ) -> None:
        if self._open >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._open += 1
        try:
            await self._exchange(reader, writer, handle)
        except (OSError, TimeoutError, h11.LocalProtocolError):
            writer.transport.abort()
        finally:
            self._open -= 1
            writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler
    ) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                request = await _read_request(connection, reader)
        except h11.RemoteProtocolError as error:
            response = plain(error.error_status_hint, f"no request that is understood: {error}")
        else:
            if request is None:
                return
            answered = request.method in {"GET", "HEAD"}
            response = await handle(request) if answered else plain(405, "only GET is answered")
        async with asyncio.timeout(WRITE_TIMEOUT):
            await self._answer(connection, writer, response)

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


async def _read_request(connection: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
    """The head of a request; ``None`` where the client closed before it."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            path, _, query = event.target.decode("ascii", "replace").partition("?")
            return Request(event.method.decode("ascii"), path, query, tuple(event.headers))
        if event is not h11.NEED_DATA:
            return None
        received = await reader.read(MAX_HEAD)
        if not received and connection.trailing_data[0] == b"":
            return None
        connection.receive_data(received)
