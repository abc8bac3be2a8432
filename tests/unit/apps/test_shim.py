"""A program with a socket of its own, and the relay before it; real processes, a made-up relay."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.processes import command_line
from tests.support.waiting import wait_until

from cloister.apps import shim

RELAY = """#!{python}
import os, signal, sys, time
open({record!r}, "a").write(f"relay {{' '.join(sys.argv[1:5])}}\\n")
assert os.environ["LISTEN_PID"] == str(os.getpid())
os.fstat(3)
def stop(*_):
    open({record!r}, "a").write("relay stops\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open({record!r}, "a").write("relay runs\\n")
if {dies}:
    sys.exit(3)
while True:
    time.sleep(60)
"""
PROGRAM = """
import os, signal, socket, sys, time
def say(text):
    with open({record!r}, "a") as file:
        file.write(text + "\\n")
assert not [name for name in os.environ if name.startswith("LISTEN_")]
try:
    os.fstat(3)
    say("program has the listening socket")
except OSError:
    pass
def stop(number, _):
    say(f"program gets {{signal.Signals(number).name}}")
    if number == signal.SIGTERM:
        sys.exit(7)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, stop)
say("program runs")
if {early}:
    sys.exit(5)
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind({target!r})
    listening.listen()
    while True:
        time.sleep(60)
"""
EXEC = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "cloister.apps.shim", *sys.argv[2:]])
"""


class Scene:
    """A shim with both, and what they have written down."""

    def __init__(self, folder: Path, *, relay_dies: bool = False, early: bool = False) -> None:
        self.record = folder / "record"
        self.record.touch()
        relay, target = folder / "relay", str(folder / "target")
        relay.write_text(
            RELAY.format(python=sys.executable, record=str(self.record), dies=relay_dies)
        )
        relay.chmod(0o755)
        program = PROGRAM.format(record=str(self.record), early=early, target=target)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / "listening"))
            listening.listen()
            descriptor = listening.fileno()
            shim_options = [str(relay), target, "2", "--", sys.executable, "-c", program]
            self.process = subprocess.Popen(
                [sys.executable, "-c", EXEC, str(descriptor), *shim_options],
                pass_fds=[descriptor],
                stderr=subprocess.PIPE,
                text=True,
            )

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def lines(self) -> list[str]:
        return self.record.read_text().splitlines()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    scenes = []

    def make(**options: bool) -> Scene:
        scenes.append(Scene(tmp_path, **options))
        return scenes[-1]

    yield make
    for one in scenes:
        one.close()


def wait_for(scene: Scene, line: str) -> None:
    wait_until(lambda: line in scene.lines(), what=line, seconds=30)


def test_the_relay_is_started_after_the_program_and_ends_before_it(
    scene: Callable[..., Scene], tmp_path: Path
) -> None:
    one = scene()
    wait_for(one, "relay runs")
    one.process.send_signal(signal.SIGUSR1)
    wait_for(one, "program gets SIGUSR1")
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(30) == 7
    assert one.lines() == [
        "program runs",
        f"relay relay {tmp_path}/target --drain 2",
        "relay runs",
        "program gets SIGUSR1",
        "relay stops",
        "program gets SIGTERM",
    ]


def test_a_program_that_ends_before_it_listens(scene: Callable[..., Scene]) -> None:
    one = scene(early=True)
    assert one.process.wait(30) == 5
    assert one.lines() == ["program runs"]


def test_a_relay_that_ends_takes_the_program_along(scene: Callable[..., Scene]) -> None:
    one = scene(relay_dies=True)
    _, said = one.process.communicate(timeout=30)
    assert said == "the relay has ended (3), and so does the program\n"
    assert one.process.returncode == 7
    assert one.lines()[-1] == "program gets SIGTERM"


def test_the_signal_that_ends_the_program_ends_the_shim(scene: Callable[..., Scene]) -> None:
    one = scene()
    wait_for(one, "relay runs")
    children = psutil.Process(one.process.pid).children()
    (program,) = [child for child in children if "relay" not in " ".join(command_line(child)[:2])]
    program.kill()
    assert one.process.wait(30) == -signal.SIGKILL


def test_who_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "a socket")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
        assert not shim._listens(path)
        bound.listen()
        assert shim._listens(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        os.unlink(path)  # noqa: PTH108 - a text
    assert not shim._listens(path)
    for address in ("127.0.0.1", "::1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as bound:
            bound.bind((address, 0))
            target = f"127.0.0.1:{bound.getsockname()[1]}"
            assert not shim._listens(target)
            bound.listen()
            assert shim._listens(target)
        assert not shim._listens(target)
