"""Connections that are handed off: the target gets them whole, and the door keeps nothing."""

import os
import socket
import threading
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.alerts import Alert, expect_alert
from tests.support.door import Door, DoorOptions, client_text
from tests.support.handoff import HandoffTarget
from tests.support.hello import Hello, browser_hello, records_of
from tests.support.peers import HostsDirectory, Peer
from tests.support.streams import Stream
from tests.support.waiting import wait_until

HELLO = Hello(b"one.example", alpn=(b"h2", b"http/1.1")).records()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_the_target_gets_the_connection_itself(door: Door, hosts: HostsDirectory) -> None:
    with HandoffTarget.of(hosts, "one.example") as target, door.connect() as client:
        client.send(HELLO + b"early")
        served = target.accept()
        assert served.client == client.address
        assert served.socket.getpeername() == client.address
        assert served.socket.getsockname() == door.listening.getsockname()
        assert served.said.server_name == "one.example"
        assert served.said.protocols == (b"h2", b"http/1.1")
        assert served.said.client is None, "the socket itself tells"
        assert served.receive(len(HELLO) + 5) == HELLO + b"early"
        served.send(b"answer")
        assert client.receive(6) == b"answer"
        record = door.wait_for_record()
        assert record["outcome"] == "handed-off"
        assert record["client"] == client_text(client.address)
        assert record["target"] == "unix:./one.example/handoff-socket"
        assert (record["bytes_to_target"], record["bytes_to_client"]) == (0, 0)


def test_the_target_learns_whom_a_proxy_named(start_door: StartDoor, hosts: HostsDirectory) -> None:
    door = start_door(DoorOptions(accept_proxy=("127.0.0.1",)), serving=False)
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
    with HandoffTarget.of(hosts, "one.example") as target, door.connect() as client:
        for piece in (header[:9], header[9:] + HELLO[:30], HELLO[30:]):
            client.send(piece)
            client.expect_silence(0.01)
        served = target.accept()
        assert served.client == served.said.client == ("192.0.2.7", 4711)
        assert served.said.server == ("198.51.100.1", 443)
        assert served.receive(len(HELLO)) == HELLO, "the header is the door's, the rest is not"
        assert door.wait_for_record()["client"] == "192.0.2.7:4711"


def test_the_door_keeps_no_part_of_it(door: Door, hosts: HostsDirectory) -> None:
    before = descriptors(door.pid)
    with HandoffTarget.of(hosts, "one.example") as target:
        for early in (b"", b"x" * 1000):
            with door.connect() as client:
                client.send(HELLO[:100])
                client.expect_silence(0.01)  # now the client is in the door's epoll set
                client.send(HELLO[100:] + early)
                served = target.accept()
                assert served.receive(len(HELLO) + len(early)) == HELLO + early
                wait_until(lambda: descriptors(door.pid) == before, what="nothing kept")
                served.close()
                client.expect_end()
    assert [record["outcome"] for record in door.wait_for_records(2)] == ["handed-off"] * 2


def test_the_connection_outlives_the_door(door: Door, hosts: HostsDirectory) -> None:
    length = 3_000_000
    up, down = Stream(1), Stream(2)
    with HandoffTarget.of(hosts, "one.example") as target, door.connect() as client:
        client.send(HELLO)
        served = target.accept()
        assert served.receive(len(HELLO)) == HELLO
        door.process.kill()
        door.wait()
        sender = threading.Thread(target=served.send, args=(down.read(length),))
        sender.start()
        try:
            assert client.receive(length) == down.read(length)
        finally:
            sender.join()
        sender = threading.Thread(target=client.send, args=(up.read(length),))
        sender.start()
        try:
            assert served.receive(length) == up.read(length)
        finally:
            sender.join()
        client.finish()
        served.expect_end()


def test_a_drain_neither_waits_for_it_nor_cuts_it(door: Door, hosts: HostsDirectory) -> None:
    with HandoffTarget.of(hosts, "one.example") as target, door.connect() as client:
        client.send(HELLO)
        served = target.accept()
        door.process.terminate()
        assert door.wait() == 0
        served.send(b"still here")
        assert client.receive(10) == b"still here"


@pytest.mark.parametrize(
    "hello",
    [browser_hello().records(), records_of(browser_hello().message(), 1), HELLO],
    ids=["browser", "records of one byte", "small"],
)
def test_a_hello_in_single_bytes(hello: bytes, door: Door, hosts: HostsDirectory) -> None:
    with HandoffTarget.of(hosts, "one.example") as target, door.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in hello:
            client.send(bytes([byte]))
        served = target.accept()
        assert served.receive(len(hello)) == hello


