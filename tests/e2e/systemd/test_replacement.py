"""`systemctl reload` under a real systemd: the door is replaced and no conversation is lost."""

import json
import time
from pathlib import Path

import pytest
from tests.e2e.systemd.conftest import Generate
from tests.support import keyed
from tests.support.hello import Hello
from tests.support.systemd import Container
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first makes the file system

SERVICE = "cloister-sni.service"
HOSTS = "/srv/hosts"
RELOADS = 20
WATCHDOG = 6
"""Seconds: enough for a busy machine, and less than the reloads take."""

TARGET = """\
import asyncio, os, socket
os.umask(0)
listening = socket.socket(socket.AF_UNIX)
listening.bind("/srv/hosts/one.example/tls-socket")
listening.listen(4096)
listening.setblocking(False)
from keyed import serve_socket
asyncio.run(serve_socket(listening))
"""

CLIENTS = """\
import asyncio, collections, json, os, sys, time
from keyed import Conversation, Style, converse

HELLO = bytes.fromhex(sys.argv[1])
outcomes = collections.Counter()
unserved = []

async def client(number):
    turn = 0
    connected = 0.0
    async def connection():
        nonlocal connected
        connected = float("inf")  # whoever fails to connect was never accepted
        streams = await asyncio.open_connection("127.0.0.1", 443)
        connected = time.monotonic()
        return streams
    while not os.path.exists("/tmp/enough"):
        turn += 1
        what = Conversation(number * 100003 + turn, 20000, 300000, Style(turn % 2))
        result = await converse(connection, what, preface=HELLO)
        outcome = result.outcome.value
        if outcome == "cut" and result.received == 0:
            outcome = "unserved"
            unserved.append(connected)
        outcomes[outcome] += 1
        with open("/tmp/progress.new", "w") as progress:
            progress.write(str(outcomes.total()))
        os.rename("/tmp/progress.new", "/tmp/progress")

async def main():
    await asyncio.gather(*(client(number) for number in range(6)))

asyncio.run(main())
with open("/tmp/outcomes.new", "w") as file:
    json.dump({"outcomes": outcomes, "unserved": unserved}, file)
os.rename("/tmp/outcomes.new", "/tmp/outcomes")
"""

HELD = """\
import os, socket, sys, time
from keyed import Conversation, piece

client = socket.create_connection(("127.0.0.1", 443))
client.sendall(bytes.fromhex(sys.argv[1]) + Conversation(7, 100, 5).header() + piece(7, 0, 50))
assert client.recv(5, socket.MSG_WAITALL) == piece(7 ^ 0x5555, 0, 5)
open("/tmp/held", "w").close()
while not os.path.exists("/tmp/go-on"):
    time.sleep(0.02)
client.sendall(piece(7, 50, 50))
client.shutdown(socket.SHUT_WR)
with open("/tmp/verdict.new", "wb") as file:
    file.write(client.makefile("rb").read())
os.rename("/tmp/verdict.new", "/tmp/verdict")
"""


@pytest.fixture
def door(container: Container, generate: Generate) -> None:
    """The generated door, started, with a keyed target behind it."""
    generate("systemd", "sni", "--hosts", HOSTS, "--drain", "60")
    container.run("systemd-sysusers", "/etc/sysusers.d/cloister-sni.conf")
    container.run("mkdir", "-p", f"{HOSTS}/one.example")
    container.write("/usr/local/lib/keyed.py", Path(keyed.__file__).read_text())
    container.write("/usr/local/lib/target.py", TARGET)
    container.write("/usr/local/lib/clients.py", CLIENTS)
    container.write("/usr/local/lib/held.py", HELD)
    python(container, "target", "target.py")
    place = f"{HOSTS}/one.example/tls-socket"
    wait_until((container.view / place.lstrip("/")).exists, what="the target")
    container.run("systemctl", "start", "cloister-sni.socket")


def python(container: Container, unit: str, *arguments: str) -> None:
    """Runs a program of /usr/local/lib as a unit of its own."""
    script, *rest = arguments
    command = ["systemd-run", f"--unit={unit}", "/usr/bin/python3"]
    container.run(*command, f"/usr/local/lib/{script}", *rest)


