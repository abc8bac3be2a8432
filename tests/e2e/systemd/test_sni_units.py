"""`cloister generate systemd sni`, started by a real systemd."""

import json

import pytest
from tests.e2e.systemd.conftest import Generate
from tests.support import systemd
from tests.support.hello import Hello
from tests.support.systemd import Container
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first makes the file system

HOSTS = "/srv/hosts"

ECHO = """\
import os, socket, sys, threading
os.umask(0)
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen(64)
def serve(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""
"""A tenant's program: whatever comes goes back."""

CLIENT = """\
import json, socket, sys
hello = bytes.fromhex(sys.argv[1])
with socket.create_connection(("127.0.0.1", 443), 10) as connection:
    for line in sys.stdin:
        connection.sendall(hello if line == "hello\\n" else line.encode())
        want = len(hello) if line == "hello\\n" else len(line)
        got = b""
        while len(got) < want:
            got += connection.recv(65536) or sys.exit(f"closed after {got!r}")
        print(json.dumps(got.hex()), flush=True)
"""


@pytest.fixture
def tenant(container: Container) -> None:
    """One host with a socket of another user than the door's."""
    container.write("/usr/local/lib/echo.py", ECHO)
    container.write("/root/client.py", CLIENT)
    container.run("mkdir", "-p", f"{HOSTS}/one.example")
    container.run("chown", "www-data", f"{HOSTS}/one.example")
    command = ["systemd-run", "--unit=tenant", "--uid=www-data", "/usr/bin/python3"]
    place = f"{HOSTS}/one.example/tls-socket"
    container.run(*command, "/usr/local/lib/echo.py", place)
    wait_until((container.view / place.lstrip("/")).exists, what="the tenant")


def say(container: Container, *lines: str) -> list[bytes]:
    """What comes back for each line on one connection through the door."""
    hello = Hello().records().hex()
    result = container.run(
        "python3", "/root/client.py", hello, input_text="".join(f"{line}\n" for line in lines)
    )
    return [bytes.fromhex(json.loads(line)) for line in result.stdout.splitlines()]


def workers(container: Container) -> list[str]:
    """The process ids of the doors, without their keeper's."""
    keeper = container.show("cloister-sni.service", "MainPID")["MainPID"]
    return container.run("pgrep", "--parent", keeper, check=False).stdout.split()


@pytest.mark.usefixtures("tenant")
def test_a_connection_starts_the_fenced_door(container: Container, generate: Generate) -> None:
    generate("systemd", "sni", "--hosts", HOSTS)
    container.run("systemd-sysusers", "/etc/sysusers.d/cloister-sni.conf")
    systemd.verify(container, ["cloister-sni.socket", "cloister-sni.service"])
    container.run("systemctl", "enable", "--now", "cloister-sni.socket")
    assert container.state("cloister-sni.service") == "inactive"

    hello = Hello().records()
    assert say(container, "hello", "and more") == [hello, b"and more\n"]
    assert container.state("cloister-sni.service") == "active"
    assert "without protection" not in container.journal("cloister-sni.service")

    exposure = container.output("systemd-analyze", "security", "--no-pager", "cloister-sni.service")
    assert float(exposure.rpartition("exposure level for ")[2].split()[1]) <= 1.5

    (door,) = workers(container)
    status = container.output("cat", f"/proc/{door}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    user = container.output("id", "--user", "cloister-sni")
    assert fields["Uid"].split() == [user] * 4
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    for folder, seen in (
        *(("etc", {"ld.so.cache"}), ("usr/bin", {"kill"}), ("srv", {"hosts"})),
        ("usr/local", {"bin"}),
    ):
        assert set(container.output("ls", "-A", f"/proc/{door}/root/{folder}").split()) == seen
    interfaces = container.output("cat", f"/proc/{door}/net/dev")
    assert [line.split(":")[0].strip() for line in interfaces.splitlines()[2:]] == ["lo"]


@pytest.mark.usefixtures("tenant")
def test_reload_replaces_the_door_under_an_open_connection(
    container: Container, generate: Generate
) -> None:
    generate("systemd", "sni", "--hosts", HOSTS)
    container.run("systemd-sysusers", "/etc/sysusers.d/cloister-sni.conf")
    container.run("systemctl", "start", "cloister-sni.socket")
    say(container, "hello")
    (before,) = workers(container)
    keeper = container.show("cloister-sni.service", "MainPID")
    container.run("systemctl", "reload", "cloister-sni.service")
    assert say(container, "hello")
    assert container.show("cloister-sni.service", "MainPID") == keeper
    assert before not in workers(container)[-1:]
    container.run("systemctl", "stop", "cloister-sni.service")
    assert container.state("cloister-sni.service") == "inactive"
    assert say(container, "hello"), "the socket is systemd's, and starts the next door"
