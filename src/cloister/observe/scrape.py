"""Asks one application for its metrics, over its Unix socket. The application may be hostile.

Everything has a bound: the time for the whole exchange, the length of the answer, the length
of its head. What comes back is handed on only where it is text in one of Prometheus' two text
formats, so that nobody downstream has to be as careful.
"""

import asyncio
import contextlib
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import h11

from cloister.observe.exposition import CONTENT_TYPE

MAX_HEAD = 64 * 1024
"""Bytes of an answer's head."""
_CHUNK = 256 * 1024
_LINES_A_TURN = 2000
"""Lines that are looked at before other scrapes have a turn."""

_TYPES = ("text/plain", "application/openmetrics-text")
_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)
_LINE = re.compile(
    r"""[ \t]*(?:\#.*
    | [a-zA-Z_:][a-zA-Z0-9_:]*+[ \t]*+
      (?:\{[^{}"]*+(?:"(?:[^"\\]|\\.)*+"[^{}"]*+)*+\}[ \t]*+)?
      [-+0-9a-zA-Z.]++(?:[ \t]++-?[0-9.eE+-]++)?(?:[ \t]*+\#.*)?
    )?[ \t\r]*""",
    re.VERBOSE | re.ASCII,
)
"""What a line of either format can look like. Its repetitions are possessive: no text takes
longer than its length."""


class Failure(StrEnum):
    """Why there are no metrics; the values of a label."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TOO_LARGE = "too-large"
    STATUS = "status"
    PROTOCOL = "protocol"
    NOT_METRICS = "not-metrics"


class ScrapeError(Exception):
    """An application has given no metrics."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Target:
    """Where an application answers, and how."""

    socket: str
    """The absolute path of its Unix socket, of any length."""
    path: str
    host: str
    """For the request, and for TLS."""
    tls: bool
    proxy: str
    """The PROXY header that it expects first: ``none``, ``v1`` or ``v2``."""
    timeout: float
    """Seconds for everything."""
    max_size: int
    """Bytes of the answer's body."""


@dataclass(frozen=True, slots=True)
class Scraped:
    """Metrics as they came."""

    body: bytes
    content_type: str


# PROXY protocol: "UNKNOWN" and LOCAL say that the connection is the sender's own.
_PROXY = {
    "none": b"",
    "v1": b"PROXY UNKNOWN\r\n",
    "v2": b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
}


class Budget:
    """Bytes that all answers under way may take together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    @contextlib.contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """For one answer: takes bytes, which are given back at the end of the block."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            mine += count
            self._taken += count
            if self._taken > self._limit:
                message = f"all answers under way are longer than {self._limit} bytes together"
                raise ScrapeError(Failure.TOO_LARGE, message)

        try:
            yield take
        finally:
            self._taken -= mine


async def scrape(target: Target, budget: Budget) -> Scraped:
    """The application's metrics. Raises :class:`ScrapeError`."""
    try:
        async with asyncio.timeout(target.timeout), _connected(target) as (reader, writer):
            with budget.share() as take:
                scraped = await _ask(target, reader, writer, take)
                await _check(scraped.body)
            return scraped
    except TimeoutError:
        message = f"no whole answer within {target.timeout:g} s"
        raise ScrapeError(Failure.TIMEOUT, message) from None
    except h11.ProtocolError as error:
        raise ScrapeError(Failure.PROTOCOL, f"no HTTP: {error}") from error
    except ssl.SSLError as error:
        raise ScrapeError(Failure.PROTOCOL, f"no TLS: {error.reason or error}") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ScrapeError(Failure.UNREACHABLE, reason) from error


@contextlib.asynccontextmanager
async def _connected(
    target: Target,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    connection = await _connect(target.socket)
    try:
        if proxy := _PROXY[target.proxy]:
            await asyncio.get_running_loop().sock_sendall(connection, proxy)
        reader, writer = await asyncio.open_unix_connection(
            sock=connection,
            ssl=_tls() if target.tls else None,
            server_hostname=target.host if target.tls else None,
            limit=_CHUNK,
        )
    except BaseException:
        connection.close()
        raise
    try:
        yield reader, writer
    finally:
        # Not close(): that would wait for a TLS peer's farewell.
        writer.transport.abort()


async def _connect(path: str) -> socket.socket:
    """A connection; waits while the socket's queue is full, which asyncio would take for
    success (connect(2): EAGAIN)."""
    folder, name = os.path.split(path)
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                # However long the path is, an address holds this one.
                connection.connect(f"/proc/self/fd/{directory}/{name}")
            except BlockingIOError:
                connection.close()
                await asyncio.sleep(0.02)
            except BaseException:
                connection.close()
                raise
            else:
                return connection
    finally:
        os.close(directory)


def _tls() -> ssl.SSLContext:
    # The socket says who answers: its folder lets nobody else make it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _ask(
    target: Target,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    take: Callable[[int], None],
) -> Scraped:
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    headers = [
        ("host", target.host),
        ("accept", _ACCEPT),
        # What is not compressed is as long as it looks.
        ("accept-encoding", "identity"),
        ("user-agent", "cloister"),
        ("connection", "close"),
    ]
    request = h11.Request(method="GET", target=target.path, headers=headers)
    writer.write(http.send(request) + http.send(h11.EndOfMessage()))
    await writer.drain()
    content_type = ""
    pieces: list[bytes] = []
    size = 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            content_type = _accepted(event, target)
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > target.max_size:
                raise _too_large(target)
            take(len(event.data))
            pieces.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            return Scraped(b"".join(pieces), content_type)
        elif not isinstance(event, h11.InformationalResponse):
            raise ScrapeError(Failure.PROTOCOL, "the connection ended before an answer")


def _accepted(response: h11.Response, target: Target) -> str:
    """The content type of an answer that may hold metrics."""
    if response.status_code != 200:
        raise ScrapeError(Failure.STATUS, f"it answers {response.status_code}")
    headers = dict(response.headers)
    if int(headers.get(b"content-length", b"0")) > target.max_size:
        raise _too_large(target)
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.lower() != b"identity":
        raise ScrapeError(Failure.NOT_METRICS, "it answers compressed, which was not asked for")
    given = headers.get(b"content-type", b"").decode("latin-1")
    kind = given.partition(";")[0].strip().lower()
    if not kind:
        return CONTENT_TYPE
    if kind not in _TYPES:
        raise ScrapeError(Failure.NOT_METRICS, f"its content type is {kind[:60]!r}")
    return given


def _too_large(target: Target) -> ScrapeError:
    return ScrapeError(Failure.TOO_LARGE, f"the answer is longer than {target.max_size} bytes")


async def _check(body: bytes) -> None:
    """Raises unless every line can be one of the text formats."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScrapeError(Failure.NOT_METRICS, "the answer is no UTF-8 text") from error
    start, number = 0, 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        number += 1
        if _LINE.fullmatch(text, start, end) is None:
            raise ScrapeError(Failure.NOT_METRICS, f"line {number} is no sample")
        if number % _LINES_A_TURN == 0:
            await asyncio.sleep(0)
        start = end + 1
