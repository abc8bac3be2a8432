"""Hellos that never end, by the thousand: little memory for each, and nobody else waits."""

import socket
import time

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.alerts import Alert, alert_record
from tests.support.crowds import MEBIBYTE, Footprint, crowd, good_client
from tests.support.door import DoorOptions
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory
from tests.support.processes import processor_seconds, resident_bytes
from tests.support.waiting import wait_until

HELLO = Hello(b"one.example").records()
NUMBER = 1000
LARGE = Hello(b"one.example", padding=16_000).records()


def test_slow_hellos_by_the_thousand(start_door: StartDoor, hosts: HostsDirectory) -> None:
    """A thousand clients that send a byte now and then, and one that means it."""
    door = start_door(DoorOptions(hello_timeout=4))
    before = Footprint.of(door)
    with good_client(door, hosts) as good, crowd(door, NUMBER) as clients:
        used, begun = processor_seconds(door.pid), time.monotonic()
        for position in range(5):
            for client in clients:
                assert not client.is_refused(HELLO[position : position + 1])
            durations = good.rounds(100)
            assert durations[98] < 1, "the good client waits for the slow ones"
        # 5,000 arrivals of a byte: generous where a loop would burn whole seconds.
        assert processor_seconds(door.pid) - used < 0.5 * (time.monotonic() - begun)
        waiting = resident_bytes(door.pid) - before.memory
        assert waiting / NUMBER < 2048, "user memory of a waiting hello"
        for client in clients:
            assert client.receive_rest() == alert_record(Alert.USER_CANCELED)
    records = door.wait_for_records(NUMBER + 1)
    assert sum(record["outcome"] == "hello-timeout" for record in records) == NUMBER
    before.expect_again(door)


def test_large_hellos_by_the_thousand(start_door: StartDoor, hosts: HostsDirectory) -> None:
    """Almost 16 KiB of each and never the last byte."""
    assert len(LARGE) > 16_000
    door = start_door(DoorOptions(hello_timeout=30))
    before = Footprint.of(door)
    with good_client(door, hosts) as good, crowd(door, NUMBER) as clients:
        for client in clients:
            assert not client.is_refused(LARGE[:-1])
        assert good.rounds(100)[98] < 1
        waiting = resident_bytes(door.pid) - before.memory
        assert waiting < NUMBER * 20 * 1024, "at most the hello and what reading it needs"
    door.wait_for_records(NUMBER + 1)
    before.expect_again(door)


@pytest.mark.parametrize("last_words", [b"", b"\x16", HELLO[:-1], HELLO], ids=len)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_storms_of_connections_that_end_at_once(
    last_words: bytes, end: str, start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """A thousand come and go, with FIN or with RST, before, within and after their hello."""
    door = start_door()
    before = Footprint.of(door)
    with good_client(door, hosts) as good:
        for _ in range(NUMBER // 100):
            for _ in range(100):
                client = door.connect()
                client.is_refused(last_words)
                if end == "close":
                    client.close()
                else:
                    client.abort()
            assert good.rounds(10)[-1] < 1
    # A reset in the listener's queue may take its connection along unseen.
    wait_until(lambda: len(door.records) > NUMBER // 2, what="most were taken and ended")
    before.expect_again(door)
    assert "internal" not in {record["outcome"] for record in door.records}


def test_urgent_data_alone_is_no_hello(start_door: StartDoor, hosts: HostsDirectory) -> None:
    """Out-of-band bytes are no part of the stream: they end nothing and wake nobody often."""
    door = start_door(DoorOptions(hello_timeout=1))
    with crowd(door, 50) as clients:
        used = processor_seconds(door.pid)
        for _ in range(20):
            for client in clients:
                client.socket.send(b"!", socket.MSG_OOB)
        assert processor_seconds(door.pid) - used < 1
        for client in clients:
            assert client.receive_rest_unless_reset()[:1] in {b"", b"\x15"}
    outcomes = {record["outcome"] for record in door.wait_for_records(50)}
    assert outcomes <= {"hello-timeout", "refused-hello", "client-aborted"}


def test_garbage_by_the_thousand(start_door: StartDoor, hosts: HostsDirectory) -> None:
    """Bytes of no protocol, much of them: answered by an alert, never kept."""
    door = start_door()
    before = Footprint.of(door)
    with good_client(door, hosts) as good:
        for number in range(20):
            with crowd(door, 50) as clients:
                for client in clients:
                    client.is_refused(bytes([number * 13 % 256]) * 20_000)
                for client in clients:
                    assert client.receive_rest_unless_reset()[:1] in {b"", b"\x15"}
        assert good.rounds(100)[98] < 1
    before.expect_again(door, slack=3 * MEBIBYTE)
