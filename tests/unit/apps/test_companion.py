"""A program beside the supervisor: it is heard as far as it says what is known, and ends."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cloister.apps import companion
from cloister.apps.companion import Companion, start_companion
from cloister.apps.lines import Line

HEAD = """
import os, socket, sys
channel = socket.socket(fileno=int(os.fdopen(int(sys.argv[1]), "rb").read()))
"""


class World:
    """Starts a script as a companion."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.heard: list[bytes] = []
        self.told: list[str] = []
        self.ready: list[frozenset[str]] = []
        start = asyncio.create_subprocess_exec

        def start_script(*arguments: str, **options: object) -> object:
            # The script stands for the module.
            at = arguments.index("-m")
            script = [str(folder / "script.py"), *arguments[at + 2 :]]
            return start(*arguments[:at], *script, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(asyncio, "create_subprocess_exec", start_script)

    async def hear(self, line: bytes) -> bytes | None:
        self.heard.append(line)
        if line == b"nonsense":
            raise ValueError("nonsense")
        return b"4\ntext" if line == b"ask" else None

    def run(self, script: str, then: Callable[[Companion], object] = lambda _: None) -> int:
        (self.folder / "script.py").write_text(HEAD + script)

        async def live() -> int:
            found = await start_companion(
                "module",
                lambda channel: str(channel).encode(),
                [],
                hear=self.hear,
                tell=self.tell,
                ready=self.ready.append,
            )
            async with asyncio.timeout(30):
                if "ready" in script:
                    await found.wait_ready()
                then(found)
                return await found.wait()

        return asyncio.run(live())

    def tell(self, line: Line) -> None:
        self.told.append(line.text)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_it_asks_and_is_answered(world: World) -> None:
    script = "channel.sendall(b'ready a,b\\nask\\n'); print(channel.recv(100))"
    assert world.run(script) == 0
    assert (world.heard, world.told) == ([b"ask"], ["b'4\\ntext'"])
    assert world.ready == [frozenset({"a", "b"})]


def test_what_it_says_last_is_heard(world: World) -> None:
    script = "channel.sendall(b'one\\n' * 1000); print('last', file=sys.stderr)"
    assert world.run(script) == 0
    assert world.heard == [b"one"] * 1000
    assert world.told == ["last"]


@pytest.mark.parametrize("said", ["b'nonsense\\n'", f"b'x' * {companion.LINE_LIMIT * 3} + b'\\n'"])
def test_it_ends_where_it_says_what_is_not_known(world: World, said: str) -> None:
    script = f"channel.sendall({said}); channel.recv(1); import signal; signal.pause()"
    assert world.run(script) == -signal.SIGKILL


def test_it_ends_when_it_is_told_to(world: World) -> None:
    script = "channel.sendall(b'ready \\n'); import signal; signal.pause()"
    assert world.run(script, lambda found: found.terminate()) == -signal.SIGTERM


def test_it_inherits_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    try:
        script = "print(sorted(os.environ), len(os.listdir('/proc/self/fd')), os.getcwd())"
        assert world.run(script) == 0
    finally:
        os.close(reading)
        os.close(writing)
    (line,) = world.told
    # Input, output, error, channel, and the descriptor of the listing itself.
    assert line.endswith(" 5 /")
    assert "SECRET" not in line
