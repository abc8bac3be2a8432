"""Between virtual machines, as far as one machine that is its own peer can show it: vsock(7).

The kernel's vsock_loopback takes the same path through the door as a hypervisor's transport does:
the family, its addresses, its half-closes and refusals. ``make test-machine`` runs this in a
machine that has it.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

import pytest
from tests.e2e.door.conftest import StartRelay
from tests.e2e.door.test_relay_targets import conversing, expect_each_side_may_end_first
from tests.e2e.test_door_targets import door, snapshot
from tests.support import keyed
from tests.support.door import program
from tests.support.keyed import Conversation, Outcome, Style
from tests.support.proxy_header import read_header
from tests.support.relay import LOOPBACK_CID, Relay, Target, listen, reachable
from tests.support.vsock import need_loopback

from cloister.door.messages import Vsock
from cloister.model.listener import SocketOptions, VsockAddress
from cloister.sockets.bind import bind_listener

MakeTarget = Callable[[str], Target]

OURS = (program(), "relay", "--user", "65534:65534", "--log-connections")
OTHERS = ("tcp", "unix")

BULK = 2 << 20
"""Bytes: more than vsock's buffers of 256 KiB on both sides and the door's hold together."""

CONVERSATIONS = (
    Conversation(1, 0, 0),
    Conversation(2, 1, 1),
    Conversation(3, 200, 100_000),
    Conversation(4, 65_536, 65_537, Style.ANSWER_AFTER_END),
    Conversation(5, BULK, 1000),
    Conversation(6, 1000, BULK),
    Conversation(7, BULK, BULK),
    Conversation(8, 60_000, 40_000, Style.SLOW_TARGET),
    Conversation(9, 40_000, 60_000, Style.SLOW_CLIENT),
)


@pytest.fixture(autouse=True, scope="module")
def loopback() -> None:
    need_loopback()


async def converse_all(relay: Relay, place: int) -> list[keyed.Result]:
    listening = relay.listening[place]

    async def open_connection() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = socket.socket(listening.family, socket.SOCK_STREAM)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, reachable(listening))
        return await asyncio.open_connection(sock=connection)

    conversations = (keyed.converse(open_connection, one, patience=300) for one in CONVERSATIONS)
    return await asyncio.gather(*conversations)


def expect_complete(relay: Relay) -> None:
    for place in range(len(relay.listening)):
        results = asyncio.run(converse_all(relay, place))
        assert [one.outcome for one in results] == [Outcome.COMPLETE] * len(results), results
    relay.wait_for_record(len(relay.listening) * len(CONVERSATIONS) - 1, seconds=60)
    assert {record["outcome"] for record in relay.records} == {"complete"}


def test_every_byte_to_a_machine_s_port(start_relay: StartRelay, make_target: MakeTarget) -> None:
    """From every kind of listener, a machine's own among them."""
    target = make_target("vsock")
    assert target.text.startswith("vsock:1:")
    relay = start_relay(target.text, on=("vsock", *OTHERS), command=OURS)
    with conversing(target):
        expect_complete(relay)
    assert {record["target"] for record in relay.records} == {target.text}


@pytest.mark.parametrize("kind", OTHERS)
def test_every_byte_from_a_machine(
    start_relay: StartRelay, make_target: MakeTarget, kind: str
) -> None:
    target = make_target(kind)
    relay = start_relay(target.text, on=("vsock",), command=OURS)
    with conversing(target):
        expect_complete(relay)
    # Who it was: a machine and the port that its kernel chose.
    assert all(record["client"].startswith(f"vsock:{LOOPBACK_CID}:") for record in relay.records)


@pytest.mark.parametrize(
    ("listener", "kind"), [("vsock", "vsock"), ("vsock", "unix"), ("tcp", "vsock")]
)
def test_each_side_may_end_first(
    start_relay: StartRelay, make_target: MakeTarget, listener: str, kind: str
) -> None:
    target = make_target(kind)
    relay = start_relay(target.text, on=(listener,), command=OURS)
    expect_each_side_may_end_first(relay, target)


