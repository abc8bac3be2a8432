"""`cloister generate systemd relay`, started by a real systemd."""

import errno
import json

import pytest
from tests.e2e.systemd.conftest import Generate
from tests.support import systemd
from tests.support.systemd import Container
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first makes the file system

RELAY = "cloister-relay@app"
SOCKET = "/run/cloister-relay/app.sock"

ECHO = """\
import os, socket, sys, threading
os.umask(0)
address = sys.argv[1]
listening = socket.socket(socket.AF_UNIX if "/" in address else socket.AF_INET)
listening.bind(address if "/" in address else (address, 7))
listening.listen(64)
def serve(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""

ASK = """\
import socket, sys
address = sys.argv[1]
connection = socket.socket(socket.AF_UNIX if "/" in address else socket.AF_INET)
connection.settimeout(10)
number = connection.connect_ex(address if "/" in address else ("127.0.0.1", int(address)))
if number:
    sys.exit(number)
connection.sendall(b"hello")
connection.shutdown(socket.SHUT_WR)
while data := connection.recv(100):
    sys.stdout.write(data.decode())
"""

SHOW = """\
import json, os, sys
with open("/var/lib/shown.json", "w") as file:
    json.dump([sys.argv[1:], os.environ.get("TARGET")], file)
"""


@pytest.fixture
def echo(container: Container) -> None:
    """An application on a Unix socket and one on an address."""
    container.write("/usr/local/lib/echo.py", ECHO)
    container.write("/usr/local/lib/ask.py", ASK)
    for name, address in (("unix", "/run/echo.sock"), ("address", "127.0.0.9")):
        command = ["systemd-run", "--quiet", f"--unit=echo-{name}", "/usr/bin/python3"]
        container.run(*command, "/usr/local/lib/echo.py", address)
    wait_until((container.view / "run/echo.sock").exists, what="the application")


def ask(container: Container, address: str = SOCKET, *, user: str = "root") -> str:
    return container.run("python3", "/usr/local/lib/ask.py", address, user=user).stdout


def refusal(container: Container, user: str) -> int:
    """errno of connect(2) as ``user``."""
    return container.run(
        "python3", "/usr/local/lib/ask.py", SOCKET, user=user, check=False
    ).returncode


def exposure(container: Container) -> float:
    command = ["systemd-analyze", "security", "--no-pager", f"{RELAY}.service"]
    return float(container.output(*command).rpartition("exposure level for ")[2].split()[1])


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize("form", ["drop-in", "environment-file"])
def test_it_ends_when_idle_and_the_next_connection_starts_it(
    container: Container, generate: Generate, form: str
) -> None:
    options = ["--exit-idle", "0.2", "--socket-group", "www-data"]
    if form == "environment-file":
        options.append("--environment-file")
    generate("systemd", "relay", "app", "unix:/run/echo.sock", *options)
    systemd.verify(container, [f"{RELAY}.socket", f"{RELAY}.service"])
    container.run("systemctl", "start", f"{RELAY}.socket")
    # More often than systemd's own limit on starts.
    for _ in range(8):
        container.wait_for_state(f"{RELAY}.service", "inactive")
        assert ask(container, user="www-data") == "hello"
    assert container.state(f"{RELAY}.socket") == "active"
    assert refusal(container, "nobody") == errno.EACCES
    assert exposure(container) <= 1.5
    assert "without protection" not in container.journal(f"{RELAY}.service")


@pytest.mark.usefixtures("echo")
def test_an_address_and_other_places_to_listen(container: Container, generate: Generate) -> None:
    listen = ["--listen", "127.0.0.1:8000", "--listen", "/run/other.sock"]
    generate("systemd", "relay", "app", "127.0.0.9:7", *listen)
    container.run("systemctl", "start", f"{RELAY}.socket")
    wait_until(lambda: can_ask(container, "8000"), what="the application on an address")
    assert ask(container, "/run/other.sock") == "hello"
    assert not (container.view / SOCKET.lstrip("/")).exists()
    assert exposure(container) <= 1.5
    shown = container.show(f"{RELAY}.service", "IPAddressAllow", "RestrictAddressFamilies")
    assert shown["IPAddressAllow"] == "127.0.0.9/32"
    assert set(shown["RestrictAddressFamilies"].split()) == {"AF_UNIX", "AF_INET"}


def can_ask(container: Container, address: str) -> bool:
    command = ["python3", "/usr/local/lib/ask.py", address]
    return container.run(*command, check=False).stdout == "hello"


@pytest.mark.usefixtures("echo")
def test_reload_replaces_it_and_a_crash_is_followed_by_another(
    container: Container, generate: Generate
) -> None:
    generate("systemd", "relay", "app", "unix:/run/echo.sock")
    container.run("systemctl", "start", f"{RELAY}.socket")
    assert ask(container) == "hello"
    keeper = container.show(f"{RELAY}.service", "MainPID")["MainPID"]
    (before,) = container.output("pgrep", "--parent", keeper).split()
    container.run("systemctl", "reload", f"{RELAY}.service")
    wait_until(
        lambda: before not in container.output("pgrep", "--parent", keeper).split(),
        what="the next door",
    )
    assert ask(container) == "hello"
    container.run("systemctl", "kill", "--signal=KILL", f"{RELAY}.service")
    assert ask(container) == "hello"


@pytest.mark.parametrize("form", ["drop-in", "environment-file"])
def test_odd_names_arrive_as_they_were(container: Container, generate: Generate, form: str) -> None:
    target = 'unix:/run/it\'s "odd" 100% %n $HOME ${HOME} $$ \\ \\x41 ; ä'
    container.write("/usr/local/bin/show", f"#!/usr/bin/python3\n{SHOW}", mode=0o755)
    options = ["--environment-file"] if form == "environment-file" else []
    generate("systemd", "relay", "app", target, *options, program="show")
    container.write(
        f"/etc/systemd/system/{RELAY}.service.d/show.conf",
        "[Service]\nType=oneshot\nRestart=no\nDynamicUser=no\nProtectSystem=no\nPrivateUsers=no\n",
    )
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "start", f"{RELAY}.service")
    arguments, variable = json.loads((container.view / "var/lib/shown.json").read_text())
    assert arguments == ["keep", "relay", target]
    assert variable == (target if options else None)
