"""PROXY headers that the door takes: from real proxies, from nobody else, whatever the cut."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.alerts import Alert, expect_alert
from tests.support.certificates import Authority
from tests.support.door import Door, DoorOptions, client_text
from tests.support.hello import Hello
from tests.support.peers import HostsDirectory, Peer
from tests.support.proxies import connect_from, haproxy, nginx
from tests.support.proxy_header import SIGNATURE, read_header
from tests.support.tls import TlsOptions, TlsServer

HELLO = Hello(b"one.example").records()
CLIENT = "127.0.0.7"
LOOPBACK = DoorOptions(accept_proxy=("127.0.0.1",))
V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n"
V2_LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


def expect_named(door: Door, hosts: HostsDirectory, address: tuple[str, int]) -> None:
    """A client of the proxy at ``address`` is named to the log and to the application."""
    (hosts.folder("one.example") / "send-proxy-v2").touch()
    with (
        hosts.listen("one.example") as target,
        contextlib.closing(connect_from(CLIENT, address)) as connection,
    ):
        client = connection.getsockname()
        connection.sendall(HELLO)
        with target.accept() as served:
            # A version 2 header of 28 bytes, a value with the name, then the hello as it was.
            header = read_header(served.receive(28 + 3 + len("one.example") + len(HELLO)))
            assert header.client == client
            assert header.rest == HELLO
            served.send(b"answer")
        assert Peer(connection).receive(6) == b"answer"
    record = door.wait_for_record(lambda record: record["name"] == "one.example")
    assert record["client"] == client_text(client)


@pytest.mark.parametrize(
    "options",
    ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"],
)
def test_haproxy(
    options: str, start_door: StartDoor, hosts: HostsDirectory, tmp_path: Path
) -> None:
    door = start_door(LOOPBACK, serving=False)
    host, port = door.listening.getsockname()
    with haproxy(tmp_path, f"{host}:{port}", options) as address:
        expect_named(door, hosts, address)


def test_nginx(start_door: StartDoor, hosts: HostsDirectory, tmp_path: Path) -> None:
    door = start_door(LOOPBACK, serving=False)
    with nginx(tmp_path, door.listening.getsockname()) as address:
        expect_named(door, hosts, address)


@pytest.mark.parametrize("peer", ["unix", "unix:{uid}"])
def test_haproxy_over_a_unix_socket(
    peer: str, start_door: StartDoor, hosts: HostsDirectory, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "door"))
        listening.listen()
        options = DoorOptions(accept_proxy=(peer.format(uid=os.geteuid()),))
        door = start_door(options, on=listening, serving=False)
        with haproxy(tmp_path, f"unix@{tmp_path}/door", "send-proxy-v2") as address:
            expect_named(door, hosts, address)


def test_haproxy_s_health_checks_are_its_own(
    start_door: StartDoor, hosts: HostsDirectory, tmp_path: Path
) -> None:
    """LOCAL: the check is nobody's connection, and the server counts as alive."""
    door = start_door(LOOPBACK, serving=False)
    host, port = door.listening.getsockname()
    options = "send-proxy-v2 check check-send-proxy inter 50ms rise 1 fall 1"
    with haproxy(tmp_path, f"{host}:{port}", options) as address:
        checks = [door.wait_for_record(lambda record: record["name"] is None)]
        expect_named(door, hosts, address)
        assert all(record["client"].startswith("127.0.0.1:") for record in checks)
        assert {record["outcome"] for record in checks} <= {"hello-incomplete", "client-aborted"}


def test_curl(start_door: StartDoor, hosts: HostsDirectory, authority: Authority) -> None:
    """curl speaks for itself: its header names its own address."""
    door = start_door(LOOPBACK, serving=False)
    host, port = door.listening.getsockname()
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", "--noproxy", "*"]
    command += ["--haproxy-protocol", "--cacert", str(authority.certificate)]
    command += ["--connect-to", f"::{host}:{port}", "https://one.example/"]
    pair = authority.server("one.example")
    with (
        hosts.listen("one.example") as listener,
        TlsServer(listener, pair, authority, TlsOptions()),
    ):
        done = subprocess.run(command, check=True, capture_output=True, timeout=40)
    assert b'"path": "/"' in done.stdout
    assert door.wait_for_record()["client"].startswith("127.0.0.1:")


