"""The relay is a pipe: bytes, ends and resets arrive as they were sent, in both directions."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.support.door import Door
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer
from tests.support.streams import Stream
from tests.support.waiting import wait_until

HELLO = Hello(b"one.example").records()


@dataclass(frozen=True, slots=True)
class Relayed:
    """Both ends of one relayed connection; the hello has gone through."""

    client: Peer
    target: Peer


@contextlib.contextmanager
def relayed(door: Door, hosts: HostsDirectory) -> Iterator[Relayed]:
    with (
        hosts.listen("one.example") as listener,
        door.connect() as client,
    ):
        client.send(HELLO)
        with listener.accept() as target:
            assert target.receive(len(HELLO)) == HELLO
            yield Relayed(client, target)


@pytest.fixture
def pair(door: Door, hosts: HostsDirectory) -> Iterator[Relayed]:
    with relayed(door, hosts) as pair:
        yield pair


def test_bytes_go_both_ways(pair: Relayed) -> None:
    for number in range(200):
        question = Stream(number).read(number * 37 % 3_000 + 1)
        pair.client.send(question)
        assert pair.target.receive(len(question)) == question
        answer = Stream(number + 1_000).read(number * 101 % 5_000 + 1)
        pair.target.send(answer)
        assert pair.client.receive(len(answer)) == answer


def test_the_target_may_speak_first(pair: Relayed) -> None:
    pair.target.send(b"first")
    assert pair.client.receive(5) == b"first"


def test_the_client_ends_first(pair: Relayed, door: Door) -> None:
    pair.client.send(b"last")
    pair.client.finish()
    assert pair.target.receive_rest() == b"last"
    pair.client.expect_silence()
    pair.target.send(b"answer")
    assert pair.client.receive(6) == b"answer"
    pair.target.send(b" and its end")
    pair.target.finish()
    assert pair.client.receive_rest() == b" and its end"
    assert door.wait_for_record()["outcome"] == "complete"


def test_the_target_ends_first(pair: Relayed, door: Door) -> None:
    pair.target.send(b"last")
    pair.target.finish()
    assert pair.client.receive_rest() == b"last"
    pair.target.expect_silence()
    pair.client.send(b"more")
    assert pair.target.receive(4) == b"more"
    pair.client.send(b" and its end")
    pair.client.finish()
    assert pair.target.receive_rest() == b" and its end"
    assert door.wait_for_record()["outcome"] == "complete"


def test_the_client_s_end_comes_with_its_hello(door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as listener, door.connect() as client:
        client.send(HELLO)
        client.finish()
        with listener.accept() as target:
            assert target.receive_rest() == HELLO
            target.send(b"answer")
            target.finish()
            assert client.receive_rest() == b"answer"
    assert door.wait_for_record()["outcome"] == "complete"


def test_both_end_at_once(door: Door, hosts: HostsDirectory) -> None:
    for number in range(50):
        with relayed(door, hosts) as pair:
            pair.client.send(b"c")
            pair.target.send(b"t")
            pair.client.finish()
            pair.target.finish()
            assert pair.client.receive_rest() == b"t"
            assert pair.target.receive_rest() == b"c"
        records = door.wait_for_records(number + 1)
        assert records[-1]["outcome"] == "complete"


@pytest.mark.parametrize("length", [1, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 5_000_001])
def test_no_byte_is_lost_before_an_end(length: int, pair: Relayed) -> None:
    """The end follows hard on the last byte, through buffers, pipes and splices."""
    sent = Stream(length).read(length)

    def send_and_end(sender: Peer, receiver: Peer) -> bytes:
        received = bytearray()
        view = memoryview(sent)
        while view:
            sender.socket.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                view = view[sender.socket.send(view) :]
            received += receiver.receive_pending() or b""
        sender.socket.settimeout(10)
        sender.finish()
        return bytes(received) + receiver.receive_rest()

    assert send_and_end(pair.client, pair.target) == sent
    assert send_and_end(pair.target, pair.client) == sent


def test_the_target_closes_while_the_client_still_listens(pair: Relayed, door: Door) -> None:
    """A server that closes after its answer: all of it arrives, and then the end."""
    answer = Stream(5).read(200_000)
    pair.client.finish()
    pair.target.expect_end()
    pair.target.send(answer[:100_000])
    received = pair.client.receive(100_000)
    pair.target.send(answer[100_000:])
    pair.target.close()
    assert received + pair.client.receive_rest() == answer
    assert door.wait_for_record()["outcome"] == "complete"


def test_a_reset_by_the_client_reaches_the_target(pair: Relayed, door: Door) -> None:
    pair.client.send(b"never answered")
    assert pair.target.receive(14) == b"never answered"
    pair.client.abort()
    # A Unix socket has no reset to send; what can be seen is the end, in both directions.
    assert pair.target.receive_rest_unless_reset() == b""
    wait_until(lambda: pair.target.is_refused(b"into the void"), what="sending fails")
    assert door.wait_for_record()["outcome"] == "client-aborted"


def test_a_reset_by_the_target_reaches_the_client(pair: Relayed, door: Door) -> None:
    pair.client.send(b"never read")
    pair.client.send(b"never read")
    pair.target.receive(1)
    # unix(7): closing with unread bytes resets the other side.
    pair.target.close()
    pair.client.expect_reset()
    assert door.wait_for_record()["outcome"] == "target-aborted"


def test_a_target_that_dies_after_its_end_is_a_plain_end(pair: Relayed, door: Door) -> None:
    pair.target.send(b"bye")
    pair.target.close()
    assert pair.client.receive(3) == b"bye"
    pair.client.expect_end()
    pair.client.close()
    assert door.wait_for_record()["outcome"] in {"complete", "target-aborted"}
