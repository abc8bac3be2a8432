"""Every listener kind to every target kind: each byte, each end by itself, each abort."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.door.conftest import StartRelay
from tests.support import keyed
from tests.support.door import program
from tests.support.keyed import Conversation, Outcome, Style
from tests.support.relay import Relay, Target

MakeTarget = Callable[[str], Target]

LISTENERS = ("tcp", "tcp6", "unix", "abstract")
TARGETS = ("tcp", "tcp6", "unix", "abstract")
OURS = (program(), "relay", "--user", "65534:65534", "--log-connections")

BULK = 24 << 20
"""Bytes: many times what the door, its pipes and the kernel hold together."""

CONVERSATIONS = (
    Conversation(1, 0, 0),
    Conversation(2, 1, 1),
    Conversation(3, 200, 100_000),
    Conversation(4, 300_000, 77),
    Conversation(5, 65_536, 65_537, Style.ANSWER_AFTER_END),
    Conversation(6, BULK, 1000),
    Conversation(7, 1000, BULK),
    Conversation(8, BULK // 2, BULK // 2),
    Conversation(9, 60_000, 40_000, Style.SLOW_TARGET),
    Conversation(10, 40_000, 60_000, Style.SLOW_CLIENT),
)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, make_target: MakeTarget) -> Target:
    return _or_skip(lambda: make_target(request.param))


def _or_skip(make: Callable[[], Target]) -> Target:
    try:
        return make()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")


@contextlib.contextmanager
def conversing(target: Target) -> Iterator[None]:
    """Meanwhile the target holds its side of conversations, on a thread."""
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        target.socket.setblocking(False)
        server = await asyncio.start_server(keyed.serve, sock=target.socket.dup())
        async with server:
            await stop.wait()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def _converse_all(relay: Relay, place: int) -> list[keyed.Result]:
    listening = relay.listening[place]

    async def open_connection() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = socket.socket(listening.family, socket.SOCK_STREAM)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, listening.getsockname())
        return await asyncio.open_connection(sock=connection)

    conversations = (keyed.converse(open_connection, one) for one in CONVERSATIONS)
    return await asyncio.gather(*conversations)


def test_every_byte_in_its_place(start_relay: StartRelay, target: Target) -> None:
    """Small and large, both ways at once, slow readers on either side, half-closed while the
    other direction goes on; from every kind of listener."""
    relay = _start_on_all(start_relay, target)
    with conversing(target):
        for place in range(len(relay.listening)):
            results = asyncio.run(_converse_all(relay, place))
            assert [one.outcome for one in results] == [Outcome.COMPLETE] * len(results), results
    relay.wait_for_record(len(relay.listening) * len(CONVERSATIONS) - 1)
    assert {record["outcome"] for record in relay.records} == {"complete"}


def _start_on_all(start_relay: StartRelay, target: Target) -> Relay:
    try:
        return start_relay(target.text, on=LISTENERS, command=OURS)
    except OSError:
        return start_relay(target.text, on=[k for k in LISTENERS if k != "tcp6"], command=OURS)


@pytest.mark.parametrize("listener", ["tcp", "unix"])
def test_each_side_may_end_first(start_relay: StartRelay, target: Target, listener: str) -> None:
    relay = start_relay(target.text, on=(listener,), command=OURS)
    expect_each_side_may_end_first(relay, target)


def expect_each_side_may_end_first(relay: Relay, target: Target) -> None:
    """By two conversations of a relay that had none before."""
    client = relay.connect()
    server = target.accept()
    client.send(b"all that I say")
    client.finish()
    assert server.receive_rest() == b"all that I say"
    server.send(b"and all that I answer")
    server.finish()
    assert client.receive_rest() == b"and all that I answer"

    client = relay.connect()
    server = target.accept()
    server.send(b"greeting")
    server.finish()
    assert client.receive_rest() == b"greeting"
    client.send(b"still listening?")
    client.finish()
    assert server.receive_rest() == b"still listening?"
    assert relay.wait_for_record(1)["outcome"] == "complete"


@pytest.mark.parametrize("target", ["tcp"], indirect=True)
def test_an_abort_of_one_side_is_one_of_the_other(start_relay: StartRelay, target: Target) -> None:
    relay = start_relay(target.text, command=OURS)
    client = relay.connect()
    server = target.accept()
    server.send(b"x")
    assert client.receive(1) == b"x"
    client.abort()
    server.expect_reset()
    assert relay.wait_for_record(0)["outcome"] == "client-aborted"

    client = relay.connect()
    server = target.accept()
    server.send(b"y")
    assert client.receive(1) == b"y"
    server.abort()
    client.expect_reset()
    assert relay.wait_for_record(1)["outcome"] == "target-aborted"


def test_the_target_may_speak_first(start_relay: StartRelay, target: Target) -> None:
    """A greeting that comes together with the connection must not be overlooked."""
    relay = start_relay(target.text, command=OURS)
    for _ in range(20):
        client = relay.connect()
        server = target.accept()
        server.send(b"220 ready\r\n")
        assert client.receive(11) == b"220 ready\r\n"
        client.close()
        server.close()
