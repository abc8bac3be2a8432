"""Connections that reach the door together are handed off together, each to its own target."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.alerts import Alert, expect_alert
from tests.support.door import Door, DoorOptions, client_text
from tests.support.handoff import HandedOff, HandoffTarget, silent_socket
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer
from tests.support.streams import Stream
from tests.support.waiting import wait_until

from cloister.handoff import CONNECTIONS_LIMIT, HandedOffSocket, parse_all

LENGTH = 5000


@pytest.fixture
def door(start_door: StartDoor) -> Door:
    return start_door(DoorOptions(workers=1))


def threads_of(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def is_stopped(thread: Path) -> bool:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextlib.contextmanager
def stopped(door: Door) -> Iterator[None]:
    """What its clients do meanwhile, the door finds at once."""
    os.kill(door.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: all(map(is_stopped, threads_of(door.pid))), what="a door at a halt")
        yield
    finally:
        os.kill(door.pid, signal.SIGCONT)


def hello(name: str) -> bytes:
    return Hello(name.encode()).records()


def warm(door: Door, target: HandoffTarget, name: str) -> None:
    """The first connection of a name goes alone: by it the door knows what the name wants."""
    with door.connect() as client:
        client.send(hello(name))
        assert target.accept().receive(len(hello(name))) == hello(name)
    door.wait_for_record(lambda record: record["outcome"] == "handed-off")


def connect_together(door: Door, names: Sequence[str]) -> list[Peer]:
    """Clients that the door finds in one batch; their numbers seed what they send."""
    clients = []
    with stopped(door):
        for number, name in enumerate(names):
            client = door.connect()
            client.send(hello(name) + Stream(number).read(LENGTH))
            clients.append(client)
    return clients


def close_all(peers: Sequence[Peer]) -> None:
    for peer in peers:
        peer.close()


def expect_own(served: HandedOff, clients: Sequence[Peer], names: Sequence[str]) -> int:
    """The client whose connection this is; its bytes pass both ways."""
    number = next(n for n, client in enumerate(clients) if client.address == served.client)
    assert served.said.server_name == names[number]
    sent = hello(names[number]) + Stream(number).read(LENGTH)
    assert served.receive(len(sent)) == sent
    served.send(Stream(number + 1000).read(LENGTH))
    assert clients[number].receive(LENGTH) == Stream(number + 1000).read(LENGTH)
    return number


def receive_message(listening: socket.socket) -> list[HandedOff]:
    """One message, taken by hand."""
    control, _ = listening.accept()
    with control:
        message, descriptors, flags, _ = socket.recv_fds(control, 4096, CONNECTIONS_LIMIT)
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        assert not control.recv(1), "one message and no more"
    taken = []
    for descriptor, said in zip(descriptors, parse_all(message), strict=True):
        connection = HandedOffSocket(fileno=descriptor)
        connection.handoff = said
        taken.append(HandedOff(connection, connection.getpeername()))
    return taken


def descriptors_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_many_clients_of_one_host(door: Door, hosts: HostsDirectory) -> None:
    names = ["one.example"] * 100
    with HandoffTarget.of(hosts, "one.example") as target:
        warm(door, target, "one.example")
        before = descriptors_of(door.pid)
        clients = connect_together(door, names)
        numbers = [expect_own(target.accept(), clients, names) for _ in clients]
        assert sorted(numbers) == list(range(100))
        wait_until(lambda: descriptors_of(door.pid) == before, what="nothing kept")
        records = door.wait_for_records(101)[1:]
        assert {record["outcome"] for record in records} == {"handed-off"}
        logged = {record["client"] for record in records}
        assert logged == {client_text(client.address) for client in clients}
        close_all(clients)


def test_one_message_brings_what_came_together(door: Door, hosts: HostsDirectory) -> None:
    """Two hosts in one batch: a message for each, in the order in which the clients came."""
    names = ["one.example", "two.example"] * 5
    for name in names[:2]:
        with HandoffTarget.of(hosts, name) as target:
            warm(door, target, name)
    with contextlib.ExitStack() as stack:
        paths = [hosts.folder(name) / "handoff-socket" for name in names[:2]]
        targets = [stack.enter_context(silent_socket(path, backlog=16)) for path in paths]
        clients = connect_together(door, names)
        for first, target in enumerate(targets):
            taken = receive_message(target)
            numbers = [expect_own(served, clients, names) for served in taken]
            assert numbers == list(range(first, 10, 2))
            close_all(taken)
        close_all(clients)


def test_a_client_that_goes_away_meanwhile(door: Door, hosts: HostsDirectory) -> None:
    names = ["one.example"] * 8
    with HandoffTarget.of(hosts, "one.example") as target:
        warm(door, target, "one.example")
        clients = [door.connect() for _ in names]
        aborted = clients[3].address
        for client in clients:
            client.send(hello("one.example")[:20])
            client.expect_silence(0.01)
        with stopped(door):
            clients[3].abort()
            for number, client in enumerate([*clients[:3], *clients[4:]]):
                client.send(hello("one.example")[20:] + Stream(number).read(LENGTH))
        left = [*clients[:3], *clients[4:]]
        numbers: list[int] = []
        while len(numbers) < len(left):
            served = target.accept()
            if served.client != aborted:
                numbers.append(expect_own(served, left, names))
        assert sorted(numbers) == list(range(7))
        door.wait_for_records(9)
        close_all(clients)


def test_a_batch_that_nobody_takes(door: Door, hosts: HostsDirectory) -> None:
    """Each is relayed where there is a way, else told: as if it had come alone."""
    names = ["one.example"] * 10
    with HandoffTarget.of(hosts, "one.example") as target:
        warm(door, target, "one.example")
    path = hosts.folder("one.example") / "handoff-socket"
    silent_socket(path, backlog=1).close()
    clients = connect_together(door, names)
    for client in clients:
        expect_alert(client, Alert.UNRECOGNIZED_NAME)
    close_all(clients)
    outcomes = [record["outcome"] for record in door.wait_for_records(11)]
    assert outcomes == ["handed-off"] + ["target-unreachable"] * 10
    with hosts.listen("one.example") as relayed:
        clients = connect_together(door, names)
        expected = {hello("one.example") + Stream(n).read(LENGTH) for n in range(10)}
        served = [relayed.accept() for _ in names]
        assert {one.receive(len(min(expected))) for one in served} == expected
        close_all(served)
        close_all(clients)


def test_a_queue_with_room_for_one_message(start_door: StartDoor, hosts: HostsDirectory) -> None:
    door = start_door(DoorOptions(workers=1, connect_timeout=20))
    names = ["one.example"] * 40
    with HandoffTarget.of(hosts, "one.example", backlog=0) as target:
        warm(door, target, "one.example")
        clients = connect_together(door, names)
        numbers = [expect_own(target.accept(), clients, names) for _ in clients]
        assert sorted(numbers) == list(range(40))
        close_all(clients)


def test_more_in_flight_than_the_kernel_allows(
    as_root: None, start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """ETOOMANYREFS for a batch: every client of it is told, none is left."""
    door = start_door(DoorOptions(descriptors=60, connect_timeout=0.3, workers=1))
    with HandoffTarget.of(hosts, "one.example") as target:
        warm(door, target, "one.example")
    path = hosts.folder("one.example") / "handoff-socket"
    with silent_socket(path, backlog=200):
        clients = []
        for _ in range(20):
            clients += connect_together(door, ["one.example"] * 8)
            records = door.wait_for_records(1 + len(clients))
            if records[-1]["outcome"] == "target-timeout":
                break
        outcomes = [str(record["outcome"]) for record in door.records[1:]]
        assert set(outcomes) == {"handed-off", "target-timeout"}
        for client in clients[-8:]:
            address = client_text(client.address)
            record = door.wait_for_record(lambda record, a=address: record["client"] == a)  # type: ignore[misc]
            if record["outcome"] == "target-timeout":
                expect_alert(client, Alert.INTERNAL_ERROR)
    close_all(clients)


def test_a_limit_counts_nobody_who_only_waits(start_door: StartDoor, hosts: HostsDirectory) -> None:
    """Handed off, a connection counts no longer; a batch refuses nobody who would have come in
    alone."""
    names = ["one.example"] * 40
    door = start_door(DoorOptions(workers=1, connections=4))
    with HandoffTarget.of(hosts, "one.example") as target:
        warm(door, target, "one.example")
        clients = connect_together(door, names)
        numbers = [expect_own(target.accept(), clients, names) for _ in clients]
        assert sorted(numbers) == list(range(40))
        close_all(clients)
