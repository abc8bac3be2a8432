"""A small HTTP server: whatever comes, one bounded request and one answer."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cloister.sockets import http_server
from cloister.sockets.http_server import HttpServer, Request, Response, plain


class World:
    """A server on a Unix socket, which keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "socket")
        self.asked: list[Request] = []
        self.came = asyncio.Semaphore(0)
        self.wait: asyncio.Event | None = None

    async def handle(self, request: Request) -> Response:
        self.asked.append(request)
        self.came.release()
        if self.wait is not None:
            await self.wait.wait()
        return plain(200, "answer")

    def serve(self, talk: Callable[["World", HttpServer], Awaitable[Any]], **options: Any) -> Any:
        async def live() -> Any:
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(self.path)
                listening.listen(16)
                server = HttpServer(self.handle, **options)
                await server.listen(listening)
                async with asyncio.timeout(30):
                    found = await talk(self, server)
                server.close()
                return found

        return asyncio.run(live())

    async def send(self, *pieces: bytes, end: bool = False) -> bytes:
        """The answer to these bytes, sent one after the other."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if end:
            writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


POSTING = {"methods": frozenset({"GET", "POST"}), "max_body": 10}
POST = b"POST /a?b=c HTTP/1.1\r\nhost: x\r\n"


def talk(world: World, *pieces: bytes, end: bool = False, **options: Any) -> bytes:
    async def once(world: World, _: HttpServer) -> bytes:
        return await world.send(*pieces, end=end)

    answer = world.serve(once, **options)
    assert isinstance(answer, bytes)
    return answer


@pytest.mark.parametrize(
    "body",
    [
        [b"content-length: 4\r\n\r\nbody"],
        [b"content-length: 4\r\n\r\nb", b"o", b"d", b"y"],
        [b"transfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"],
    ],
)
def test_a_body_is_taken_however_it_comes(world: World, body: list[bytes]) -> None:
    assert talk(world, POST, *body, **POSTING).startswith(b"HTTP/1.1 200 ")
    (request,) = world.asked
    assert (request.method, request.path, request.query, request.body) == (
        *("POST", "/a", "b=c"),
        b"body",
    )


def test_who_asks_is_known_by_the_kernel(world: World) -> None:
    talk(world, POST, b"content-length: 0\r\n\r\n", **POSTING)
    peer = world.asked[0].peer
    assert peer is not None
    assert (peer.uid, peer.gid, peer.pid) == (os.geteuid(), os.getegid(), os.getpid())


@pytest.mark.parametrize(
    "body",
    [
        b"content-length: 11\r\n\r\nelevenbytes",
        b"transfer-encoding: chunked\r\n\r\n6\r\nsixsix\r\n6\r\nsixsix\r\n0\r\n\r\n",
    ],
)
def test_a_body_that_is_too_long_is_refused(world: World, body: bytes) -> None:
    assert talk(world, POST + body, **POSTING).startswith(b"HTTP/1.1 413 ")
    assert world.asked == []


@pytest.mark.parametrize("body", [b"content-length: 9\r\n\r\nhalf", b"content-length: x\r\n\r\n"])
def test_half_a_body_is_no_request(world: World, body: bytes) -> None:
    assert talk(world, POST + body, end=True, **POSTING).startswith(b"HTTP/1.1 400 ")
    assert world.asked == []


def test_without_bodies_none_is_waited_for(world: World) -> None:
    answer = talk(world, b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert world.asked[0].body == b""


def test_another_method_is_refused(world: World) -> None:
    assert talk(world, POST + b"content-length: 0\r\n\r\n").startswith(b"HTTP/1.1 405 ")


def test_whoever_says_nothing_is_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_TIMEOUT", 0.1)
    assert talk(world, POST + b"content-length: 4\r\n\r\nbo", **POSTING) == b""
    assert world.asked == []


def test_one_more_than_a_socket_may_have_is_closed(world: World) -> None:
    async def three(world: World, _: HttpServer) -> list[bytes]:
        world.wait = asyncio.Event()
        get = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        first = [asyncio.ensure_future(world.send(get)) for _ in range(2)]
        for _ in first:
            await world.came.acquire()
        third = await world.send(end=True)
        world.wait.set()
        return [third, *await asyncio.gather(*first)]

    third, *first = world.serve(three, each=2)
    assert third == b""
    assert all(one.startswith(b"HTTP/1.1 200 ") for one in first)


def test_who_is_connected_at_the_end_has_an_answer(world: World) -> None:
    async def finish(world: World, server: HttpServer) -> bytes:
        world.wait = asyncio.Event()
        asking = asyncio.ensure_future(world.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
        await world.came.acquire()
        finishing = asyncio.ensure_future(server.finish(20.0))
        await asyncio.sleep(0)
        assert not finishing.done()
        world.wait.set()
        await finishing
        return await asking

    assert world.serve(finish).startswith(b"HTTP/1.1 200 ")
    assert Path(world.path).exists()  # it is the one's who has made it