class Load:
    """Clients inside the container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self.unserved: list[float] = []
        """After :meth:`stop`: when those had connected that got no byte (``time.monotonic()``)."""
        python(container, "clients", "clients.py", Hello().records().hex())
        self.wait_progress(1)

    @property
    def _progress(self) -> int:
        path = self._container.view / "tmp/progress"
        return int(path.read_text()) if path.exists() else 0

    def wait_progress(self, count: int) -> None:
        goal = self._progress + count
        wait_until(lambda: self._progress >= goal, what="conversations", seconds=60)

    def stop(self) -> dict[str, int]:
        self._container.run("touch", "/tmp/enough")
        path = self._container.view / "tmp/outcomes"
        wait_until(path.exists, what="the end of the clients", seconds=90)
        told = json.loads(path.read_text())
        self.unserved = told["unserved"]
        outcomes: dict[str, int] = told["outcomes"]
        return outcomes


def keeper(container: Container) -> str:
    return container.show(SERVICE, "MainPID")["MainPID"]


def status_text(container: Container) -> str:
    return container.show(SERVICE, "StatusText")["StatusText"]


def doors(container: Container) -> list[str]:
    """The processes of the keeper, the newest last."""
    found = container.run("pgrep", "--parent", keeper(container), check=False).stdout.split()
    return sorted(found, key=int)


@pytest.mark.usefixtures("door")
def test_reloads_under_load_lose_no_conversation(container: Container) -> None:
    """Among them more than the watchdog's time long: whoever replaces doors is alive."""
    container.write(
        f"/etc/systemd/system/{SERVICE}.d/watchdog.conf",
        f"[Service]\nWatchdogSec={WATCHDOG}\nTimeoutAbortSec={WATCHDOG}\n",
    )
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "restart", SERVICE)
    load = Load(container)
    first, seen = keeper(container), set(doors(container))
    begun, count = time.monotonic(), 0
    while count < RELOADS or time.monotonic() < begun + 1.5 * WATCHDOG:
        count += 1
        container.run("systemctl", "reload", SERVICE)
        assert container.show(SERVICE, "ActiveState")["ActiveState"] == "active"
        load.wait_progress(2)
        seen.update(doors(container))
    outcomes = load.stop()
    assert outcomes == {"complete": sum(outcomes.values())}
    assert len(seen) >= RELOADS
    wait_until(lambda: len(doors(container)) == 1, what="one door", seconds=60)
    assert keeper(container) == first
    assert container.show(SERVICE, "NRestarts")["NRestarts"] == "0"
    assert "accepts" in status_text(container)


@pytest.mark.usefixtures("door")
def test_a_killed_door_is_followed_without_systemds_help(container: Container) -> None:
    load = Load(container)
    first = keeper(container)
    for _ in range(5):
        (door,) = doors(container)[-1:]
        container.run("kill", "-KILL", door)
        load.wait_progress(10)
    outcomes = load.stop()
    # Six clients have one conversation each under way when a door is killed.
    assert set(outcomes) <= {"complete", "cut", "unserved"}
    assert sum(outcomes.values()) - outcomes["complete"] <= 30
    assert keeper(container) == first
    assert container.show(SERVICE, "NRestarts")["NRestarts"] == "0"


@pytest.mark.usefixtures("door")
def test_a_stop_lets_conversations_end_and_says_how_many(container: Container) -> None:
    load = Load(container)
    python(container, "held", "held.py", Hello().records().hex())
    files = container.view / "tmp"
    wait_until((files / "held").exists, what="a conversation that goes on", seconds=60)
    asked = time.monotonic()
    container.run("systemctl", "stop", "--no-block", "cloister-sni.socket", SERVICE)
    # Others may go on for a moment as well, but this one does for certain.
    wait_until(lambda: " left" in status_text(container), what="a number", seconds=60)
    container.run("touch", "/tmp/go-on")
    container.wait_for_state(SERVICE, "inactive", seconds=60)
    wait_until((files / "verdict").exists, what="its end", seconds=60)
    assert (files / "verdict").read_bytes() == b"verdict: good\r\n\x00"
    assert container.show(SERVICE, "Result")["Result"] == "success"
    outcomes = load.stop()
    assert set(outcomes) <= {"complete", "refused", "unserved"}
    # Whoever came after the door had stopped waited at systemd's socket, which is closed last;
    # until then systemd closes what waits there, again and again ("Suppressing connection
    # request since unit stop is scheduled"). Whoever was there before is answered in full.
    assert [connected for connected in load.unserved if connected < asked] == []