CUTS = {
    "whole": [V1 + HELLO],
    "first byte": [V1[:1], V1[1:] + HELLO],
    "header": [V1, HELLO],
    "within the header's end": [V1[:-1], V1[-1:] + HELLO],
    "within the hello": [V1 + HELLO[:1], HELLO[1:]],
    "each byte": [bytes([byte]) for byte in V1 + HELLO],
}


@pytest.mark.parametrize("parts", CUTS.values(), ids=CUTS)
def test_however_the_header_is_cut(
    parts: list[bytes], start_door: StartDoor, hosts: HostsDirectory
) -> None:
    door = start_door(LOOPBACK, serving=False)
    with hosts.listen("one.example") as target, door.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            client.send(part)
            if len(parts) == 2:
                client.expect_silence(0.05)
        with target.accept() as served:
            assert served.receive(len(HELLO)) == HELLO
    assert door.wait_for_record()["client"] == "192.0.2.1:4711"


def test_without_a_header_a_proxy_is_refused(start_door: StartDoor, hosts: HostsDirectory) -> None:
    door = start_door(DoorOptions(accept_proxy=("127.0.0.1",), hello_timeout=0.3), serving=False)
    cases = [HELLO, b"", V1[:-2], SIGNATURE, SIGNATURE + b"\x21\x11\xff\xff" + bytes(30_000)]
    with hosts.listen("one.example") as target:
        for case in cases:
            with door.connect() as client:
                client.is_refused(case)
                assert client.receive_rest_unless_reset() == b""
        assert not target.is_contacted()
    records = door.wait_for_records(len(cases))
    assert [record["outcome"] for record in records] == ["refused-proxy"] * len(cases)
    assert all(record["reason"] for record in records)


def test_elsewhere_a_header_is_not_read(start_door: StartDoor, hosts: HostsDirectory) -> None:
    """From an address that is not named it is a first packet that is no hello."""
    door = start_door(DoorOptions(accept_proxy=("192.0.2.0/24", "::1", "unix")))
    with hosts.listen("one.example") as target:
        for header in (V1, V2_LOCAL):
            with door.connect() as client:
                client.send(header + HELLO)
                expect_alert(client, Alert.UNEXPECTED_MESSAGE)
        assert not target.is_contacted()
        with door.connect() as client:
            client.send(HELLO)
            with target.accept() as served:
                assert served.receive(len(HELLO)) == HELLO


def test_a_limit_counts_the_clients_behind_a_proxy(
    start_door: StartDoor, hosts: HostsDirectory, tmp_path: Path
) -> None:
    options = DoorOptions(accept_proxy=("127.0.0.1",), connections_per_client=2)
    door = start_door(options, serving=False)
    host, port = door.listening.getsockname()
    with (
        haproxy(tmp_path, f"{host}:{port}", "send-proxy-v2") as address,
        hosts.listen("one.example") as target,
        contextlib.ExitStack() as stack,
    ):
        for source in ("127.0.0.7", "127.0.0.7", "127.0.0.8", "127.0.0.8", "127.0.0.9"):
            client = stack.enter_context(contextlib.closing(connect_from(source, address)))
            client.sendall(HELLO)
            target.accept()
        third = stack.enter_context(contextlib.closing(connect_from("127.0.0.7", address)))
        third.sendall(HELLO)
        assert Peer(third).receive_rest_unless_reset() == b""
        record = door.wait_for_record()
        assert record["outcome"] == "refused-client-limit"
        assert record["client"] == client_text(third.getsockname())
