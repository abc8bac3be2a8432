"""The resolver of a confined relay: dead and lying name servers, files that change, sleep.

Everything runs in a network namespace with a name server on port 53 and with an /etc of the
test's own; the confined program reads both as it would on any machine.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartRelay
from tests.support.dns import DnsServer
from tests.support.door import program
from tests.support.namespaces import NamesNamespace
from tests.support.processes import resident_bytes, thread_status_fields
from tests.support.relay import Relay
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("as_root")

OURS = (program(), "relay", "--user", "65534:65534", "--log-connections")

RESOLV_CONF = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


@pytest.fixture(scope="module")
def shared_namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamesNamespace]:
    with NamesNamespace(tmp_path_factory.mktemp("names") / "etc") as namespace:
        yield namespace


@pytest.fixture
def namespace(shared_namespace: NamesNamespace) -> NamesNamespace:
    shared_namespace.write_resolv_conf(RESOLV_CONF)
    shared_namespace.write_hosts(HOSTS)
    return shared_namespace


@pytest.fixture
def dns(namespace: NamesNamespace) -> Iterator[DnsServer]:
    with namespace.dns() as server:
        yield server


class Servers:
    """Servers in the namespace that say their address, then repeat what they are told."""

    def __init__(self, namespace: NamesNamespace) -> None:
        self._namespace = namespace
        self._listening: dict[str, socket.socket] = {}

    def start(self, host: str, port: int = 80) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self._namespace.network():
            listening = socket.create_server((host, port), family=family, backlog=128)
        self._listening[host] = listening
        threading.Thread(target=self._serve, args=(listening, host), daemon=True).start()

    def stop(self, host: str) -> None:
        """Nobody listens there any more; connections go on."""
        listening = self._listening.pop(host)
        # shutdown(2) wakes accept(2); close(2) alone would not.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()

    def close(self) -> None:
        for host in list(self._listening):
            self.stop(host)

    def _serve(self, listening: socket.socket, host: str) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._repeat, args=(connection, host), daemon=True).start()

    def _repeat(self, connection: socket.socket, host: str) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(f"{host}\n".encode())
            while data := connection.recv(1 << 16):
                connection.sendall(data)


@pytest.fixture
def servers(namespace: NamesNamespace) -> Iterator[Servers]:
    servers = Servers(namespace)
    try:
        yield servers
    finally:
        servers.close()


StartNamed = Callable[..., Relay]


@pytest.fixture
def start(start_relay: StartRelay, namespace: NamesNamespace) -> StartNamed:
    """Starts a relay in the namespace; its clients stay outside."""

    def start(*arguments: str) -> Relay:
        return start_relay(*arguments, command=OURS, prefix=namespace.command([]))

    return start


def reached(relay: Relay) -> str | None:
    """The address of the server that a new connection reaches; None if it is ended."""
    try:
        with contextlib.closing(relay.connect().socket) as connection:
            return connection.makefile().readline().strip() or None
    except ConnectionResetError:
        return None


def wait_until_reached(relay: Relay, host: str, *, seconds: float = 20.0) -> None:
    wait_until(lambda: reached(relay) == host, seconds=seconds, what=f"a connection to {host}")


def test_no_connection_fails_while_no_name_server_answers(
    start: StartNamed, dns: DnsServer, servers: Servers
) -> None:
    servers.start("127.0.1.1")
    servers.start("127.0.1.2")
    dns.set("app.test", "A", ["127.0.1.1"], ttl=1)
    relay = start("app.test:80")
    assert reached(relay) == "127.0.1.1"
    dns.fail("silence")

    def reported() -> bool:
        assert reached(relay) == "127.0.1.1"
        return "the last good answer is served" in relay.messages

    wait_until(reported, seconds=20, what="a report of the silence")
    silent = len(dns.queries())
    while len(dns.queries()) < silent + 4:  # two more questions for both families
        assert reached(relay) == "127.0.1.1"
    assert relay.messages.count("the last good answer is served") == 1
    dns.set("app.test", "A", ["127.0.1.2"], ttl=1)
    dns.fail(None)
    wait_until_reached(relay, "127.0.1.2")
    wait_until(lambda: "app.test:80 resolves again" in relay.messages, what="the good news")


def test_a_door_that_slept_while_the_name_server_died_serves_within_seconds(
    start: StartNamed, dns: DnsServer, servers: Servers
) -> None:
    servers.start("127.0.1.1")
    dns.set("app.test", "A", ["127.0.1.1"], ttl=1)
    relay = start("app.test:80")
    assert reached(relay) == "127.0.1.1"
    _wait_until_asleep(relay)
    dns.fail("silence")
    began = time.monotonic()
    assert reached(relay) == "127.0.1.1"
    assert time.monotonic() - began < 8, "RFC 8767: 1.8 s, and this machine's load"


def test_the_hosts_file_is_honoured_as_it_changes(
    start: StartNamed, dns: DnsServer, servers: Servers, namespace: NamesNamespace
) -> None:
    for host in ("127.0.1.1", "127.0.1.2", "127.0.1.3"):
        servers.start(host)
    dns.set("app.test", "A", ["127.0.1.1"], ttl=3600)
    relay = start("app.test:80")
    wait_until_reached(relay, "127.0.1.1")
    namespace.write_hosts(HOSTS + "127.0.1.2 app.test\n")
    wait_until_reached(relay, "127.0.1.2")
    # Written in place, as `echo >>` does.
    with (namespace.folder / "hosts").open("w") as file:
        file.write(HOSTS + "127.0.1.3 app.test\n")
    wait_until_reached(relay, "127.0.1.3")
    namespace.write_hosts(HOSTS)
    wait_until_reached(relay, "127.0.1.1")


def test_another_resolv_conf_is_honoured_without_a_restart(
    start: StartNamed, dns: DnsServer, servers: Servers, namespace: NamesNamespace
) -> None:
    servers.start("127.0.1.1")
    servers.start("127.0.1.2")
    dns.set("app.test", "A", ["127.0.1.1"], ttl=3600)
    relay = start("app.test:80")
    wait_until_reached(relay, "127.0.1.1")
    with namespace.dns("127.0.0.2") as other:
        other.set("app.test", "A", ["127.0.1.2"], ttl=3600)
        namespace.write_resolv_conf("nameserver 127.0.0.2\n")
        wait_until_reached(relay, "127.0.1.2")


def test_a_resolv_conf_that_is_a_link_is_followed(
    start: StartNamed,
    dns: DnsServer,
    servers: Servers,
    namespace: NamesNamespace,
    open_folder: Path,
) -> None:
    stub = open_folder / "stub-resolv.conf"
    stub.write_text(RESOLV_CONF)
    (namespace.folder / "link").symlink_to(stub)
    (namespace.folder / "link").rename(namespace.folder / "resolv.conf")
    servers.start("127.0.1.1")
    dns.set("app.corp.test", "A", ["127.0.1.1"], ttl=1)
    relay = start("app:80")
    assert reached(relay) is None
    fresh = open_folder / "fresh"
    fresh.write_text(RESOLV_CONF + "search corp.test\n")
    fresh.rename(stub)
    wait_until_reached(relay, "127.0.1.1")


def test_a_trailing_dot_means_no_search(
    start: StartNamed, dns: DnsServer, servers: Servers, namespace: NamesNamespace
) -> None:
    namespace.write_resolv_conf(RESOLV_CONF + "search corp.test\n")
    servers.start("127.0.1.1")
    dns.set("app.corp.test", "A", ["127.0.1.1"])
    relative, absolute = start("app:80"), start("app.:80")
    assert reached(relative) == "127.0.1.1"
    assert reached(absolute) is None
    dns.wait_for_queries(1, "app.", "A")
    record = absolute.wait_for_record()
    assert record["outcome"] == "target-unreachable"
    assert "app. does not exist (NXDOMAIN)" in record["reason"]


def test_a_dead_address_is_left_alone_and_comes_back(
    start: StartNamed, dns: DnsServer, servers: Servers
) -> None:
    for host in ("127.0.1.1", "127.0.1.3"):
        servers.start(host)
    dns.set("app.test", "A", ["127.0.1.1", "127.0.1.2", "127.0.1.3"], ttl=1)
    relay = start("app.test:80")
    assert reached(relay) is not None
    failed = _failed_attempts(relay)
    began = time.monotonic()
    assert None not in [reached(relay) for _ in range(60)]
    # It rests 1 s, 2 s, 4 s...: at most so often it was tried by one connection.
    rests = 2 + (time.monotonic() - began)
    assert 1 <= _failed_attempts(relay) - failed <= rests
    servers.start("127.0.1.2")
    wait_until_reached(relay, "127.0.1.2")


def test_all_addresses_dead_are_tried_all_the_same(
    start: StartNamed, dns: DnsServer, servers: Servers
) -> None:
    dns.set("app.test", "A", ["127.0.1.1", "127.0.1.2"], ttl=60)
    relay = start("--connect-timeout=1", "app.test:80")
    for _ in range(3):
        assert reached(relay) is None
    servers.start("127.0.1.2")
    assert reached(relay) == "127.0.1.2"


def test_a_lying_name_server_is_no_way_to_this_machine(
    start: StartNamed, dns: DnsServer, servers: Servers
) -> None:
    servers.start("127.0.0.1")
    dns.set("app.test", "A", ["0.0.0.0"], ttl=60)
    dns.set("app.test", "AAAA", ["::"], ttl=60)
    relay = start("app.test:80")
    assert reached(relay) is None
    assert "addresses that no host has" in relay.wait_for_record()["reason"]


def test_an_idle_relay_sleeps_and_stays_small(
    start: StartNamed, dns: DnsServer, servers: Servers
) -> None:
    servers.start("127.0.1.1")
    dns.set("app.test", "A", ["127.0.1.1"], ttl=1)
    relay = start("app.test:80")
    for _ in range(50):
        assert reached(relay) == "127.0.1.1"
    _wait_until_asleep(relay)
    assert resident_bytes(relay.pid) <= 4 << 20


def _wait_until_asleep(relay: Relay) -> None:
    """Returns when no thread has woken up for three seconds, which is thrice the TTL."""
    last: tuple[list[str], float] = ([], 0.0)

    def asleep() -> bool:
        nonlocal last
        threads = thread_status_fields(relay.pid)
        switches = [one["voluntary_ctxt_switches"] for one in threads]
        if switches != last[0]:
            last = (switches, time.monotonic())
        return time.monotonic() - last[1] >= 3

    wait_until(asleep, seconds=30, what="three seconds without a wake-up")


def _failed_attempts(relay: Relay) -> int:
    """Connections that were refused in its network namespace (RFC 2012, tcpAttemptFails)."""
    lines = Path(f"/proc/{relay.pid}/net/snmp").read_text().splitlines()
    names, values = [line.split() for line in lines if line.startswith("Tcp:")]
    return int(values[names.index("AttemptFails")])
