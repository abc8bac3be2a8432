"""`systemctl reload` under a real systemd: the door is replaced and no conversation is lost."""

import json
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
import asyncio, collections, json, os, sys
from keyed import Conversation, Style, converse

HELLO = bytes.fromhex(sys.argv[1])
outcomes = collections.Counter()

async def client(number):
    turn = 0
    while not os.path.exists("/tmp/enough"):
        turn += 1
        what = Conversation(number * 100003 + turn, 20000, 300000, Style(turn % 2))
        connection = lambda: asyncio.open_connection("127.0.0.1", 443)
        result = await converse(connection, what, preface=HELLO)
        unserved = result.outcome.value == "cut" and result.received == 0
        outcomes["unserved" if unserved else result.outcome.value] += 1
        with open("/tmp/progress.new", "w") as progress:
            progress.write(str(outcomes.total()))
        os.rename("/tmp/progress.new", "/tmp/progress")

async def main():
    await asyncio.gather(*(client(number) for number in range(6)))

asyncio.run(main())
with open("/tmp/outcomes.new", "w") as file:
    json.dump(outcomes, file)
os.rename("/tmp/outcomes.new", "/tmp/outcomes")
"""


@pytest.fixture
def door(container: Container, generate: Generate) -> None:
    """The generated door, started, with a keyed target behind it."""
    generate("systemd", "sni", "--hosts", HOSTS)
    container.run("systemd-sysusers", "/etc/sysusers.d/cloister-sni.conf")
    container.run("mkdir", "-p", f"{HOSTS}/one.example")
    container.write("/usr/local/lib/keyed.py", Path(keyed.__file__).read_text())
    container.write("/usr/local/lib/target.py", TARGET)
    container.write("/usr/local/lib/clients.py", CLIENTS)
    container.write(
        f"/etc/systemd/system/{SERVICE}.d/watchdog.conf",
        "[Service]\nWatchdogSec=2\nTimeoutAbortSec=2\n",
    )
    container.run("systemctl", "daemon-reload")
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
        python(container, "clients", "clients.py", Hello().records().hex())
        self.wait_progress(1)

    @property
    def _progress(self) -> int:
        path = self._container.view / "tmp/progress"
        return int(path.read_text()) if path.exists() else 0

    def wait_progress(self, count: int) -> None:
        goal = self._progress + count
        wait_until(lambda: self._progress >= goal, what="conversations", seconds=30)

    def stop(self) -> dict[str, int]:
        self._container.run("touch", "/tmp/enough")
        path = self._container.view / "tmp/outcomes"
        wait_until(path.exists, what="the end of the clients", seconds=60)
        outcomes: dict[str, int] = json.loads(path.read_text())
        return outcomes


def keeper(container: Container) -> str:
    return container.show(SERVICE, "MainPID")["MainPID"]


def doors(container: Container) -> list[str]:
    """The processes of the keeper, the newest last."""
    found = container.run("pgrep", "--parent", keeper(container), check=False).stdout.split()
    return sorted(found, key=int)


@pytest.mark.usefixtures("door")
def test_reloads_under_load_lose_no_conversation(container: Container) -> None:
    load = Load(container)
    first, seen = keeper(container), set(doors(container))
    for _ in range(RELOADS):
        container.run("systemctl", "reload", SERVICE)
        assert container.show(SERVICE, "ActiveState")["ActiveState"] == "active"
        load.wait_progress(2)
        seen.update(doors(container))
    outcomes = load.stop()
    assert outcomes == {"complete": sum(outcomes.values())}
    assert len(seen) >= RELOADS
    wait_until(lambda: len(doors(container)) == 1, what="one door", seconds=15)
    assert keeper(container) == first
    shown = container.show(SERVICE, "NRestarts", "StatusText")
    assert shown["NRestarts"] == "0"
    assert "accepts" in shown["StatusText"]


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
    container.run("systemctl", "stop", "cloister-sni.socket", SERVICE, seconds=40)
    assert container.state(SERVICE) == "inactive"
    assert container.show(SERVICE, "Result")["Result"] == "success"
    container.run("touch", "/tmp/enough")
    outcomes = load.stop()
    # Whoever came after the door had stopped waited for systemd's socket, which is closed
    # last: one connection of each client at most.
    assert set(outcomes) <= {"complete", "refused", "unserved"}
    assert outcomes.get("unserved", 0) <= 6
