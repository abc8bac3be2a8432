"""What a folder of the hosts directory may hold, and how it changes under a running door."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.alerts import Alert, expect_alert
from tests.support.door import Door, DoorOptions
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer, UnixListener, short_path
from tests.support.waiting import wait_until

HELLO = Hello(b"one.example").records()


def expect_relayed(door: Door, target: UnixListener, hello: bytes = HELLO) -> None:
    """The target gets the hello, and its answer arrives."""
    with door.connect() as client:
        client.send(hello)
        with target.accept() as served:
            assert served.receive(len(hello)) == hello
            served.send(b"answer")
            assert client.receive(6) == b"answer"


def expect_refused(door: Door, outcome: str = "refused-name") -> None:
    with door.connect() as client:
        client.send(HELLO)
        expect_alert(client, Alert.UNRECOGNIZED_NAME)
    refused = door.wait_for_record()
    assert refused["name"] == "one.example"
    assert refused["outcome"] in {outcome, "target-unreachable"}
    assert refused["reason"]


def test_a_folder_without_a_socket(door: Door, hosts: HostsDirectory) -> None:
    hosts.folder("one.example")
    expect_refused(door)


def test_a_file_in_place_of_the_folder(door: Door, hosts: HostsDirectory) -> None:
    (hosts.path / "one.example").write_text("")
    expect_refused(door)


def test_a_socket_that_nobody_listens_on(door: Door, hosts: HostsDirectory) -> None:
    target = hosts.listen("one.example")
    target.socket.close()
    expect_refused(door)


def test_a_socket_that_was_never_told_to_listen(door: Door, hosts: HostsDirectory) -> None:
    path = hosts.folder("one.example") / "tls-socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        with short_path(path) as short:
            bound.bind(short)
        path.chmod(0o666)
        expect_refused(door)


def test_a_datagram_socket(door: Door, hosts: HostsDirectory) -> None:
    path = hosts.folder("one.example") / "tls-socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        with short_path(path) as short:
            bound.bind(short)
        path.chmod(0o666)
        with door.connect() as client:
            client.send(HELLO)
            assert client.receive_rest()[6] in {Alert.UNRECOGNIZED_NAME, Alert.INTERNAL_ERROR}


@pytest.mark.parametrize("kind", ["file", "fifo", "directory", "broken link", "link to itself"])
def test_something_else_than_a_socket(kind: str, door: Door, hosts: HostsDirectory) -> None:
    path = hosts.folder("one.example") / "tls-socket"
    match kind:
        case "file":
            path.write_text("")
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "broken link":
            path.symlink_to("nowhere")
        case _:
            path.symlink_to("tls-socket")
    path.chmod(0o777) if not path.is_symlink() else None
    with door.connect() as client:
        begun = time.monotonic()
        client.send(HELLO)
        refusal = client.receive_rest()
        assert time.monotonic() - begun < 2, "a FIFO must not be opened, let alone waited for"
        expected = {Alert.UNRECOGNIZED_NAME}
        if kind == "link to itself":
            expected.add(Alert.INTERNAL_ERROR)
        assert refusal[6] in expected


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("closed", ["socket", "folder"])
def test_permission_denied(closed: str, door: Door, hosts: HostsDirectory) -> None:
    """The door is nobody here; root may do what it likes, so this needs root to set up."""
    with hosts.listen("one.example") as target:
        (target.path if closed == "socket" else target.path.parent).chmod(0o700)
        expect_refused(door)
        assert not target.is_contacted()
        (target.path if closed == "socket" else target.path.parent).chmod(0o777)
        expect_relayed(door, target)


def test_a_new_host_is_live_at_once(door: Door, hosts: HostsDirectory) -> None:
    for round_ in range(20):
        name = f"new-{round_}.example"
        hello = Hello(name.encode()).records()
        with door.connect() as client:
            client.send(hello)
            expect_alert(client, Alert.UNRECOGNIZED_NAME)
        with hosts.listen(name) as target:
            expect_relayed(door, target, hello)


def test_a_removed_host_is_gone_at_once(door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target:
        expect_relayed(door, target)
        target.path.parent.rename(hosts.path / "away.example")
        with door.connect() as client:
            client.send(HELLO)
            expect_alert(client, Alert.UNRECOGNIZED_NAME)
        (hosts.path / "away.example").rename(target.path.parent)
        expect_relayed(door, target)


def test_two_names_share_a_folder_by_a_link(door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target:
        (hosts.path / "www.one.example").symlink_to("one.example")
        (hosts.path / "absolute.example").symlink_to("/one.example")
        expect_relayed(door, target)
        expect_relayed(door, target, Hello(b"www.one.example").records())
        # The directory is the root of every link in it, as it is in a chroot.
        expect_relayed(door, target, Hello(b"absolute.example").records())
    record = door.wait_for_record(lambda record: record["name"] == "www.one.example")
    assert record["outcome"] in {"complete", "target-aborted", "client-aborted"}


def test_a_socket_link_is_swapped_without_a_gap(
    start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """1,000 connections while the link changes hands: each reaches one of the two, and none
    the one that was not meant any more when it began."""
    door = start_door()
    folder = hosts.folder("one.example")
    link, fresh = folder / "tls-socket", folder / "fresh"
    with (
        UnixListener(folder / "blue", backlog=1_000) as blue,
        UnixListener(folder / "green", backlog=1_000) as green,
    ):
        link.symlink_to("blue")
        for index in range(200):
            expect_relayed(door, (blue, green)[index % 2])
            fresh.symlink_to(("green", "blue")[index % 2])
            fresh.rename(link)
        assert not blue.is_contacted()
        assert not green.is_contacted()


@pytest.fixture
def full(hosts: HostsDirectory) -> Iterator[tuple[UnixListener, list[socket.socket]]]:
    """A target whose queue is full, and the connections that fill it."""
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(hosts.listen("one.example", backlog=1))
        waiting: list[socket.socket] = []
        # unix(7): a connect without blocking fails with EAGAIN when the queue is full.
        with contextlib.suppress(BlockingIOError):
            while True:
                connection = stack.enter_context(
                    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                )
                with short_path(target.path) as short:
                    connection.connect(short)
                waiting.append(connection)
        yield target, waiting


def test_connections_wait_for_a_full_queue(
    door: Door, full: tuple[UnixListener, list[socket.socket]]
) -> None:
    target, waiting = full
    clients: list[Peer] = []
    try:
        for number in range(50):
            client = door.connect()
            clients.append(client)
            client.send(HELLO + bytes([number]))
        clients[-1].expect_silence(0.2)
        assert door.records == []
        for _ in waiting:
            target.accept().close()
        seen = set()
        for _ in clients:
            with target.accept() as served:
                seen.add(served.receive(len(HELLO) + 1)[-1])
        assert seen == set(range(50))
    finally:
        for client in clients:
            client.close()


def test_a_queue_that_stays_full_ends_at_the_deadline(
    start_door: StartDoor, full: tuple[UnixListener, list[socket.socket]]
) -> None:
    target, waiting = full
    door = start_door(DoorOptions(connect_timeout=0.5))
    with door.connect() as client:
        begun = time.monotonic()
        client.send(HELLO)
        refusal = client.receive_rest()
        assert 0.4 <= time.monotonic() - begun <= 1.5
        assert refusal == b"" or refusal[:6] == bytes([21, 3, 3, 0, 2, 2])
    record = door.wait_for_record()
    assert record["outcome"] == "target-timeout"
    assert record["bytes_to_target"] == 0
    for _ in waiting:
        target.accept().close()
    assert not target.is_contacted()


def test_a_client_that_leaves_while_it_waits_is_forgotten(
    door: Door, full: tuple[UnixListener, list[socket.socket]]
) -> None:
    target, waiting = full
    with door.connect() as client:
        client.send(HELLO)
        client.expect_silence(0.1)
        client.abort()
    wait_until(lambda: door.records, what="the record of the client that left")
    for _ in waiting:
        target.accept().close()
    expect_relayed(door, target)