def test_a_port_on_which_nobody_listens_is_given_up_in_time(start_relay: StartRelay) -> None:
    with listen("vsock", None) as gone:
        port = gone.getsockname()[1]
    relay = start_relay("--connect-timeout=1", f"vsock:{LOOPBACK_CID}:{port}", command=OURS)
    began = time.monotonic()
    relay.connect().expect_reset()
    assert 0.9 < time.monotonic() - began < 30
    record = relay.wait_for_record()
    assert record["outcome"] == "target-unreachable"
    assert f"vsock:{LOOPBACK_CID}:{port}: Connection reset" in record["reason"]


def test_a_port_that_is_listened_on_late_is_reached(start_relay: StartRelay) -> None:
    with listen("vsock", None) as gone:
        port = gone.getsockname()[1]
    relay = start_relay("--connect-timeout=60", f"vsock:{LOOPBACK_CID}:{port}", command=OURS)
    client = relay.connect()
    client.send(b"early")
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as listening:
        listening.bind((socket.VMADDR_CID_ANY, port))
        listening.listen(8)
        listening.settimeout(60)
        server, _ = listening.accept()
        with server:
            assert server.recv(5, socket.MSG_WAITALL) == b"early"
            server.sendall(b"late")
            assert client.receive(4) == b"late"


def test_a_machine_that_is_not_there(start_relay: StartRelay) -> None:
    """No transport leads to it: told at once, and given up in time."""
    relay = start_relay("--connect-timeout=1", "vsock:4242:1", command=OURS)
    relay.connect().expect_reset()
    record = relay.wait_for_record()
    assert record["outcome"] in ("target-unreachable", "target-timeout")
    assert record["reason"].startswith("vsock:4242:1")


@pytest.mark.parametrize(("version", "family"), [("v1", "UNKNOWN"), ("v2", "UNKNOWN")])
def test_a_proxy_header_before_the_bytes(
    start_relay: StartRelay, make_target: MakeTarget, version: str, family: str
) -> None:
    """To a machine: the client's TCP addresses. From one: the format has none for it, and the
    receiver is told just that (haproxy's proxy-protocol.txt, UNKNOWN and UNSPEC)."""
    target = make_target("vsock")
    relay = start_relay(f"--send-proxy={version}", target.text, on=("tcp", "vsock"), command=OURS)
    client = relay.connect()
    client.send(b"hello")
    client.finish()
    header = read_header(target.accept().receive_rest())
    assert (header.family, header.client, header.rest) == ("TCP4", client.address, b"hello")

    client = relay.connect(1)
    client.send(b"hello")
    client.finish()
    header = read_header(target.accept().receive_rest())
    assert (header.family, header.client, header.rest) == (family, None, b"hello")


def test_machines_are_counted_as_clients(start_relay: StartRelay, make_target: MakeTarget) -> None:
    """By their context id, whatever the port."""
    target = make_target("unix")
    relay = start_relay("--connections-per-client=1", target.text, on=("vsock",), command=OURS)
    first = relay.connect()
    first.send(b"x")
    server = target.accept()
    assert server.receive(1) == b"x"
    assert relay.connect().receive_rest_unless_reset() == b""
    assert relay.wait_for_record()["outcome"] == "refused-client-limit"
    first.finish()
    server.expect_end()
    server.finish()
    first.expect_end()
    assert relay.wait_for_record(1)["outcome"] == "complete"
    again = relay.connect()
    again.send(b"y")
    assert target.accept().receive(1) == b"y"


def test_in_a_supervisor_s_snapshot() -> None:
    """A listener on a machine's port and a target on another, as `cloister up` asks for them."""
    with listen("vsock", None) as gone:
        port = gone.getsockname()[1]

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    async def test() -> None:
        behind = listen("vsock", None)
        behind.setblocking(False)
        server = await asyncio.start_server(echo, sock=behind)
        bound = bind_listener(VsockAddress(None, port), SocketOptions())
        wanted = snapshot(Vsock(*reachable(behind)))
        async with server, door("vsock") as process:
            with contextlib.closing(bound):
                await process.apply(wanted, [bound.socket.fileno()])
                client = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
                client.setblocking(False)
                await asyncio.get_running_loop().sock_connect(client, (LOOPBACK_CID, port))
                reader, writer = await asyncio.open_connection(sock=client)
                writer.write(b"hello")
                assert await reader.read() == b"hello"
                writer.close()

    asyncio.run(asyncio.wait_for(test(), 60))
