"""Targets beyond Unix sockets in a supervisor's snapshot: reached where the door was started
for their kind, refused where it was not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from cloister.cells.programs import find
from cloister.door.channel import RefusedError
from cloister.door.client import DoorLaunch, DoorProcess
from cloister.door.messages import (
    Balance,
    Keepalive,
    Limits,
    Listener,
    SendProxy,
    Snapshot,
    Srv,
    Target,
    TargetRoute,
    Tcp,
    UnixAbstract,
    Vsock,
)
from cloister.model.listener import SocketOptions, TcpAddress
from cloister.sockets.bind import BoundSocket, bind_listener

LIMITS = Limits(0, 0, 0, 5000, 5000, 0)


def snapshot(*targets: Target) -> Snapshot:
    """One listener for each target, on the descriptor of the same number."""
    return Snapshot(
        1,
        1,
        False,
        tuple(
            Listener(
                f"listener-{place}",
                "127.0.0.1:0",
                place,
                TargetRoute(target, SendProxy.NONE, Balance.LEAST_CONNECTIONS),
                (),
                LIMITS,
                Keepalive(60, 10, 6),
            )
            for place, target in enumerate(targets)
        ),
        (),
    )


@contextlib.contextmanager
def listeners(number: int) -> Iterator[list[BoundSocket]]:
    with contextlib.ExitStack() as stack:
        bound = []
        for _ in range(number):
            bound.append(bind_listener(TcpAddress("127.0.0.1", 0), SocketOptions()))
            stack.callback(bound[-1].close)
        yield bound


@contextlib.asynccontextmanager
async def door(*kinds: str) -> AsyncIterator[DoorProcess]:
    process = await DoorProcess.start(DoorLaunch(find("cloister-door"), None, frozenset(kinds)))
    drain = asyncio.create_task(process.messages.read())
    try:
        yield process
    finally:
        await process.close()
        await drain


@pytest.mark.parametrize(
    ("target", "kinds"),
    [
        (UnixAbstract("x"), ("tcp", "names", "vsock")),
        (Tcp("127.0.0.1", 80), ("abstract", "vsock")),
        (Tcp("example.org", 80), ("tcp",)),
        (Srv("_http._tcp.example.org"), ("tcp",)),
        (Vsock(2, 80), ("tcp", "names", "abstract")),
    ],
)
def test_a_kind_that_the_door_was_not_started_for_is_refused(
    target: Target, kinds: tuple[str, ...]
) -> None:
    async def test() -> None:
        async with door(*kinds) as process:
            with listeners(1) as bound, pytest.raises(RefusedError) as caught:
                await process.apply(snapshot(target), [bound[0].socket.fileno()])
            assert "--targets" in (caught.value.why or "")

    asyncio.run(asyncio.wait_for(test(), 30))


def test_listeners_reach_addresses_and_names_in_one_door() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        targets = [Tcp("127.0.0.1", port), Tcp("localhost", port), Tcp("localhost.", port)]
        async with server, door("tcp", "names") as process:
            with listeners(3) as bound:
                await process.apply(snapshot(*targets), [b.socket.fileno() for b in bound])
                for one in bound * 3:
                    address = one.socket.getsockname()
                    reader, writer = await asyncio.open_connection(*address)
                    writer.write(b"hello")
                    assert await reader.read() == b"hello"
                    writer.close()

    asyncio.run(asyncio.wait_for(test(), 30))
