"""Targets that are names: their addresses change, fail, are slow, and are not there yet."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.dns import DnsServer
from tests.support.door import program
from tests.support.namespaces import NamesNamespace
from tests.support.processes import resident_bytes
from tests.support.relay import Relay, Target, connect
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("as_root")

NAME = "php.backend.example."
OURS = (program(), "relay", "--user", "65534:65534", "--log-connections")
StartNamed = Callable[..., Relay]
MakeAnswering = Callable[..., "Answering"]


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[NamesNamespace]:
    with NamesNamespace(tmp_path / "etc") as namespace:
        yield namespace


@pytest.fixture
def dns(namespace: NamesNamespace) -> Iterator[DnsServer]:
    with namespace.dns() as dns:
        yield dns


@pytest.fixture
def start(namespace: NamesNamespace) -> Iterator[StartNamed]:
    """Starts relays inside, each with a listener of its own."""
    relays: list[Relay] = []

    def start(*arguments: str) -> Relay:
        listening = inside(namespace)
        relays.append(Relay([listening], arguments, command=OURS, prefix=namespace.command([])))
        return relays[-1]

    try:
        yield start
        for relay in relays:
            assert "panicked" not in relay.messages, relay.messages
            assert relay.process.poll() in {None, 0}, relay.messages
    finally:
        for relay in relays:
            relay.kill()
            relay.listening[0].close()


def inside(namespace: NamesNamespace, host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    with namespace.network():
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
        return listening


def ask(namespace: NamesNamespace, relay: Relay) -> bytes:
    """What the target that was reached says."""
    try:
        with namespace.network():
            client = connect(relay.listening[0])
        with client:
            client.send(b"?")
            return client.receive_rest_unless_reset()
    except (BrokenPipeError, ConnectionResetError):
        # The answer of a door that reaches nobody; it may be faster than the connection.
        return b""


class Answering:
    """Targets on one port of several addresses of loopback, each of which says its own."""

    def __init__(self, namespace: NamesNamespace, *hosts: str) -> None:
        self.targets = {}
        self.port = 0
        self.open: list[socket.socket] = []
        for host in hosts:
            listening = inside(namespace, host, self.port)
            self.port = listening.getsockname()[1]
            self.targets[host] = Target(listening)
            threading.Thread(target=self._serve, args=(host, listening), daemon=True).start()

    def _serve(self, host: str, listening: socket.socket) -> None:
        listening.settimeout(None)
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(1)
                connection.sendall(host.encode())

    def end(self, host: str) -> None:
        """Nobody listens there from now on."""
        listening = self.targets.pop(host).socket
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()

    def close(self) -> None:
        for host in list(self.targets):
            self.end(host)


@pytest.fixture
def answering(namespace: NamesNamespace) -> Iterator[MakeAnswering]:
    made: list[Answering] = []

    def make(*hosts: str) -> Answering:
        made.append(Answering(namespace, *hosts))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.close()


def test_every_address_has_its_turn(
    namespace: NamesNamespace, dns: DnsServer, start: StartNamed, answering: MakeAnswering
) -> None:
    targets = answering("127.0.0.2", "127.0.0.3", "127.0.0.4")
    dns.set(NAME, "A", ["127.0.0.2", "127.0.0.3", "127.0.0.4"], ttl=60)
    relay = start(f"{NAME}:{targets.port}")
    answers = [ask(namespace, relay) for _ in range(9)]
    assert {answers.count(host.encode()) for host in targets.targets} == {3}


def test_an_address_that_refuses_costs_nobody_a_connection(
    namespace: NamesNamespace, dns: DnsServer, start: StartNamed, answering: MakeAnswering
) -> None:
    targets = answering("127.0.0.2", "127.0.0.3")
    dns.set(NAME, "A", ["127.0.0.2", "127.0.0.3"], ttl=60)
    relay = start(f"{NAME}:{targets.port}")
    targets.end("127.0.0.2")
    began = time.monotonic()
    assert {ask(namespace, relay) for _ in range(20)} == {b"127.0.0.3"}
    assert time.monotonic() - began < 2


def test_a_new_address_counts_for_new_connections_only(
    namespace: NamesNamespace, dns: DnsServer, start: StartNamed
) -> None:
    old = inside(namespace, "127.0.0.2")
    port = old.getsockname()[1]
    other = inside(namespace, "127.0.0.3", port)
    dns.set(NAME, "A", ["127.0.0.2"], ttl=1)
    relay = start(f"{NAME}:{port}")
    with (
        Targets(old, other) as (first, second),
        namespace.network(),
        connect(relay.listening[0]) as client,
    ):
        client.send(b"begin")
        server = first.accept()
        assert server.receive(5) == b"begin"
        dns.set(NAME, "A", ["127.0.0.3"], ttl=1)
        wait_until(lambda: second_is_reached(relay, second), what="the new address")
        client.send(b"end")
        assert server.receive(3) == b"end", "an old connection finishes where it began"


def second_is_reached(relay: Relay, second: Target) -> bool:
    with connect(relay.listening[0]) as client:
        client.send(b"x")
        return second.is_contacted(seconds=0.3)


class Targets:
    """Closes them together."""

    def __init__(self, *listening: socket.socket) -> None:
        self.targets = [Target(one) for one in listening]

    def __enter__(self) -> list[Target]:
        return self.targets

    def __exit__(self, *_: object) -> None:
        for target in self.targets:
            target.close()


def test_the_last_good_address_serves_while_dns_is_dead(
    namespace: NamesNamespace, dns: DnsServer, start: StartNamed, answering: MakeAnswering
) -> None:
    targets = answering("127.0.0.2")
    dns.set(NAME, "A", ["127.0.0.2"], ttl=1)
    relay = start(f"{NAME}:{targets.port}")
    assert ask(namespace, relay) == b"127.0.0.2"
    for failure in ("silence", "SERVFAIL"):
        dns.fail(failure)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert ask(namespace, relay) == b"127.0.0.2"
            time.sleep(0.1)


def test_a_client_waits_while_its_name_is_looked_up(
    namespace: NamesNamespace, dns: DnsServer, start: StartNamed, answering: MakeAnswering
) -> None:
    targets = answering("127.0.0.2")
    dns.set(NAME, "A", ["127.0.0.2"], ttl=60)
    dns.delay(0.7)
    relay = start(f"{NAME}:{targets.port}")
    assert ask(namespace, relay) == b"127.0.0.2"


def test_a_name_that_does_not_exist_is_a_warning_and_later_an_address(
    namespace: NamesNamespace, dns: DnsServer, start: StartNamed, answering: MakeAnswering
) -> None:
    targets = answering("127.0.0.2")
    relay = start(f"{NAME}:{targets.port}")
    assert ask(namespace, relay) == b""
    record = relay.wait_for_record()
    assert record["outcome"] == "target-unreachable"
    assert NAME in record["reason"]
    wait_until(lambda: NAME.rstrip(".") in relay.messages, what="the warning")
    dns.set(NAME, "A", ["127.0.0.2"], ttl=60)
    wait_until(lambda: ask(namespace, relay) == b"127.0.0.2", what="the address")


def test_least_connections_goes_where_there_are_fewest(
    namespace: NamesNamespace, dns: DnsServer, start: StartNamed
) -> None:
    one = inside(namespace, "127.0.0.2")
    other = inside(namespace, "127.0.0.3", one.getsockname()[1])
    dns.set(NAME, "A", ["127.0.0.2", "127.0.0.3"], ttl=60)
    relay = start("--workers=2", "--balance=least-connections", f"{NAME}:{one.getsockname()[1]}")
    with Targets(one, other) as (first, second), namespace.network():
        clients = []
        for _ in range(4):
            clients.append(connect(relay.listening[0]))
            clients[-1].send(b"x")
        kept = [first.accept(), first.accept()]
        given_up = [second.accept(), second.accept()]
        for server in kept + given_up:
            assert server.receive(1) == b"x"
        for server in given_up:
            server.send(b"bye")
            server.close()
        gone = (
            [client for client in clients if client.receive_pending_or_wait() == b"bye"]
            if False
            else []
        )
        del gone
        # The door sees the end of the two and counts them out once their clients have gone.
        for client in clients:
            client.socket.settimeout(0.3)
            try:
                if client.socket.recv(3) == b"bye":
                    client.close()
            except TimeoutError:
                continue
        relay.wait_for_record(1)
        for _ in range(2):
            clients.append(connect(relay.listening[0]))
            clients[-1].send(b"y")
            assert second.accept().receive(1) == b"y"
        for client in clients:
            client.close()


def test_a_silent_address_holds_nobody_up_for_long(
    namespace: NamesNamespace, dns: DnsServer, start: StartNamed, answering: MakeAnswering
) -> None:
    """RFC 8305: the next address is tried after 250 ms; then the silent one rests."""
    targets = answering("127.0.0.3")
    dns.set(NAME, "A", ["192.0.2.1", "127.0.0.3"], ttl=60)
    with namespace.network():
        # A neighbour that is known but not there: what is sent to it is lost.
        for command in (
            "ip link add hole type veth peer name pit",
            "ip link set hole up",
            "ip link set pit up",
            "ip addr add 192.0.2.9/24 dev hole",
            "ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev hole nud permanent",
        ):
            subprocess.run(command.split(), check=True)
    relay = start(f"{NAME}:{targets.port}")
    times = []
    for _ in range(6):
        began = time.monotonic()
        assert ask(namespace, relay) == b"127.0.0.3"
        times.append(time.monotonic() - began)
    assert 0.2 < max(times) < 1.5, times
    assert sum(took > 0.2 for took in times) == 1, times


def test_a_service_record_names_the_ports(
    namespace: NamesNamespace, dns: DnsServer, start: StartNamed, answering: MakeAnswering
) -> None:
    first, second = answering("127.0.0.2"), answering("127.0.0.3")
    dns.set("a.example.", "A", ["127.0.0.2"], ttl=60)
    dns.set("b.example.", "A", ["127.0.0.3"], ttl=60)
    records = [f"10 1 {first.port} a.example.", f"20 1 {second.port} b.example."]
    dns.set("_php._tcp.example.", "SRV", records, ttl=60)
    relay = start("srv:_php._tcp.example.")
    assert {ask(namespace, relay) for _ in range(4)} == {b"127.0.0.2"}
    first.end("127.0.0.2")
    assert ask(namespace, relay) == b"127.0.0.3"


def test_the_hosts_file_counts(
    namespace: NamesNamespace, start: StartNamed, answering: MakeAnswering
) -> None:
    targets = answering("127.0.0.2")
    namespace.write_hosts("127.0.0.2 backend\n")
    relay = start(f"backend:{targets.port}")
    assert ask(namespace, relay) == b"127.0.0.2"


def test_it_stays_small_with_a_resolver(
    namespace: NamesNamespace, dns: DnsServer, start: StartNamed, answering: MakeAnswering
) -> None:
    targets = answering("127.0.0.2")
    dns.set(NAME, "A", ["127.0.0.2"], ttl=60)
    relay = start(f"{NAME}:{targets.port}")
    assert ask(namespace, relay) == b"127.0.0.2"
    assert resident_bytes(relay.pid) <= 4 << 20
