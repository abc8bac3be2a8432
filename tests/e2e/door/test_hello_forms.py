"""However a hello is cut, the target gets the client's bytes, unchanged and all of them."""

import contextlib

import pytest
from tests.support.certificates import Authority
from tests.support.door import Door
from tests.support.hello import Hello, browser_hello, cut_into_records, records_of
from tests.support.peers import HostsDirectory, Peer, UnixListener
from tests.support.tls import HandDrivenClient, TlsOptions, TlsServer, client_context

BROWSER = browser_hello()
MESSAGE = BROWSER.message()


def relayed(door: Door, target: UnixListener, data: bytes) -> bytes:
    """What the target gets when a client sends ``data`` at once and ends."""
    with door.connect() as client:
        client.send(data)
        client.finish()
        with target.accept() as served:
            return served.receive_rest()


def test_a_browser_s_hello_has_about_1800_bytes() -> None:
    assert len(MESSAGE) == 1_800
    assert len(BROWSER.records()) == 1_805


def test_one_byte_at_a_time(door: Door, hosts: HostsDirectory) -> None:
    data = BROWSER.records()
    with hosts.listen("one.example") as target, door.connect() as client:
        for byte in data:
            client.send(bytes([byte]))
        with target.accept() as served:
            assert served.receive(len(data)) == data


def test_cut_into_two_records_at_each_byte(door: Door, hosts: HostsDirectory) -> None:
    with hosts.listen("one.example") as target:
        for cut in range(1, len(MESSAGE)):
            data = cut_into_records(MESSAGE, [cut])
            assert relayed(door, target, data) == data, f"cut at {cut}"


def test_cut_into_two_segments_at_each_byte(door: Door, hosts: HostsDirectory) -> None:
    """The second segments follow when all first ones of a batch are under way, so that the
    door has seen them alone."""
    data = cut_into_records(MESSAGE, [900])
    with hosts.listen("one.example", backlog=256) as target:
        for first in range(1, len(data), 200):
            cuts = range(first, min(first + 200, len(data)))
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(door.connect()) for _ in cuts]
                for cut, client in zip(cuts, clients, strict=True):
                    client.send(data[:cut])
                for cut, client in zip(cuts, clients, strict=True):
                    client.send(data[cut:])
                for _ in cuts:
                    with target.accept() as served:
                        assert served.receive(len(data)) == data


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 64, 255, 256, 1_799, 1_800])
def test_records_of_any_length(length: int, door: Door, hosts: HostsDirectory) -> None:
    data = records_of(MESSAGE, length)
    with hosts.listen("one.example") as target:
        assert relayed(door, target, data) == data


def test_records_of_one_byte_one_byte_at_a_time(door: Door, hosts: HostsDirectory) -> None:
    data = records_of(Hello().message(), 1)
    with hosts.listen("one.example") as target, door.connect() as client:
        for byte in data:
            client.send(bytes([byte]))
        with target.accept() as served:
            assert served.receive(len(data)) == data


@pytest.mark.parametrize("length", [4_000, 16_383, 16_384])
def test_large_hellos_up_to_16_kib(length: int, door: Door, hosts: HostsDirectory) -> None:
    message = Hello().of_length(length).message()
    with hosts.listen("one.example") as target:
        for data in (cut_into_records(message, []), records_of(message, 1)):
            assert relayed(door, target, data) == data


def test_bytes_after_the_hello_follow_it(door: Door, hosts: HostsDirectory) -> None:
    """Early data (RFC 8446 section 4.2.10) arrives together with the hello."""
    data = BROWSER.records() + b"\x14\x03\x03\x00\x01\x01" + b"\x17\x03\x03\x10\x00" + bytes(4_096)
    with hosts.listen("one.example") as target:
        assert relayed(door, target, data) == data


@pytest.mark.parametrize("length", [1, 2, 16, 100])
def test_a_real_handshake_completes_whatever_the_records(
    length: int, door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    """OpenSSL on the other side agrees that what arrives is the client's own hello: TLS
    hashes every byte of it into the keys."""
    with (
        hosts.listen("one.example") as listener,
        TlsServer(listener, authority.server("one.example"), authority, TlsOptions()),
        door.connect() as peer,
    ):
        client = HandDrivenClient(peer, client_context(authority), "one.example")
        hello = client.hello()
        for byte in records_of(hello[5:], length):
            peer.send(bytes([byte]))
        client.complete()
        assert client.request("/")["version"] == "TLSv1.3"


def test_the_target_gets_a_real_client_s_hello_unchanged(
    door: Door, hosts: HostsDirectory, authority: Authority
) -> None:
    with hosts.listen("one.example") as target, door.connect() as peer:
        hello = HandDrivenClient(peer, client_context(authority), "one.example").hello()
        peer.send(hello)
        with target.accept() as served:
            assert served.receive(len(hello)) == hello


def test_hellos_of_many_clients_at_once_are_not_mixed(door: Door, hosts: HostsDirectory) -> None:
    names = [f"host-{number}.example" for number in range(40)]
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(hosts.listen(name)) for name in names]
        hellos = [browser_hello(name.encode()).records() for name in names]
        clients: list[Peer] = [stack.enter_context(door.connect()) for _ in names]
        for start in range(0, 1_805, 361):
            for client, hello in zip(clients, hellos, strict=True):
                client.send(hello[start : start + 361])
        for client in clients:
            client.finish()
        for target, hello in zip(targets, hellos, strict=True):
            with target.accept() as served:
                assert served.receive_rest() == hello
