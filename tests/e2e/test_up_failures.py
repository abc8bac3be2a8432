"""Accidents: what breaks stays alone, and nobody is ever refused."""

import collections
import os
import signal
import threading
from collections.abc import Iterator

import pytest
from tests.support.up import SITES, Client, Up, open_folder
from tests.support.waiting import wait_until

THREADS = 8
REQUESTS = 250
"""Of each thread: 2,000 connections in all."""


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        try:
            yield running
        finally:
            running.close()


class Load:
    """Bounded concurrent requests, one connection each, and what became of them."""

    def __init__(self, up: Up, hosts: tuple[str, ...]) -> None:
        self._clients = {host: Client(up, host) for host in hosts}
        self._lock = threading.Lock()
        self.outcomes: dict[str, collections.Counter[str]] = {
            host: collections.Counter() for host in hosts
        }
        self._threads = [threading.Thread(target=self._work) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        for _ in range(REQUESTS // len(self._clients)):
            for host, client in self._clients.items():
                try:
                    client.get()
                    outcome = "answered"
                except Exception as error:  # noqa: BLE001 - counted, and judged by the test
                    outcome = type(error).__name__
                with self._lock:
                    self.outcomes[host][outcome] += 1

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def done(self, host: str) -> int:
        with self._lock:
            return self.outcomes[host].total()

    def wait_progress(self, host: str, count: int) -> None:
        """Returns when so many more requests have ended, or all."""
        goal = self.done(host) + count
        wait_until(lambda: not self.running or self.done(host) > goal, what="answers", seconds=30)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def test_killing_an_application_under_load_refuses_nobody_and_the_other_notices_nothing(
    up: Up,
) -> None:
    up.write(SITES)
    up.start()
    up.wait_ready()
    load = Load(up, ("one.example", "two.example"))
    kills = 0
    while load.running and kills < 5:
        # Every round waits until it serves again: requests of this very site are answered.
        load.wait_progress("one.example", 20)
        pid = up.app("one").pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            kills += 1
    load.join()
    assert kills >= 3
    assert load.outcomes["two.example"] == {"answered": 1000}
    assert load.outcomes["one.example"].total() == 1000
    assert load.outcomes["one.example"]["ConnectionRefusedError"] == 0
    # What it had accepted when it was killed is lost, and nothing else: at most what
    # eight clients have under way.
    assert load.outcomes["one.example"]["answered"] >= 1000 - kills * THREADS
    up.wait_ready()
    assert up.app("one").restarts == kills
    assert up.app("two").restarts == 0


def test_killing_the_door_under_load_refuses_nobody(up: Up) -> None:
    up.write(SITES)
    up.start()
    pid = up.wait_ready().apps[0].pid
    load = Load(up, ("one.example", "two.example"))
    kills = 0
    while load.running and kills < 4:
        load.wait_progress("one.example", 30)
        door = up.status().door.pid
        if door is not None:
            os.kill(door, signal.SIGKILL)
            kills += 1
    load.join()
    assert kills >= 3
    for host in ("one.example", "two.example"):
        assert load.outcomes[host]["ConnectionRefusedError"] == 0
        assert load.outcomes[host]["answered"] >= 1000 - kills * THREADS
    status = up.wait_ready()
    assert status.door.restarts == kills
    assert status.door.generation == kills + 1
    # The applications did not even notice that there is another door.
    assert [app.restarts for app in status.apps] == [0, 0]
    assert status.apps[0].pid == pid
    assert Client(up, "one.example").get().startswith(b"asgi https / ")


def test_killing_a_cells_first_process_from_inside_is_a_restart_too(up: Up) -> None:
    up.write({"one": SITES["one"] + "\nimport signal\n", "two": SITES["two"]})
    up.start()
    status = up.wait_ready()
    pid = status.apps[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)  # the program ends cleanly although nobody asked for it
    wait_until(lambda: up.app("one").restarts == 1, what="a restart", seconds=30)
    up.wait_ready()
    assert Client(up, "one.example").get().startswith(b"asgi")


BROKEN = "print('about to fail', flush=True)\nimport nothing_of_that_name\n"


def test_a_broken_application_harms_no_other(up: Up) -> None:
    up.write({"broken": BROKEN, "two": SITES["two"]})
    up.start()
    up.wait_ready("two")
    assert Client(up, "two.example").get() == b"wsgi https /"
    wait_until(lambda: up.app("broken").restarts >= 2, what="tried again", seconds=30)
    broken = up.app("broken")
    assert broken.failure is not None
    assert broken.failure.message == "ended by itself before it was ready (exit status 1)"
    last = broken.failure.last_output
    assert "about to fail" in last
    assert last[-1] == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    warnings = [line["message"] for line in up.log() if line["level"] == "warning"]
    assert "ready: 1 of 2 apps; not ready: broken" in warnings
    error = next(line for line in up.log() if line["level"] == "error")
    assert error["source"] == "broken"
    assert error["details"] == list(last)
    assert up.stop() == 0


def test_a_broken_application_that_is_mended_comes_up(up: Up) -> None:
    up.write({"broken": BROKEN, "two": SITES["two"]})
    up.start()
    up.wait_ready("two")
    up.write({"broken": SITES["one"], "two": SITES["two"]})
    up.wait_ready()
    assert Client(up, "broken.example").get().startswith(b"asgi https / ")


def test_an_application_that_never_becomes_ready_is_killed_and_told(up: Up) -> None:
    hanging = "import time\ntime.sleep(1000)\n"
    up.write({"hanging": hanging, "two": SITES["two"]})
    text = up.config.read_text().replace('"20s"', '"2s"')
    up.config.write_text(text)
    up.start()
    up.wait_ready("two")
    wait_until(lambda: up.app("hanging").failure is not None, what="a failure", seconds=30)
    failure = up.app("hanging").failure
    assert failure is not None
    assert failure.message == "not ready after 2 s, so it was killed"
    assert up.stop() == 0


def test_what_an_application_prints_cannot_forge_the_log(up: Up) -> None:
    shouting = SITES["two"] + (
        "import sys\n"
        "print('\\x1b[2J\\rcloister | forged', flush=True)\n"
        "sys.stdout.buffer.write(b'\\xff\\n'); print('x' * 100_000, flush=True)\n"
        "print('to stderr', file=sys.stderr, flush=True)\n"
    )
    up.write({"two": shouting})
    up.start("--log-format", "plain")
    up.wait_ready()
    log = up.log_path.read_bytes()
    assert b"\x1b" not in log
    assert b"two      | \\x1b[2J\\x0dcloister | forged\n" in log
    assert b"x" * 8192 + b" [91808 bytes more]\n" in log
    assert b"two      | to stderr\n" in log


def test_an_application_that_floods_its_output_harms_no_other(up: Up) -> None:
    flooding = SITES["two"] + (
        "import sys, threading\n"
        "def flood():\n"
        "    while True:\n"
        "        sys.stdout.write('y' * 100 + '\\n')\n"
        "threading.Thread(target=flood, daemon=True).start()\n"
    )
    up.write({"one": SITES["one"], "two": flooding})
    up.start("--log-format", "plain")
    up.wait_ready()
    client = Client(up, "one.example")
    for _ in range(20):
        assert client.get().startswith(b"asgi")
    assert up.stop() == 0
