"""The command line of systemd-socket-proxyd, flag by flag, with both programs side by side."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.door.conftest import StartRelay
from tests.support.door import program
from tests.support.packages import need
from tests.support.peers import Peer
from tests.support.processes import resident_bytes, status_fields
from tests.support.relay import SOCKET_PROXYD, Relay, Target, connect
from tests.support.waiting import wait_until

MakeTarget = Callable[[str], Target]
Start = Callable[..., Relay]

OURS = (program(), "relay", "--user", "65534:65534")


@pytest.fixture(params=["cloister-door relay", "systemd-socket-proxyd"])
def start(request: pytest.FixtureRequest, start_relay: StartRelay) -> Start:
    """Starts the program of the parameter: what a test says holds for both."""
    if request.param == "cloister-door relay":
        return partial(start_relay, command=OURS)
    need("systemd")
    return partial(start_relay, command=[str(SOCKET_PROXYD)])


def exchange(relay: Relay, target: Target, place: int = 0) -> tuple[Peer, Peer]:
    """A relayed connection whose two ends have heard each other."""
    client = relay.connect(place)
    client.send(b"question")
    server = target.accept()
    assert server.receive(8) == b"question"
    server.send(b"answer")
    assert client.receive(6) == b"answer"
    return client, server


@pytest.mark.parametrize("kind", ["tcp", "unix", "abstract"])
def test_the_target_is_the_only_argument(start: Start, make_target: MakeTarget, kind: str) -> None:
    target = make_target(kind)
    client, server = exchange(start(target.text), target)
    # No half-close here: socket-proxyd ends both directions with the first one.
    server.send(b"late")
    server.close()
    assert client.receive_rest() == b"late"


def test_a_port_may_be_a_service_and_has_a_default(start: Start) -> None:
    """Neither may be free for a test: what counts is that the program serves such a target."""
    for target in ("127.0.0.1:http", "127.0.0.1"):
        relay = start(target)
        relay.connect().close()
        assert relay.process.poll() is None, relay.messages


def test_an_ipv6_target_without_brackets(start: Start, make_target: MakeTarget) -> None:
    try:
        target = make_target("tcp6")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    exchange(start(target.text), target)


def test_every_passed_socket_is_served(start: Start, make_target: MakeTarget) -> None:
    target = make_target("tcp")
    relay = start(target.text, on=("tcp", "unix", "abstract"))
    for place in range(3):
        exchange(relay, target, place)


@pytest.mark.parametrize(
    "options", [["-c", "5"], ["-c5"], ["--connections-max", "5"], ["--connections-max=5"]]
)
def test_the_limit_may_be_written_in_every_way(
    start: Start, make_target: MakeTarget, options: list[str]
) -> None:
    target = make_target("tcp")
    exchange(start(*options, "--", target.text), target)


@pytest.mark.parametrize("text", ["200ms", "0.2", "0.1s 100ms", "200000us"])
def test_it_ends_when_it_was_idle_for_so_long(
    start: Start, make_target: MakeTarget, text: str
) -> None:
    target = make_target("tcp")
    relay = start(f"--exit-idle-time={text}", target.text)
    client, server = exchange(relay, target)
    time.sleep(0.5)
    assert relay.process.poll() is None, "a silent connection is one"
    ended = time.monotonic()
    client.close()
    server.close()
    assert relay.wait() == 0
    assert time.monotonic() - ended >= 0.19


def test_an_idle_time_of_zero_ends_it_with_the_last_connection(
    start: Start, make_target: MakeTarget
) -> None:
    target = make_target("tcp")
    relay = start("--exit-idle-time=0", target.text)
    client, server = exchange(relay, target)
    other, other_server = exchange(relay, target)
    client.close()
    server.close()
    other.send(b"still there")
    assert other_server.receive(11) == b"still there"
    other.close()
    other_server.close()
    assert relay.wait() == 0


def test_an_infinite_idle_time_is_the_default(start: Start, make_target: MakeTarget) -> None:
    target = make_target("tcp")
    relays = [start("--exit-idle-time=infinity", target.text), start(target.text)]
    for relay in relays:
        client, server = exchange(relay, target)
        client.close()
        server.close()
    time.sleep(0.3)
    assert [relay.process.poll() for relay in relays] == [None, None]


def test_a_target_that_is_not_there_ends_the_connection_and_not_the_program(
    start: Start, make_target: MakeTarget
) -> None:
    target = make_target("unix")
    missing = target.text + "-not-there"
    relay = start(missing)
    for _ in range(2):
        # The reset may be there before connect(2) returns, which then fails with it.
        with contextlib.suppress(ConnectionResetError), relay.connect() as client:
            assert client.receive_rest_unless_reset() == b""
    assert relay.process.poll() is None


@pytest.mark.parametrize("command", [OURS, (str(SOCKET_PROXYD),)])
@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["a:1", "b:2"], ["-c", "0", "a:1"], ["-c", "x", "a:1"], ["a:1", "-c"]),
        *(["--exit-idle-time=soon", "a:1"], ["--unknown", "a:1"]),
    ],
)
def test_a_wrong_command_line_is_refused(command: tuple[str, ...], arguments: list[str]) -> None:
    need("systemd")
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
@pytest.mark.parametrize("command", [OURS, (str(SOCKET_PROXYD),)])
def test_help_and_version_are_printed(command: tuple[str, ...], option: str) -> None:
    need("systemd")
    done = subprocess.run([*command, option], capture_output=True, text=True, check=True)
    assert done.stdout
    if option != "--version":
        assert "--exit-idle-time=" in done.stdout or "--exit-idle-time TIME" in done.stdout


# What only ours does.


def test_nobody_beyond_the_limit_is_lost(start_relay: StartRelay, make_target: MakeTarget) -> None:
    """socket-proxyd closes who comes too many; here they wait until one ends."""
    target = make_target("tcp")
    relay = start_relay("-c", "2", "--workers", "2", target.text, command=OURS)
    first, first_server = exchange(relay, target)
    exchange(relay, target)
    waiting = [relay.connect() for _ in range(3)]
    for number, client in enumerate(waiting):
        client.send(b"%d" % number)
    assert not target.is_contacted(), "two are the most"
    served = set()
    for _ in waiting:
        first.close()
        first_server.close()
        first_server = target.accept()
        number = int(first_server.receive(1))
        served.add(number)
        first = waiting[number]
        first_server.send(b"!")
        assert first.receive(1) == b"!"
        assert not target.is_contacted(seconds=0.05)
    assert served == {0, 1, 2}


def test_the_limit_is_that_of_all_listeners_together(
    start_relay: StartRelay, make_target: MakeTarget
) -> None:
    target = make_target("tcp")
    relay = start_relay("-c1", target.text, on=("tcp", "unix"), command=OURS)
    client, server = exchange(relay, target, 0)
    other = relay.connect(1)
    other.send(b"x")
    assert not target.is_contacted()
    client.close()
    server.close()
    assert target.accept().receive(1) == b"x"


def test_a_full_relay_does_not_wake_up(start_relay: StartRelay, make_target: MakeTarget) -> None:
    target = make_target("tcp")
    relay = start_relay("-c1", "--workers", "1", target.text, command=OURS)
    exchange(relay, target)
    waiting = relay.connect()
    waiting.send(b"x")
    assert not target.is_contacted()
    before = switches(relay.pid)
    time.sleep(1)
    assert switches(relay.pid) - before <= 2


def test_an_idle_relay_does_not_wake_up(start_relay: StartRelay, make_target: MakeTarget) -> None:
    target = make_target("tcp")
    relay = start_relay("--exit-idle-time=1h", target.text, command=OURS)
    client, server = exchange(relay, target)
    wait_until(lambda: switches(relay.pid), what="its threads")
    time.sleep(0.2)
    before = switches(relay.pid)
    time.sleep(1)
    assert switches(relay.pid) == before
    client.close()
    server.close()


def switches(pid: int) -> int:
    """How often its threads have begun to wait."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def test_idle_means_no_connection_of_any_listener(
    start_relay: StartRelay, make_target: MakeTarget
) -> None:
    target = make_target("tcp")
    relay = start_relay("--exit-idle-time=300ms", target.text, on=("tcp", "unix"), command=OURS)
    clients = []
    for place in (0, 1, 0, 1):
        clients.append(exchange(relay, target, place))
        time.sleep(0.2)
        if len(clients) > 1:
            for peer in clients.pop(0):
                peer.close()
    assert relay.process.poll() is None
    for pair in clients:
        for peer in pair:
            peer.close()
    assert relay.wait() == 0


