"""Peers that stall, vanish, reset or close at once: each costs its own connection only."""

import contextlib
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.crowds import Footprint, good_client
from tests.support.door import Door, DoorOptions
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer
from tests.support.processes import wake_ups
from tests.support.waiting import wait_until

HELLO = Hello(b"one.example").records()
IDLE = DoorOptions(idle_timeout=0.5)
BLOCK = bytes(1 << 18)


def send_while_taken(peer: Peer) -> int:
    """Sends until the connection is broken from outside; how much was taken."""
    sent = 0
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        while True:
            sent += peer.socket.send(BLOCK)
            assert sent < 1 << 30, "the door takes bytes that nobody reads"
    return sent


@pytest.mark.parametrize("reader", ["client", "target"])
def test_a_stalled_reader_is_cut_by_the_idle_time_out(
    reader: str, start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """Of a gibibyte only what buffers hold is taken; then the other end is freed as well."""
    door = start_door(IDLE)
    before = Footprint.of(door)
    with hosts.listen("one.example") as listener, door.connect() as client:
        client.send(HELLO)
        with listener.accept() as target:
            target.receive(len(HELLO))
            sent = send_while_taken(target if reader == "client" else client)
            assert sent < 64 << 20
            assert door.wait_for_record()["outcome"] == "idle-timeout"
    before.expect_again(door)


def test_a_stalled_writer_is_cut_by_the_idle_time_out(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """A hundred conversations that stop in the middle; the good one goes on."""
    door = start_door(IDLE)
    before = Footprint.of(door)
    with (
        hosts.listen("one.example") as listener,
        good_client(door, hosts) as good,
        contextlib.ExitStack() as stack,
    ):
        clients = [stack.enter_context(door.connect()) for _ in range(100)]
        for client in clients:
            client.send(HELLO + b"GET /")
            listener.accept()
        wait_until(lambda: good.rounds(5) and len(door.records) == len(clients), what="all are cut")
        for client in clients:
            client.expect_reset()
        assert good.rounds(50)
    door.wait_for_records(101)
    assert [record["outcome"] for record in door.records].count("idle-timeout") == 100
    before.expect_again(door)


def test_idle_connections_wake_the_door_once_each(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """Until their time-out nothing happens at all, and then each is one entry of a timer."""
    door = start_door(DoorOptions(idle_timeout=2, workers=1))
    with hosts.listen("one.example") as listener, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(door.connect()).send(HELLO)
            listener.accept().receive(len(HELLO))
        woken = wake_ups(door.pid)
        with pytest.raises(AssertionError, match="did not come true"):
            # A few looks into the listeners' queues follow twenty connections at once.
            wait_until(lambda: wake_ups(door.pid) - woken > 15, seconds=1, what="the door wakes")
        door.wait_for_records(20)
        assert wake_ups(door.pid) - woken <= 100


def test_targets_that_reset_or_close_at_once(start_door: StartDoor, hosts: HostsDirectory) -> None:
    door = start_door()
    before = Footprint.of(door)
    with hosts.listen("one.example") as listener, good_client(door, hosts) as good:
        for number in range(400):
            with door.connect() as client:
                client.send(HELLO + b"more")
                target = listener.accept()
                if number % 2:
                    # Closed with the hello unread: unix(7) makes that a reset.
                    target.receive(1)
                target.close()
                assert client.receive_rest_unless_reset() == b""
        assert good.rounds(100)[98] < 1
    records = door.wait_for_records(401)
    assert {record["outcome"] for record in records} <= {"target-aborted", "complete"}
    before.expect_again(door)


class Link:
    """A network of its own for a client, whose cable can be pulled."""

    HOST, CLIENT = "10.213.57.1", "10.213.57.2"

    def __init__(self) -> None:
        self._name = f"cloister-{uuid.uuid4().hex[:6]}"
        self._device = self._name[-8:]
        self._run("ip", "netns", "add", self._name)
        peer = f"{self._device}p"
        self._run("ip", "link", "add", self._device, "type", "veth", "peer", "name", peer)
        self._run("ip", "link", "set", peer, "netns", self._name)
        self._run("ip", "addr", "add", f"{self.HOST}/30", "dev", self._device)
        self._run("ip", "link", "set", self._device, "up")
        self.inside("ip", "addr", "add", f"{self.CLIENT}/30", "dev", peer)
        self.inside("ip", "link", "set", peer, "up")

    def inside(self, *command: str) -> None:
        self._run("ip", "netns", "exec", self._name, *command)

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            ["ip", "netns", "exec", self._name, *command], stdin=subprocess.PIPE
        )

    def pull(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._run("ip", "link", "set", self._device, "down")

    def close(self) -> None:
        subprocess.run(["ip", "link", "del", self._device], check=False)
        subprocess.run(["ip", "netns", "del", self._name], check=False)

    @staticmethod
    def _run(*command: str) -> None:
        subprocess.run(command, check=True)


@pytest.fixture
def link(as_root: None) -> Iterator[Link]:
    try:
        link = Link()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine gives no network namespace: {error}")
    try:
        yield link
    finally:
        link.close()


CLIENT_PROGRAM = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
connection.sendall(bytes.fromhex(sys.argv[3]))
sys.stdin.read()
"""


def test_a_client_that_vanishes_without_a_word_is_cleared(
    link: Link, hosts: HostsDirectory
) -> None:
    """The cable is pulled: no FIN, no RST, ever. The idle time-out frees both ends."""
    with socket.create_server((Link.HOST, 0)) as listening:
        door = Door(listening, hosts.path, options=DoorOptions(idle_timeout=1))
        try:
            door.wait_until_serving()
            before = Footprint.of(door)
            port = str(listening.getsockname()[1])
            with hosts.listen("one.example") as listener:
                client = link.start(
                    sys.executable, "-c", CLIENT_PROGRAM, Link.HOST, port, HELLO.hex()
                )
                with client, listener.accept() as target:
                    target.receive(len(HELLO))
                    link.pull()
                    target.send(b"an answer that nobody acknowledges")
                    assert door.wait_for_record()["outcome"] == "idle-timeout"
                    target.socket.settimeout(10)
                    assert target.receive_rest_unless_reset() == b""
                    client.kill()
            before.expect_again(door)
        finally:
            door.kill()
