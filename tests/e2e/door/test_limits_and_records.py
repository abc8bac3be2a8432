"""The connection limit, and the one line that each connection leaves."""

import socket
import time

from tests.e2e.door.conftest import StartDoor
from tests.support.door import Door, DoorOptions, client_text
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory
from tests.support.processes import descriptor_count, processor_seconds
from tests.support.waiting import wait_until

HELLO = Hello(b"one.example", alpn=(b"h2", b"http/1.1")).records()

FIELDS = {
    "time_us": int,
    "listener": str,
    "client": str,
    "name": str | None,
    "alpn": list,
    "app": str | None,
    "target": str | None,
    "bytes_to_target": int,
    "bytes_to_client": int,
    "duration_us": int,
    "outcome": str,
    "reason": str | None,
}


def test_a_record_says_what_happened(door: Door, hosts: HostsDirectory) -> None:
    before = time.time()
    with hosts.listen("one.example") as target, door.connect() as client:
        address = client_text(client.address)
        client.send(HELLO + b"question")
        with target.accept() as served:
            served.receive(len(HELLO) + 8)
            client.expect_silence(0.2)
            served.send(b"the answer")
            client.receive(10)
            client.finish()
            served.expect_end()
        client.expect_end()
    record = door.wait_for_record()
    assert set(record) == set(FIELDS)
    assert all(isinstance(record[field], kind) for field, kind in FIELDS.items())
    assert before <= record["time_us"] / 1e6 <= time.time()
    assert 200_000 <= record["duration_us"] <= (time.time() - before) * 1e6
    assert record["listener"]
    assert record["client"] == address
    assert record["name"] == "one.example"
    assert record["alpn"] == ["h2", "http/1.1"]
    assert record["app"] is None
    assert record["target"].endswith("one.example/tls-socket")
    assert record["target"].startswith("unix:")
    assert record["bytes_to_target"] == len(HELLO) + 8
    assert record["bytes_to_client"] == 10
    assert record["outcome"] == "complete"
    assert record["reason"] is None


def test_an_ipv6_client_is_written_in_brackets(
    start_door: StartDoor, listening_ipv6: socket.socket, hosts: HostsDirectory
) -> None:
    door = start_door(on=listening_ipv6)
    with hosts.listen("one.example") as target, door.connect() as client:
        address = client_text(client.address)
        client.send(HELLO)
        target.accept().close()
    record = door.wait_for_record()
    assert record["client"] == address
    assert address.startswith("[::1]:")


def test_protocols_that_are_no_text_do_not_break_the_line(
    door: Door, hosts: HostsDirectory
) -> None:
    hello = Hello(alpn=(b'"\\\n', b"\x00\x1b[2J", b"\xff\xfe")).records()
    with hosts.listen("one.example") as target, door.connect() as client:
        client.send(hello)
        target.accept().close()
    record = door.wait_for_record()
    assert record["alpn"][:2] == ['"\\\n', "\x00\x1b[2J"]
    assert len(record["alpn"]) == 3


def test_the_socket_comes_by_listen_fds(start_door: StartDoor, hosts: HostsDirectory) -> None:
    door = start_door(passing="listen-fds")
    with hosts.listen("one.example") as target, door.connect() as client:
        client.send(HELLO)
        with target.accept() as served:
            assert served.receive(len(HELLO)) == HELLO
    assert door.wait_for_record()["listener"] == "https"


def test_one_connection_more_than_the_limit_is_closed_at_once(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    door = start_door(DoorOptions(connections=4))
    with hosts.listen("one.example") as target:
        pairs = []
        for _ in range(4):
            client = door.connect()
            client.send(HELLO)
            pairs.append((client, target.accept()))
        for number in range(3):
            door.expect_refused_at_once()
            records = door.wait_for_records(number + 1)
            assert records[-1]["outcome"] == "refused-limit"
        assert not target.is_contacted()

        # One goes, and there is room for one again.
        client, served = pairs.pop()
        client.close()
        served.close()
        door.wait_for_records(4)
        with door.connect() as client:
            client.send(HELLO)
            with target.accept() as served:
                assert served.receive(len(HELLO)) == HELLO
        for client, served in pairs:
            client.send(b"undisturbed")
            assert served.receive(len(HELLO) + 11)[-11:] == b"undisturbed"
            client.close()
            served.close()
    wait_until(lambda: len(door.records) == 8, what="eight records")


def test_a_door_without_descriptors_left_recovers(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """EMFILE: it neither dies nor turns in circles, and goes on when descriptors return."""
    limit = 60
    door = start_door(DoorOptions(descriptors=limit))
    idle = descriptor_count(door.pid)
    with hosts.listen("one.example") as target:
        clients = [door.connect() for _ in range(100)]
        for client in clients:
            client.send(b"\x16")
        # It keeps what those that it has taken will need for their target.
        wait_until(lambda: descriptor_count(door.pid) >= idle + 8, what="it holds what it can")
        used, begun = processor_seconds(door.pid), time.monotonic()
        clients[-1].expect_silence(0.5)
        assert processor_seconds(door.pid) - used < 0.5 * (time.monotonic() - begun)
        for client in clients:
            client.close()
        wait_until(lambda: len(door.records) == len(clients), what="all have been taken and ended")
        wait_until(lambda: descriptor_count(door.pid) <= idle, what="the descriptors are back")
        with door.connect() as client:
            client.send(HELLO)
            with target.accept() as served:
                assert served.receive(len(HELLO)) == HELLO


def test_a_door_short_of_descriptors_serves_everybody_in_turn(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """What it takes it can also connect: the others wait in the listener's queue."""
    door = start_door(DoorOptions(descriptors=60))
    with hosts.listen("one.example") as target:
        clients = [door.connect() for _ in range(100)]
        for client in clients:
            client.send(HELLO)
            client.finish()
        for _ in clients:
            with target.accept() as served:
                assert served.receive_rest() == HELLO
                served.send(b"served")
        for client in clients:
            assert client.receive_rest() == b"served"
            client.close()
        wait_until(lambda: len(door.records) == len(clients), what="all have ended")
    assert {record["outcome"] for record in door.records} == {"complete"}