def test_a_door_does_not_spin_on_half_a_hello(door: Door, hosts: HostsDirectory) -> None:
    def cpu() -> int:
        fields = Path(f"/proc/{door.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    with HandoffTarget.of(hosts, "one.example") as target, door.connect() as client:
        client.send(HELLO[:-1])
        client.expect_silence(0.05)
        before = cpu()
        client.expect_silence(0.5)
        assert cpu() - before <= os.sysconf("SC_CLK_TCK") // 50, "more than 20 ms of 500"
        client.send(HELLO[-1:])
        assert target.accept().receive(len(HELLO)) == HELLO


def test_a_client_that_ends_in_its_hello_is_told(door: Door, hosts: HostsDirectory) -> None:
    with HandoffTarget.of(hosts, "one.example"), door.connect() as client:
        client.send(HELLO[:50])
        client.finish()
        expect_alert(client, Alert.DECODE_ERROR)
    assert door.wait_for_record()["outcome"] == "hello-incomplete"


def test_a_client_that_ends_after_its_hello_is_handed_off(
    door: Door, hosts: HostsDirectory
) -> None:
    with HandoffTarget.of(hosts, "one.example") as target, door.connect() as client:
        client.send(HELLO)
        client.finish()
        served = target.accept()
        assert served.receive_rest() == HELLO
        served.send(b"all of it")
        served.close()
        assert client.receive_rest() == b"all of it"


def test_a_unix_client_is_handed_off(
    start_door: StartDoor, hosts: HostsDirectory, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "listener"))
        listening.listen(16)
        door = start_door(on=listening)
        with HandoffTarget.of(hosts, "one.example") as target, door.connect() as client:
            for byte in HELLO[:20]:
                client.send(bytes([byte]))
                client.expect_silence(0.001)
            client.send(HELLO[20:])
            served = target.accept()
            assert served.receive(len(HELLO)) == HELLO
            served.send(b"answer")
            assert client.receive(6) == b"answer"


def test_a_unix_client_in_single_bytes_is_relayed_or_told(
    start_door: StartDoor, hosts: HostsDirectory, tmp_path: Path
) -> None:
    """A Unix socket's queue does not hold many single bytes: they have to be taken out."""

    def send_single_bytes(client: Peer) -> None:
        hello = browser_hello().records()
        for byte in hello:
            client.send(bytes([byte]))

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "listener"))
        listening.listen(16)
        door = start_door(DoorOptions(hello_timeout=1), on=listening)
        with HandoffTarget.of(hosts, "one.example"):
            with door.connect() as client:
                send_single_bytes(client)
                expect_alert(client, Alert.INTERNAL_ERROR)
            assert "handed off" in str(door.wait_for_record()["reason"])
            with hosts.listen("one.example") as relayed, door.connect() as client:
                send_single_bytes(client)
                hello = browser_hello().records()
                assert relayed.accept().receive(len(hello)) == hello


def test_a_hello_that_no_queue_holds_is_relayed_or_told(door: Door, hosts: HostsDirectory) -> None:
    """16 KiB of handshake in records of one byte are 96 KiB on the wire."""
    hello = records_of(Hello(b"one.example").of_length(16_000).message(), 1)
    with HandoffTarget.of(hosts, "one.example"):
        with door.connect() as client:
            client.send(hello)
            expect_alert(client, Alert.INTERNAL_ERROR)
        assert "handed off" in str(door.wait_for_record()["reason"])
        with hosts.listen("one.example") as relayed, door.connect() as client:
            client.send(hello)
            assert relayed.accept().receive(len(hello)) == hello


def test_a_large_hello_is_handed_off(door: Door, hosts: HostsDirectory) -> None:
    hello = records_of(Hello(b"one.example").of_length(16_000).message(), 1_000)
    with HandoffTarget.of(hosts, "one.example") as target, door.connect() as client:
        client.send(hello)
        assert target.accept().receive(len(hello)) == hello


def test_two_processes_share_the_connections(door: Door, hosts: HostsDirectory) -> None:
    """As a server that forks its workers does: each connection goes to one of them."""
    with HandoffTarget.of(hosts, "one.example") as target:
        child = os.fork()
        if child == 0:
            try:
                served = target.accept()
                served.send(b"child")
                served.receive_rest()
            finally:
                os._exit(0)
        with door.connect() as first:
            first.send(HELLO)
            assert first.receive(5) == b"child"
            with door.connect() as second:
                second.send(HELLO)
                assert target.accept().receive(len(HELLO)) == HELLO
        os.waitpid(child, 0)


def test_no_connection_is_confused_with_another(door: Door, hosts: HostsDirectory) -> None:
    """Many at once, on two names: each stream arrives where its hello said."""
    names = [b"one.example", b"two.example"]
    targets = [HandoffTarget.of(hosts, name.decode()) for name in names]
    clients: list[Peer] = []
    try:
        for number in range(100):
            client = door.connect()
            clients.append(client)
            hello = Hello(names[number % 2]).records()
            client.send(hello + Stream(number).read(5000))
        for number in range(100):
            served = targets[number % 2].accept()
            key = next(k for k, c in enumerate(clients) if c.address == served.client)
            assert key % 2 == number % 2
            hello = Hello(names[key % 2]).records()
            assert served.receive(len(hello) + 5000) == hello + Stream(key).read(5000)
            served.send(Stream(key + 1000).read(5000))
            assert clients[key].receive(5000) == Stream(key + 1000).read(5000)
        wait_until(lambda: len(door.records) == 100, what="100 records")
    finally:
        for target in targets:
            target.close()
