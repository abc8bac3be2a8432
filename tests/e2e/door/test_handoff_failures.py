"""Targets that do not take what is handed off: relayed where there is a way, else told."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.alerts import Alert, expect_alert
from tests.support.door import Door, DoorOptions
from tests.support.handoff import HandoffTarget, silent_socket
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer, UnixListener

HELLO = Hello(b"one.example").records()


@contextlib.contextmanager
def broken_socket(kind: str, path: Path) -> Iterator[None]:
    match kind:
        case "dead":
            silent_socket(path, backlog=1).close()
            yield
        case "stream":
            with UnixListener(path):
                yield
        case "file":
            path.write_text("")
            yield
        case "forbidden":
            with silent_socket(path, backlog=16):
                path.chmod(0o600)
                yield


def expect_relayed(client: Peer, target: UnixListener) -> None:
    served = target.accept()
    assert served.receive(len(HELLO)) == HELLO
    served.send(b"answer")
    assert client.receive(6) == b"answer"


@pytest.mark.parametrize("kind", ["dead", "stream", "file", "forbidden"])
def test_a_broken_handoff_socket(
    kind: str, as_root: None, door: Door, hosts: HostsDirectory
) -> None:
    with broken_socket(kind, hosts.folder("one.example") / "handoff-socket"):
        with door.connect() as client:
            client.send(HELLO)
            expect_alert(client, Alert.UNRECOGNIZED_NAME)
        record = door.wait_for_record()
        assert record["outcome"] == "target-unreachable"
        assert record["reason"]
        with hosts.listen("one.example") as target, door.connect() as relayed:
            relayed.send(HELLO)
            expect_relayed(relayed, target)


def test_a_full_queue_is_waited_for(start_door: StartDoor, hosts: HostsDirectory) -> None:
    door = start_door(DoorOptions(connect_timeout=20))
    with HandoffTarget.of(hosts, "one.example", backlog=0) as target:
        clients = [door.connect() for _ in range(8)]
        for client in clients:
            client.send(HELLO)
        taken = {target.accept().client for _ in clients}
        assert taken == {client.address for client in clients}


def test_a_queue_that_stays_full(start_door: StartDoor, hosts: HostsDirectory) -> None:
    door = start_door(DoorOptions(connect_timeout=0.3))
    path = hosts.folder("one.example") / "handoff-socket"
    with silent_socket(path, backlog=0), door.connect() as held, door.connect() as client:
        held.send(HELLO)
        door.wait_for_record(lambda record: record["outcome"] == "handed-off")
        client.send(HELLO)
        expect_alert(client, Alert.INTERNAL_ERROR)
        assert door.wait_for_record(lambda record: record["outcome"] == "target-timeout")
        with hosts.listen("one.example") as target, door.connect() as relayed:
            relayed.send(HELLO)
            expect_relayed(relayed, target)


def test_more_connections_in_flight_than_the_kernel_allows(
    as_root: None, start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """ETOOMANYREFS (unix(7)): no more than RLIMIT_NOFILE descriptors of a user in flight."""
    limit = 40
    door = start_door(DoorOptions(descriptors=limit, connect_timeout=0.3, workers=1))
    path = hosts.folder("one.example") / "handoff-socket"
    with silent_socket(path, backlog=4 * limit):
        in_flight = []
        for number in range(1, 2 * limit):
            client = door.connect()
            client.send(HELLO)
            if door.wait_for_records(number)[-1]["outcome"] != "handed-off":
                break
            in_flight.append(client)
        assert limit <= len(in_flight) <= limit + 2
        assert door.records[-1]["outcome"] == "target-timeout"
        expect_alert(client, Alert.INTERNAL_ERROR)
        with hosts.listen("one.example") as target, door.connect() as relayed:
            relayed.send(HELLO)
            expect_relayed(relayed, target)
    for client in in_flight:
        assert client.receive_rest_unless_reset() == b"", "the kernel closes it"


TAKER = """
import signal, socket, sys
listening = socket.socket(fileno=int(sys.argv[1]))
if sys.argv[2] == "accepts":
    control, _ = listening.accept()
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("does", ["waits", "accepts"])
def test_a_receiver_that_dies_before_it_takes(does: str, door: Door, hosts: HostsDirectory) -> None:
    """The kernel closes what is in flight: the client is not left hanging."""
    path = hosts.folder("one.example") / "handoff-socket"
    listening = silent_socket(path, backlog=16)
    number = listening.fileno()
    reading, writing = os.pipe()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", TAKER, str(number), does],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, number, number), (os.POSIX_SPAWN_DUP2, writing, 1)],
    )
    os.close(writing)
    listening.close()
    with door.connect() as client:
        client.send(HELLO)
        door.wait_for_record(lambda record: record["outcome"] == "handed-off")
        assert os.read(reading, 5) == b"ready"
        client.expect_silence()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        assert client.receive_rest_unless_reset() == b""


def test_a_successor_takes_what_its_predecessor_left(door: Door, hosts: HostsDirectory) -> None:
    """Somebody else holds the listening socket: nothing that waits is lost."""
    path = hosts.folder("one.example") / "handoff-socket"
    with silent_socket(path, backlog=16) as held, door.connect() as client:
        client.send(HELLO)
        door.wait_for_record(lambda record: record["outcome"] == "handed-off")
        first = held.dup()
        first.close()
        with held.dup() as successor:
            control, _ = successor.accept()
            with control:
                _, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
                with Peer(socket.socket(fileno=descriptors[0])) as served:
                    assert served.receive(len(HELLO)) == HELLO
