"""`cloister generate inetd`, started by a real inetd."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.starters.conftest import Echo, ask, generate
from tests.support.hello import Hello
from tests.support.processes import children, open_files
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("as_root")

REPOSITORY = Path(__file__).parents[3]


@contextlib.contextmanager
def inetd(line: Path) -> Iterator[subprocess.Popen[bytes]]:
    """inetd in the foreground with this one line."""
    subprocess.run([REPOSITORY / "scripts/debian-packages", "openbsd-inetd"], check=True)
    process = subprocess.Popen(["inetd", "-i", "-d", line], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        started = children(process.pid)
        process.terminate()
        process.wait(10)
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def can_ask(address: tuple[str, int] | Path) -> bool:
    try:
        return ask(address) == b"hello"
    except (ConnectionRefusedError, FileNotFoundError):
        return False


def test_a_relay_starts_ends_when_idle_and_starts_again(place: Path, echo: Echo) -> None:
    address = ("127.0.0.1", free_port())
    arguments = ["relay", f"127.0.0.1:{address[1]}", echo.target]
    generate(place, "inetd", *arguments, "--user", "nobody", "--exit-idle", "0.2")
    with inetd(place / "etc/cloister/inetd-relay.conf") as process:
        wait_until(lambda: can_ask(address), what="a relayed connection")
        for _ in range(2):
            wait_until(lambda: not children(process.pid), what="the door's end when idle")
            assert ask(address, b"again") == b"again"
            (door,) = children(process.pid)
            status = Path(f"/proc/{door}/status").read_text()
            assert "Uid:\t65534\t65534\t65534\t65534" in status
            # inetd passes the listening socket three times.
            assert not [file for file in open_files(door)[:3] if file.startswith("socket")]


def test_sni_starts_ends_when_idle_and_starts_again(place: Path, echo: Echo) -> None:
    address = ("127.0.0.1", free_port())
    hosts = place / "hosts"
    (hosts / "one.example").mkdir(parents=True)
    for folder in (hosts, hosts / "one.example"):
        folder.chmod(0o755)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(hosts / "one.example" / "tls-socket"))
    (hosts / "one.example" / "tls-socket").chmod(0o666)
    listening.listen(8)
    listening.settimeout(10)
    arguments = ["sni", f"127.0.0.1:{address[1]}", "--hosts", str(hosts), "--exit-idle", "0.2"]
    generate(place, "inetd", *arguments, "--user", "nobody")
    hello = Hello().records()

    def say_hello() -> bool:
        try:
            connection = socket.create_connection(address, 10)
        except ConnectionRefusedError:
            return False
        with connection:
            connection.sendall(hello)
            accepted, _ = listening.accept()
            with accepted:
                accepted.settimeout(10)
                return accepted.recv(65536) == hello

    with listening, inetd(place / "etc/cloister/inetd-sni.conf") as process:
        wait_until(say_hello, what="a hello that arrives")
        wait_until(lambda: not children(process.pid), what="the door's end when idle")
        assert say_hello()


def test_a_unix_socket(place: Path, echo: Echo) -> None:
    path = place / "relay.sock"
    generate(place, "inetd", "relay", str(path), echo.target, "--user", "nobody")
    with inetd(place / "etc/cloister/inetd-relay.conf"):
        wait_until(lambda: can_ask(path), what="a relayed connection")
