"""Reaching a target beyond a network: refused, silent, late, and what it is told."""

import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartRelay
from tests.support.door import program
from tests.support.proxy_header import read_header
from tests.support.relay import Target, connect
from tests.support.waiting import wait_until

MakeTarget = Callable[[str], Target]

OURS = (program(), "relay", "--user", "65534:65534", "--log-connections")


def free_port() -> int:
    """A port below those that the kernel gives to clients, on which nobody listens."""
    for port in range(20_000, 30_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def test_a_target_that_refuses_at_first_is_tried_again(start_relay: StartRelay) -> None:
    port = free_port()
    relay = start_relay(f"127.0.0.1:{port}", command=OURS)
    client = relay.connect()
    client.send(b"early")
    time.sleep(0.3)
    assert not relay.records, "it is still being tried"
    with socket.create_server(("127.0.0.1", port)) as listening:
        listening.settimeout(5)
        server, _ = listening.accept()
        with server:
            assert server.recv(5) == b"early"
            server.sendall(b"late")
            assert client.receive(4) == b"late"


def test_a_target_that_goes_on_refusing_is_given_up_in_time(start_relay: StartRelay) -> None:
    port = free_port()
    relay = start_relay("--connect-timeout=0.5", f"127.0.0.1:{port}", command=OURS)
    began = time.monotonic()
    relay.connect().expect_reset()
    assert 0.45 < time.monotonic() - began < 3
    record = relay.wait_for_record()
    assert record["outcome"] == "target-unreachable"
    assert f"127.0.0.1:{port}: Connection refused" in record["reason"]
    assert record["target"] == f"tcp:127.0.0.1:{port}"


def test_a_target_that_says_nothing_is_given_up_in_time(start_relay: StartRelay) -> None:
    with socket.socket() as full:
        # A queue of one that is full: the kernel drops what else comes.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with connect(full):
            address = "{}:{}".format(*full.getsockname())
            relay = start_relay("--connect-timeout=0.5", address, command=OURS)
            relay.connect().expect_reset()
            record = relay.wait_for_record()
    assert record["outcome"] == "target-timeout"
    assert record["reason"] == f"{address} did not answer in time"


def test_a_client_that_gives_up_is_not_waited_for(start_relay: StartRelay) -> None:
    relay = start_relay("--connect-timeout=30", f"127.0.0.1:{free_port()}", command=OURS)
    client = relay.connect()
    time.sleep(0.1)
    client.abort()
    assert relay.wait_for_record()["outcome"] == "client-aborted"


def test_what_the_client_says_meanwhile_is_kept(start_relay: StartRelay) -> None:
    """And its end: a client that has ended its direction may still want the answer."""
    port = free_port()
    relay = start_relay(f"127.0.0.1:{port}", command=OURS)
    client = relay.connect()
    client.send(b"request")
    client.finish()
    time.sleep(0.1)
    with socket.create_server(("127.0.0.1", port)) as listening:
        listening.settimeout(5)
        server, _ = listening.accept()
        with server:
            assert server.recv(100) == b"request"
            assert server.recv(100) == b""
            server.sendall(b"response")
        assert client.receive_rest() == b"response"


@pytest.mark.parametrize("kind", ["tcp", "unix", "abstract"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_header_names_the_client(
    start_relay: StartRelay, make_target: MakeTarget, kind: str, version: str
) -> None:
    target = make_target(kind)
    relay = start_relay(f"--send-proxy={version}", target.text, on=("tcp", "unix"), command=OURS)
    client = relay.connect(0)
    client.send(b"after")
    client.finish()
    header = read_header(target.accept().receive_rest())
    assert header.client == client.address
    assert header.server == relay.listening[0].getsockname()
    assert header.rest == b"after"
    client = relay.connect(1)
    client.send(b"after")
    client.finish()
    header = read_header(target.accept().receive_rest())
    assert (header.client, header.rest) == (None, b"after")


def test_keepalive_is_on_both_sides(start_relay: StartRelay, make_target: MakeTarget) -> None:
    target = make_target("tcp")
    relay = start_relay("--keepalive=61:7:3", target.text, command=OURS)
    client = relay.connect()
    client.send(b"x")
    server = target.accept()
    assert server.receive(1) == b"x"
    # The door's end of a connection has the other end as its peer; while a byte is not yet
    # acknowledged, another timer is shown.
    for peer in (client.address, server.address):
        wait_until(lambda peer=peer: peer in tcp_timers(), what=f"a probe of {peer}")
        assert 50 < tcp_timers()[peer] <= 61


def tcp_timers() -> dict[tuple[str, int], float]:
    """Seconds until the keepalive probe of each IPv4 connection, by its peer (proc_net_tcp)."""
    timers = {}
    with Path("/proc/net/tcp").open() as table:
        for line in list(table)[1:]:
            fields = line.split()
            address, port = fields[2].split(":")
            kind, after = fields[5].split(":")
            if kind == "02":
                host = socket.inet_ntoa(struct.pack("=I", int(address, 16)))
                timers[(host, int(port, 16))] = int(after, 16) / 100
    return timers


def test_without_the_option_nothing_is_probed(
    start_relay: StartRelay, make_target: MakeTarget
) -> None:
    target = make_target("tcp")
    relay = start_relay(target.text, command=OURS)
    client = relay.connect()
    server = target.accept()
    inside = tcp_timers()
    assert client.address not in inside
    assert server.address not in inside


def test_many_connections_at_once(start_relay: StartRelay, make_target: MakeTarget) -> None:
    target = make_target("tcp")
    relay = start_relay("-c", "1000", "--workers", "2", target.text, command=OURS)
    clients = [relay.connect() for _ in range(300)]
    for number, client in enumerate(clients):
        client.send(b"%03d" % number)
    seen = set()
    for _ in clients:
        server = target.accept()
        number = server.receive(3)
        server.send(number)
        server.finish()
        seen.add(int(number))
    assert seen == set(range(300))
    for number, client in enumerate(clients):
        assert client.receive_rest() == b"%03d" % number
        client.close()
    relay.wait_for_record(299)


def test_its_sockets_are_of_the_family_of_its_target(
    start_relay: StartRelay, make_target: MakeTarget
) -> None:
    """With a Unix target it cannot even open another socket: its filter says so, and as root
    it has left the network."""
    target = make_target("unix")
    relay = start_relay(target.text, command=OURS)
    client = relay.connect()
    server = target.accept()
    if os.geteuid() == 0:
        own = Path("/proc/self/ns/net").readlink()
        task = next(Path(f"/proc/{relay.pid}/task").iterdir())
        assert (task / "ns/net").readlink() != own
    server.close()
    client.close()
    assert relay.wait_for_record()["outcome"] == "complete"
