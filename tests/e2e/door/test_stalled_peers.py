"""Peers that stop reading cost a bounded amount of memory and disturb nobody else."""

import contextlib
import selectors
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from tests.support.door import Door
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer
from tests.support.processes import processor_seconds, resident_bytes
from tests.support.streams import Stream
from tests.support.waiting import Deadline, wait_until

MEBIBYTE = 1 << 20
COUNT = 32
HELLO = Hello(b"one.example").records()


@dataclass(frozen=True, slots=True)
class Pairs:
    clients: list[Peer]
    targets: list[Peer]


@pytest.fixture
def pairs(door: Door, hosts: HostsDirectory) -> Iterator[Pairs]:
    """Relayed connections, in the order in which their targets accepted them."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(hosts.listen("one.example"))
        pairs = Pairs([], [])
        for _ in range(COUNT):
            client = stack.enter_context(door.connect())
            client.send(HELLO)
            target = stack.enter_context(listener.accept())
            assert target.receive(len(HELLO)) == HELLO
            pairs.clients.append(client)
            pairs.targets.append(target)
        yield pairs


def send_until_full(senders: Sequence[Peer]) -> list[int]:
    """Sends each one's stream until nothing takes more for 0.3 s; how much was sent."""
    sent = [0] * len(senders)
    with selectors.DefaultSelector() as selector:
        for number, sender in enumerate(senders):
            sender.socket.setblocking(False)
            selector.register(sender.socket, selectors.EVENT_WRITE, number)
        while ready := selector.select(0.3):
            for key, _ in ready:
                number = key.data
                chunk = next(Stream(number).chunks(256 * 1024, start=sent[number]))
                with contextlib.suppress(BlockingIOError):
                    sent[number] += senders[number].socket.send(chunk)
            assert max(sent) < 64 * MEBIBYTE, "the door takes bytes that nobody reads"
    for sender in senders:
        sender.socket.settimeout(10)
    return sent


def expect_streams(receivers: Sequence[Peer], lengths: Sequence[int]) -> None:
    """Each receiver gets exactly what its sender has sent, and then the end."""
    for number, (receiver, length) in enumerate(zip(receivers, lengths, strict=True)):
        position = 0
        for chunk in Stream(number).chunks(length):
            assert receiver.receive(len(chunk)) == chunk, f"stream {number} after {position}"
            position += len(chunk)
        receiver.expect_end()


def slowest_round(client: Peer, target: Peer, *, rounds: int = 200) -> float:
    """Seconds of the slowest of some small exchanges."""
    slowest = 0.0
    for _ in range(rounds):
        begun = time.monotonic()
        client.send(b"?" * 128)
        target.receive(128)
        target.send(b"!" * 128)
        client.receive(128)
        slowest = max(slowest, time.monotonic() - begun)
    return slowest


@pytest.mark.parametrize("direction", ["to the client", "to the target"])
def test_stalled_readers(direction: str, door: Door, pairs: Pairs, hosts: HostsDirectory) -> None:
    senders, receivers = pairs.targets, pairs.clients
    if direction == "to the target":
        senders, receivers = receivers, senders
    before = resident_bytes(door.pid)
    sent = send_until_full(senders)
    assert min(sent) > 64 * 1024
    assert resident_bytes(door.pid) - before < 16 * MEBIBYTE

    # Others notice nothing, and nobody turns in circles.
    with hosts.listen("two.example") as listener, door.connect() as client:
        client.send(Hello(b"two.example").records())
        with listener.accept() as target:
            target.receive(len(Hello(b"two.example").records()))
            assert slowest_round(client, target) < 0.5
    pause, used = Deadline(0.5), processor_seconds(door.pid)
    wait_until(lambda: pause.expired, what="half a second")
    assert processor_seconds(door.pid) - used < 0.1

    for sender in senders:
        sender.finish()
    expect_streams(receivers, sent)
    assert resident_bytes(door.pid) - before < 16 * MEBIBYTE


def test_stalled_both_ways(door: Door, pairs: Pairs) -> None:
    before = resident_bytes(door.pid)
    down, up = send_until_full(pairs.targets), send_until_full(pairs.clients)
    assert resident_bytes(door.pid) - before < 24 * MEBIBYTE
    for peer in (*pairs.clients, *pairs.targets):
        peer.finish()
    expect_streams(pairs.targets, up)
    expect_streams(pairs.clients, down)


def test_stalled_connections_that_are_reset_leave_nothing(door: Door, pairs: Pairs) -> None:
    before = resident_bytes(door.pid)
    send_until_full(pairs.targets)
    for client in pairs.clients:
        client.abort()
    door.wait_for_records(COUNT)
    assert {record["outcome"] for record in door.records} == {"client-aborted"}
    assert resident_bytes(door.pid) - before < 4 * MEBIBYTE


def test_a_slow_reader_gets_every_byte(door: Door, pairs: Pairs) -> None:
    """Small reads with pauses in between: each read makes the door go on a little."""
    target, client, length = pairs.targets[0], pairs.clients[0], 3_000_001
    received, sent = bytearray(), 0
    target.socket.setblocking(False)
    while len(received) < length:
        if sent < length:
            chunk = next(Stream(0).chunks(min(100_000, length - sent), start=sent))
            with contextlib.suppress(BlockingIOError):
                sent += target.socket.send(chunk)
        received += client.socket.recv(10_007)
    assert bytes(received) == Stream(0).read(length)
