"""Whether a process serves, seen through a socket that several share."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.support.certificates import Authority

from cloister.apps import probes
from cloister.apps.probes import Listening, Request, wait_accepting, wait_answering
from cloister.model.route import SendProxy

ASKED = Request("/health", "blog.example", tls=False)


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen(2)
        yield listening


def seen(
    listening: socket.socket,
    *,
    ours: Callable[[int], bool] = lambda _: True,
    alone: bool = True,
) -> Listening:
    return Listening(listening, listening.getsockname(), ours, lambda: alone)


async def is_accepting(place: Listening, accept: int, wait: float) -> bool:
    waiting = asyncio.create_task(wait_accepting(place))
    # The first look comes before the first acceptance.
    await asyncio.sleep(0)
    assert not waiting.done()
    taken = [place.socket.accept()[0] for _ in range(accept)]
    try:
        await asyncio.wait_for(waiting, wait)
    except TimeoutError:
        return False
    finally:
        for one in taken:
            one.close()
    return True


def test_a_connection_that_is_taken_shows_it(listening: socket.socket) -> None:
    assert asyncio.run(is_accepting(seen(listening), accept=1, wait=10))


def test_nobody_accepts(listening: socket.socket) -> None:
    assert not asyncio.run(is_accepting(seen(listening), accept=0, wait=0.3))


def test_a_full_queue_that_grows_shorter_shows_it_too(listening: socket.socket) -> None:
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for client in clients:
        client.connect(listening.getsockname())
    assert asyncio.run(is_accepting(seen(listening), accept=1, wait=10))
    for client in clients:
        client.close()


def test_one_that_another_process_takes_shows_nothing(listening: socket.socket) -> None:
    theirs = seen(listening, ours=lambda _: False, alone=False)
    assert not asyncio.run(is_accepting(theirs, accept=1, wait=0.3))


def test_the_taker_is_told_apart_by_its_inode(listening: socket.socket) -> None:
    """Two take turns, as two processes would: only the second one is asked about."""

    async def play() -> list[int]:
        theirs: set[int] = set()
        mine: set[int] = set()
        waiting = asyncio.create_task(
            wait_accepting(seen(listening, ours=lambda inode: inode in mine, alone=False))
        )
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        kept = []
        for taker in (theirs, theirs, mine):
            connection, _ = await asyncio.wait_for(loop.sock_accept(listening), 10)
            kept.append(connection)
            taker.add(os.fstat(connection.fileno()).st_ino)
        await asyncio.wait_for(waiting, 10)
        for connection in kept:
            connection.close()
        return [len(theirs), len(mine)]

    assert asyncio.run(play()) == [2, 1]


def test_a_connection_that_is_closed_at_once_counts_for_one_that_is_alone(
    listening: socket.socket,
) -> None:
    async def play(alone: bool) -> bool:
        waiting = asyncio.create_task(
            wait_accepting(seen(listening, ours=lambda _: False, alone=alone))
        )
        await asyncio.sleep(0)
        listening.accept()[0].close()
        done, _ = await asyncio.wait({waiting}, timeout=10 if alone else 0.3)
        waiting.cancel()
        return bool(done)

    assert asyncio.run(play(True))
    assert not asyncio.run(play(False))


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]


async def close_all(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        writer.transport.abort()
    for _ in range(3):  # for the loop to let go of them
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def server(
    listening: socket.socket, answers: list[bytes], context: ssl.SSLContext | None = None
) -> AsyncIterator[list[bytes]]:
    """Gives one answer after the other, the last one for ever; yields what it was asked."""
    asked: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answers.pop(0) if len(answers) > 1 else answers[0])
            await writer.drain()
        writer.close()

    running = await asyncio.start_unix_server(serve, sock=listening, ssl=context)
    try:
        yield asked
    finally:
        running.close()
        await close_all(writers)


def answered(
    listening: socket.socket,
    answers: list[bytes],
    wait: float,
    request: Request = ASKED,
    context: ssl.SSLContext | None = None,
) -> tuple[bool, list[bytes]]:
    async def play() -> tuple[bool, list[bytes]]:
        async with server(listening, answers, context) as asked:
            try:
                await asyncio.wait_for(wait_answering(seen(listening), request), wait)
            except TimeoutError:
                return False, asked
            return True, asked

    return asyncio.run(play())


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"302 Found"])
def test_an_answer_of_2xx_or_3xx_shows_that_it_serves(
    listening: socket.socket, status: bytes
) -> None:
    ready, asked = answered(listening, [b"HTTP/1.1 " + status + b"\r\n\r\n"], 10)
    assert ready
    assert asked[0].startswith(b"GET /health HTTP/1.1\r\nHost: blog.example\r\n")


def test_it_is_asked_again_until_it_serves(listening: socket.socket) -> None:
    answers = [
        b"HTTP/1.1 503 Not Yet\r\n\r\n",
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.0 2\xff\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ]
    ready, asked = answered(listening, answers, 10)
    assert ready
    assert len(asked) == 5


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 500 Broken\r\n\r\n",
        b"HTTP/1.1 1" + b"0" * 100_000,
        b"x" * 100_000 + b"\n",
    ],
)
def test_no_other_answer_does(listening: socket.socket, answer: bytes) -> None:
    assert not answered(listening, [answer], 0.4)[0]


def test_an_answer_that_never_ends_is_given_up(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "ANSWER_TIMEOUT", 0.05)

    async def play() -> None:
        connections = []
        third = asyncio.Event()

        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            if len(connections) == 3:
                third.set()

        running = await asyncio.start_unix_server(serve, sock=listening)
        waiting = asyncio.create_task(wait_answering(seen(listening), ASKED))
        await asyncio.wait_for(third.wait(), 10)
        assert not waiting.done()
        waiting.cancel()
        running.close()
        await close_all(connections)

    asyncio.run(play())


def test_over_tls(listening: socket.socket, tmp_path: Path) -> None:
    pair = Authority(tmp_path).server("blog.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    request = Request("/health", "blog.example", tls=True)
    ready, _ = answered(listening, [b"HTTP/1.1 200 OK\r\n\r\n"], 10, request, context)
    assert ready
    assert names == ["blog.example"]


@pytest.mark.parametrize(
    ("version", "header"),
    [(SendProxy.V1, b"PROXY UNKNOWN\r\n"), (SendProxy.V2, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")],
)
def test_with_the_header_that_the_application_expects(
    listening: socket.socket, version: SendProxy, header: bytes
) -> None:
    """A connection of the proxy's own: the LOCAL command."""

    async def play() -> bytes:
        loop = asyncio.get_running_loop()
        request = Request("/", "blog.example", tls=False, send_proxy=version)
        waiting = asyncio.create_task(wait_answering(seen(listening), request))
        listening.setblocking(False)
        connection, _ = await asyncio.wait_for(loop.sock_accept(listening), 10)
        received = b""
        while b"\r\n\r\n" not in received[len(header) :]:
            received += await asyncio.wait_for(loop.sock_recv(connection, 4096), 10)
        await loop.sock_sendall(connection, b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.wait_for(waiting, 10)
        connection.close()
        return received

    assert asyncio.run(play()).startswith(header + b"GET / HTTP/1.1\r\n")
