"""``send-proxy-v1`` and ``send-proxy-v2`` tell the target who the client is."""

import socket
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartDoor
from tests.support.door import Door
from tests.support.hello import Hello, browser_hello
from tests.support.peers import HostsDirectory, Peer, UnixListener
from tests.support.proxy_header import ALPN, AUTHORITY, ProxyHeader, read_header

HELLO = browser_hello().records()


def received(door: Door, target: UnixListener, hello: bytes = HELLO) -> ProxyHeader:
    """The header that the target gets: with the client's own address, before the hello."""
    with door.connect() as client:
        address = client.address
        client.send(hello)
        client.finish()
        with target.accept() as served:
            header = read_header(served.receive_rest())
    assert header.rest == hello
    assert header.client == address
    assert header.server == door.listening.getsockname()[:2]
    return header


@pytest.mark.parametrize("version", [1, 2])
def test_an_ipv4_client(version: int, door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target:
        (target.path.parent / f"send-proxy-v{version}").touch()
        header = received(door, target)
        assert (header.version, header.family) == (version, "TCP4")


@pytest.mark.parametrize("version", [1, 2])
def test_an_ipv6_client(
    version: int, start_door: StartDoor, listening_ipv6: socket.socket, hosts: HostsDirectory
) -> None:
    door = start_door(on=listening_ipv6)
    with hosts.listen("one.example") as target:
        (target.path.parent / f"send-proxy-v{version}").touch()
        header = received(door, target)
        assert (header.version, header.family) == (version, "TCP6")


@pytest.mark.parametrize("version", [1, 2])
def test_an_ipv4_client_of_a_dual_stack_listener(
    version: int, start_door: StartDoor, hosts: HostsDirectory
) -> None:
    """The kernel names it ``::ffff:127.0.0.1``; targets want the address that it has."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no dual-stack sockets")
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening,
        hosts.listen("one.example") as target,
    ):
        start_door(on=listening)
        (target.path.parent / f"send-proxy-v{version}").touch()
        port = listening.getsockname()[1]
        with Peer(socket.create_connection(("127.0.0.1", port))) as client:
            client.send(HELLO)
            client.finish()
            with target.accept() as served:
                header = read_header(served.receive_rest())
            assert header.family == "TCP4"
            assert header.client == client.address
            assert header.server == ("127.0.0.1", port)


@pytest.mark.parametrize("version", [1, 2])
def test_the_client_of_a_unix_listener(
    version: int, start_door: StartDoor, hosts: HostsDirectory, tmp_path: Path
) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening,
        hosts.listen("one.example") as target,
    ):
        listening.bind(str(tmp_path / "door"))
        listening.listen(16)
        door = start_door(on=listening)
        (target.path.parent / f"send-proxy-v{version}").touch()
        with door.connect() as client:
            client.send(HELLO)
            client.finish()
            with target.accept() as served:
                header = read_header(served.receive_rest())
        assert header.family in {"UNKNOWN", "LOCAL"}
        assert header.rest == HELLO
        assert door.wait_for_record()["client"].startswith("unix:")


def test_version_2_names_the_host(door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target:
        (target.path.parent / "send-proxy-v2").touch()
        header = received(door, target, Hello(b"ONE.example").records())
        assert header.values == {AUTHORITY: b"one.example"}


def test_version_2_names_the_protocol_where_only_one_is_offered(
    door: Door, hosts: HostsDirectory
) -> None:
    """What was agreed on is not the door's to know; one offer leaves no other answer."""
    with hosts.listen("one.example") as target:
        (target.path.parent / "send-proxy-v2").touch()
        header = received(door, target, Hello(alpn=(b"acme-tls/1",)).records())
        assert header.values == {AUTHORITY: b"one.example", ALPN: b"acme-tls/1"}
        header = received(door, target, Hello(alpn=(b"h2", b"http/1.1")).records())
        assert header.values == {AUTHORITY: b"one.example"}


def test_version_2_wins_where_both_are_there(door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target:
        (target.path.parent / "send-proxy-v1").touch()
        (target.path.parent / "send-proxy-v2").touch()
        header = received(door, target)
        assert header.version == 2


def test_the_file_counts_at_once_and_its_content_never(door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target:
        wish = target.path.parent / "send-proxy-v1"
        for _ in range(3):
            wish.write_text("no")
            header = received(door, target)
            assert header.version == 1
            wish.unlink()
            with door.connect() as client:
                client.send(HELLO)
                client.finish()
                with target.accept() as served:
                    assert served.receive_rest() == HELLO


def test_headers_do_not_count_as_relayed_bytes(door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target:
        (target.path.parent / "send-proxy-v2").touch()
        received(door, target)
    assert door.wait_for_record()["bytes_to_target"] == len(HELLO)