def test_it_ends_without_any_connection_too(start_relay: StartRelay) -> None:
    """socket-proxyd waits for a first one; the man page knows no such exception."""
    relay = start_relay("--exit-idle-time=100ms", "127.0.0.1:1", command=OURS)
    assert relay.wait() == 0


def test_a_client_that_comes_with_the_end_is_served(
    start_relay: StartRelay, make_target: MakeTarget
) -> None:
    """Whatever the moment: it is served by this process, or stays in the queue for the next."""
    target = make_target("unix")
    relay = start_relay("--exit-idle-time=100ms", target.text, command=OURS)
    listening = relay.listening[0]
    deadline = time.monotonic() + 3
    while relay.process.poll() is None and time.monotonic() < deadline:
        client = connect(listening)
        client.send(b"x")
        try:
            server = target.accept() if relay.process.poll() is None else None
        except TimeoutError:
            server = None
        if server is None:
            relay = start_relay(target.text, on=(listening,), command=OURS)
            server = target.accept()
        assert server.receive(1) == b"x"
        client.close()
        server.close()
        time.sleep(0.0999)
    exchange(start_relay(target.text, on=(listening,), command=OURS), target)


def test_it_is_ready_within_ten_milliseconds(
    start_relay: StartRelay, make_target: MakeTarget
) -> None:
    """From the start of the program until a client that waits is at the target."""
    target = make_target("tcp")
    times = []
    for _ in range(7):
        listening = socket.create_server(("127.0.0.1", 0))
        client = connect(listening)
        client.send(b"x")
        command = [program(), "relay", "--user", "65534:65534", target.text]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=listening, stderr=subprocess.DEVNULL)
        target.accept()
        times.append(time.perf_counter() - began)
        process.send_signal(signal.SIGKILL)
        process.wait()
        client.close()
        listening.close()
    # Starting any process from Python is part of it; the machine may be busy with others.
    assert min(times) < 0.010, times


def test_it_stays_small(start_relay: StartRelay, make_target: MakeTarget) -> None:
    target = make_target("tcp")
    relay = start_relay(target.text, command=OURS)
    exchange(relay, target)
    assert resident_bytes(relay.pid) <= 4 << 20


@pytest.mark.usefixtures("as_root")
def test_root_becomes_nobody(start_relay: StartRelay, make_target: MakeTarget) -> None:
    target = make_target("tcp")
    relay = start_relay(target.text, command=[program(), "relay"])
    exchange(relay, target)
    assert status_fields(relay.pid)["Uid"].split() == ["65534"] * 4
    assert "becoming nobody" in relay.messages


def test_stop_lets_connections_end(start_relay: StartRelay, make_target: MakeTarget) -> None:
    target = make_target("tcp")
    relay = start_relay(target.text, command=OURS)
    client, server = exchange(relay, target)
    relay.process.send_signal(signal.SIGTERM)
    client.send(b"more")
    assert server.receive(4) == b"more"
    server.close()
    client.close()
    assert relay.wait() == 0
