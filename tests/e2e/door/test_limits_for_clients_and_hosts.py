"""Each client and each host has its share, and never one connection more."""

import contextlib
import socket
from pathlib import Path

from tests.e2e.door.conftest import StartDoor
from tests.support.alerts import Alert, expect_alert
from tests.support.door import DoorOptions
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer
from tests.support.proxies import connect_from
from tests.support.waiting import wait_until

HELLO = Hello(b"one.example").records()
LIMIT = 20


def test_a_client_has_its_share_over_all_workers(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """Three hundred at once from one address: twenty are served, and others notice nothing."""
    options = DoorOptions(connections_per_client=LIMIT, workers=4)
    door = start_door(options, serving=False)
    address = door.listening.getsockname()
    with hosts.listen("one.example", backlog=512) as target, contextlib.ExitStack() as stack:
        for _ in range(300):
            # connect(2) itself may fail with the reset.
            with contextlib.suppress(ConnectionResetError):
                client = stack.enter_context(Peer(connect_from("127.0.0.1", address)))
                client.is_refused(HELLO)
        records = door.wait_for_records(300 - LIMIT)
        assert {record["outcome"] for record in records} == {"refused-client-limit"}
        for _ in range(LIMIT):
            target.accept()
        assert not target.is_contacted()

        other = stack.enter_context(Peer(connect_from("127.0.0.2", address)))
        other.send(HELLO)
        assert target.accept().receive(len(HELLO)) == HELLO


def test_a_place_is_free_again_when_its_connection_ends(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    door = start_door(DoorOptions(connections_per_client=1), serving=False)
    with hosts.listen("one.example") as target:
        for number in range(20):
            with door.connect() as client:
                client.send(HELLO)
                with target.accept() as served:
                    assert served.receive(len(HELLO)) == HELLO
            door.wait_for_records(number + 1)
    assert {record["outcome"] for record in door.records} <= {"complete", "client-aborted"}


def test_users_of_a_unix_listener_are_clients(
    start_door: StartDoor, hosts: HostsDirectory, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "door"))
        listening.listen()
        door = start_door(DoorOptions(connections_per_client=2), on=listening, serving=False)
        with hosts.listen("one.example") as target:
            for _ in range(2):
                door.connect().send(HELLO)
                target.accept()
            door.expect_refused_at_once()
        assert door.wait_for_record()["outcome"] == "refused-client-limit"


def test_a_host_has_its_share_and_others_keep_theirs(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    door = start_door(DoorOptions(connections_per_host=3, workers=2))
    with hosts.listen("one.example") as one, hosts.listen("two.example") as two:
        served = []
        for _ in range(3):
            client = door.connect()
            client.send(HELLO)
            served.append((client, one.accept()))
        with door.connect() as fourth:
            fourth.send(HELLO)
            expect_alert(fourth, Alert.INTERNAL_ERROR)
        assert not one.is_contacted()
        record = door.wait_for_record()
        assert (record["outcome"], record["name"]) == ("refused-host-limit", "one.example")

        other = door.connect()
        other.send(Hello(b"two.example").records())
        two.accept()

        client, target = served.pop()
        client.close()
        target.close()
        wait_until(lambda: len(door.records) == 2, what="one has ended")
        door.connect().send(HELLO)
        assert one.accept().receive(len(HELLO)) == HELLO
