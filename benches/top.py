"""What watching 1,000 applications costs: `cloister top` on a terminal, before a supervisor
that has that many, each with real control groups of this machine.

    .venv/bin/python benches/top.py [--apps 1000] [--seconds 60]

Prints the share of a core that top took and how often it looked; the answers of the
supervisor are counted apart. Needs root, for the groups.
"""

import argparse
import asyncio
import contextlib
import os
import pty
import select
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psutil

from cloister.apps.brief import AppBrief, Brief, ListenerBrief
from cloister.apps.configuration import RunningConfiguration
from cloister.apps.logs import Sink
from cloister.apps.supervisor import Supervisor
from cloister.cells.cgroups.hierarchies import discover
from cloister.control.api import application
from cloister.control.server import ControlServer
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import plan_socket


class Many:
    """Has many applications, which do something all the time."""

    def __init__(self, groups: list[tuple[tuple[str, int], ...]]) -> None:
        self._groups = groups
        self.answers = 0

    async def brief(self) -> Brief:
        self.answers += 1
        apps = tuple(
            AppBrief(f"app-{n}", "ready", (n,), 0, self.answers * n, n % 7, 0, 0, folders)
            for n, folders in enumerate(self._groups)
        )
        listener = ListenerBrief("https", "[::]:443", self.answers, 3, 0)
        return Brief(time.monotonic(), (1,), "ready", (listener,), apps)


@contextlib.contextmanager
def groups(count: int) -> Iterator[list[tuple[tuple[str, int], ...]]]:
    made: list[Path] = []
    found = []
    sites = discover().used
    try:
        for number in range(count):
            folders = []
            for site in sites:
                folder = Path(site.folder) / f"bench-top-{os.getpid()}-{number}"
                folder.mkdir()
                made.append(folder)
                folders.append((str(folder), site.version))
            found.append(tuple(folders))
        yield found
    finally:
        for folder in reversed(made):
            folder.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--apps", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with groups(options.apps) as folders, tempfile.TemporaryDirectory() as place:
        many = Many(folders)
        runtime = Path(place) / "run"
        runtime.mkdir()
        config = Path(place) / "cloister.toml"
        config.write_text(
            f'[cloister]\nruntime-directory = "{runtime}"\n'
            '[listeners.https]\nlisten = "127.0.0.1:0"\n'
        )
        loop = asyncio.new_event_loop()
        serving = threading.Thread(target=_serve, args=(loop, many, runtime), daemon=True)
        serving.start()
        while not (runtime / "control.sock").exists():
            assert serving.is_alive(), "its own message is above"
            time.sleep(0.05)
        _measure(str(config), many, options.seconds)


def _serve(loop: asyncio.AbstractEventLoop, many: Many, runtime: Path) -> None:
    async def no_metrics() -> str:
        return ""

    async def run() -> None:
        configuration = cast("RunningConfiguration", None)
        api = application(cast("Supervisor", many), configuration, no_metrics)
        path = str(runtime / "control.sock")
        ControlServer(plan_socket(path, SocketOptions(mode=0o600)), api, Sink()).start()
        await asyncio.Event().wait()

    loop.run_until_complete(run())


def _measure(config: str, many: Many, seconds: float) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="160", LINES="50")
        os.execv(sys.executable, [sys.executable, "-m", "cloister", "top", config])
    process = psutil.Process(pid)
    while many.answers < 4:  # the start: imports, the first looks
        _drain(terminal, 1.0)
    answers, own = many.answers, sum(process.cpu_times()[:2])
    ours = time.process_time()
    begun = time.monotonic()
    _drain(terminal, seconds)
    spent = time.monotonic() - begun
    share = (sum(process.cpu_times()[:2]) - own) / spent
    answering = (time.process_time() - ours) / spent
    looks = many.answers - answers
    print(f"top: {share:.2%} of a core, a look every {spent / max(1, looks):.1f} s")
    print(f"answering it: {answering:.2%} of a core, this program's reading of the terminal too")
    os.write(terminal, b"q")
    _drain(terminal, 2.0)
    process.kill()
    os.waitpid(pid, 0)


def _drain(terminal: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            try:
                os.read(terminal, 1 << 16)
            except OSError:
                return


if __name__ == "__main__":
    main()
