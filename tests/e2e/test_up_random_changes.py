"""Random changes of the configuration, half of them invalid, with kills in between: what runs
is always exactly what was accepted last, by the supervisor's word and by its processes."""

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import psutil
import pytest
from tests.support.hello import Hello
from tests.support.up import Up, open_folder
from tests.support.waiting import wait_until

from cloister.model.errors import CloisterError, DaemonUnreachableError

FEW = 40
MANY = 1000
NAMES = ("a", "b", "c")
SAYS_ITS_VERSION = """
import select, socket, sys
listening = socket.socket(fileno=3)
while True:
    select.select([listening], [], [])
    try:
        client, _ = listening.accept()
        client.setblocking(True)
        client.recv(65536)
        client.sendall(sys.argv[1].encode())
        client.close()
    except OSError:
        pass
"""


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        try:
            yield running
        finally:
            running.close()


@dataclass(frozen=True)
class World:
    """What a configuration asks for."""

    apps: dict[str, int] = field(default_factory=dict)
    """The version of each application."""
    spare: bool = False
    """Whether there is a second listener."""
    workers: int = 1

    def text(self, up: Up, port: int) -> str:
        blocks = [
            f'[cloister]\nruntime-directory = "{up.runtime}"\nstate-directory = "{up.state}"',
            f"[door]\nworkers = {self.workers}",
            f'[listeners.tls]\nlisten = "127.0.0.1:{port}"',
        ]
        if self.spare:
            blocks.append(f'[listeners.spare]\nlisten = "unix:{up.folder}/spare.sock"')
        for name, version in self.apps.items():
            blocks.append(
                f"[apps.{name}]\n"
                f'command = ["/usr/bin/python3", "-IS", "{up.folder}/app/says.py", '
                f'"{mark(up, name, version)}"]\n'
                f'directory = "{up.folder}/app"\nhosts = ["{name}.example"]\n'
                'ready = "accept"\nstop-timeout = "2s"'
            )
        return "\n\n".join(blocks) + "\n"

    def changed(self, dice: random.Random) -> "World":
        """One thing is another way."""
        match dice.choice(("app", "app", "app", "version", "version", "spare", "workers")):
            case "app":
                name = dice.choice(NAMES)
                apps = dict(self.apps)
                if apps.pop(name, None) is None:
                    apps[name] = dice.randrange(1_000_000)
                return replace(self, apps=apps)
            case "version" if self.apps:
                name = dice.choice(sorted(self.apps))
                return replace(self, apps={**self.apps, name: dice.randrange(1_000_000)})
            case "workers":
                return replace(self, workers=3 - self.workers)
            case _:
                return replace(self, spare=not self.spare)


def mark(up: Up, name: str, version: int) -> str:
    return f"{up.folder.name}-{name}-{version}"


class Game:
    """A supervisor that is changed and killed, and what was accepted last."""

    def __init__(self, up: Up, seed: int) -> None:
        self.up = up
        self.dice = random.Random(seed)
        self.taken = socket.create_server(("127.0.0.1", 0))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (up.folder / "app").mkdir()
        (up.folder / "app" / "says.py").write_text(SAYS_ITS_VERSION)
        self.world = World({"a": 0})
        self.text = self.world.text(up, self.port)
        up.config.write_text(self.text)
        self.refused = self.accepted = self.kills = 0
        self.begin()

    def begin(self) -> None:
        self.up.start()
        wait_until(self._answers, what="the control socket", seconds=60, interval=0.02)

    def close(self) -> None:
        self.taken.close()

    def _answers(self) -> bool:
        assert self.up.process is not None
        assert self.up.process.poll() is None, self.up.log_path.read_text()
        try:
            return self.up.status().door.state == "ready"
        except DaemonUnreachableError:
            return False

    def turn(self, *, kill: bool) -> None:
        wanted = self.world.changed(self.dice)
        text = wanted.text(self.up, self.port)
        valid = self.dice.random() < 0.5
        if not valid:
            text = self._spoilt(text)
        if kill:
            self._killed_meanwhile(wanted, text, valid=valid)
            return
        try:
            self.up.apply(text)
        except CloisterError:
            assert not valid, self.up.log_path.read_text()
            self.refused += 1
        else:
            assert valid
            self.accepted += 1
            self.world, self.text = wanted, text
        self.check_word()

    def _spoilt(self, text: str) -> str:
        taken = self.taken.getsockname()[1]
        return self.dice.choice(
            (
                text + "nonsense\n",
                text.replace("workers", "wrokers"),
                text + '[apps.z]\ncommand = ["/nowhere"]\n',
                # These are found out when they are applied only.
                text + f'[listeners.z]\nlisten = "127.0.0.1:{taken}"\n',
                text.replace(str(self.up.state), f"{self.up.state}2"),
            )
        )

    def _killed_meanwhile(self, wanted: World, text: str, *, valid: bool) -> None:
        def apply() -> None:
            with contextlib.suppress(CloisterError):
                self.up.apply(text)

        changing = threading.Thread(target=apply)
        changing.start()
        changing.join(self.dice.random() * 0.8)  # somewhere in the midst of it, or after
        self.up.kill()
        changing.join(30)
        self.kills += 1
        self.begin()
        if valid and self.up.configuration().text == text:
            self.world, self.text = wanted, text
        self.check_word()
        self.check_processes()

    def check_word(self) -> None:
        assert self.up.configuration().text == self.text
        status = self.up.status()
        assert [app.name for app in status.apps] == list(self.world.apps)
        assert len(status.listeners) == 1 + self.world.spare
        assert status.door.workers == self.world.workers

    def check_processes(self) -> None:
        expected = sorted(mark(self.up, *app) for app in self.world.apps.items())
        wait_until(
            lambda: self.running() == expected, what="the processes", seconds=60, interval=0.05
        )
        for name, version in self.world.apps.items():
            assert self._ask(name) == mark(self.up, name, version)
        assert (self.up.folder / "spare.sock").exists() == self.world.spare
        for name in set(NAMES) - set(self.world.apps):
            assert self._ask(name) == ""

    def running(self) -> list[str]:
        """What each process of an application says of itself."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or [""]
            if words[-1].startswith(f"{self.up.folder.name}-"):
                found.append(words[-1])
        return sorted(found)

    def _ask(self, name: str) -> str:
        with socket.create_connection(("127.0.0.1", self.port), 30) as client:
            client.sendall(Hello(f"{name}.example".encode()).records())
            answer = client.makefile("rb").read()
        return "" if answer[:1] == b"\x15" else answer.decode()  # an alert


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.timeout(7200)
# httpcore leaves a socket that could not connect to the collection of garbage: the supervisor
# was killed between the client's own first connection and the one of its library.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)
def test_what_runs_is_what_was_accepted_last(up: Up, count: int) -> None:
    with contextlib.closing(Game(up, seed=count)) as game:
        for number in range(count):
            game.turn(kill=number % 8 == 5)
            if number % 10 == 0:
                game.check_processes()
        game.check_processes()
        assert game.kills >= count // 10
        assert game.refused >= count // 4
        assert game.accepted >= count // 4
        assert up.stop() == 0
        wait_until(lambda: game.running() == [], what="the end of all", seconds=60, interval=0.05)
