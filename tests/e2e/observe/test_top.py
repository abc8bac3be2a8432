"""`cloister top` against the kernel's own counters, under load, and on a real terminal."""

import contextlib
import json
import os
import pty
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.hello import Hello
from tests.support.up import ASGI, Client, Up, open_folder
from tests.support.waiting import Deadline, wait_until

from cloister.control.client import ControlClient

BUSY = """
import select, socket, threading
listening = socket.socket(fileno=3)
held = bytearray(b"x" * 40_000_000)
def burn():
    while True:
        sum(range(10_000))
threading.Thread(target=burn, daemon=True).start()
while True:
    select.select([listening], [], [])
    try:
        listening.accept()[0].close()
    except BlockingIOError:
        pass
"""


GREEDY = """
import select, socket
listening = socket.socket(fileno=3)
while True:
    select.select([listening], [], [])
    try:
        connection, _ = listening.accept()
    except BlockingIOError:
        continue
    taken = []
    while connection.recv(4096):  # whoever comes and says something has it take all there is
        while True:
            taken.append(bytearray(b"x" * 1048576))
"""
MEMORY = 64 * 1024 * 1024
LIMITS = "limits = { cpu-max = 0.1, required = false }\n"


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        line = json.dumps(["/usr/bin/python3", "-c", BUSY])
        greedy = json.dumps(["/usr/bin/python3", "-c", GREEDY])
        running.write(
            {"calm": ASGI},
            f'[apps.busy]\ncommand = {line}\nhosts = ["busy.example"]\n{LIMITS}'
            f'[apps.greedy]\ncommand = {greedy}\nhosts = ["greedy.example"]\n'
            f'limits = {{ memory = "64M", required = false }}\n'
            f'[listeners.aside]\nlisten = "unix:{folder}/aside.sock"\n'
            f'route = {{ target = "unix:{folder}/elsewhere.sock" }}\n',
        )
        running.start("--log-format", "json")
        try:
            running.wait_ready()
            yield running
        finally:
            running.close()


def top(up: Up, *arguments: str) -> str:
    command = [sys.executable, "-m", "cloister", "top", str(up.config), "--once", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def rows(up: Up) -> dict[str, dict[str, Any]]:
    view = json.loads(top(up, "--json", "--interval", "0.5"))
    return {row["name"]: row for row in view["rows"]}


def family(up: Up, name: str) -> list[psutil.Process]:
    pid = up.app(name).pid
    assert pid is not None
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def test_processor_time_is_the_kernels(up: Up) -> None:
    processes = family(up, "busy")
    before = cpu_seconds(processes)
    found = rows(up)["busy"]
    after = cpu_seconds(processes)
    # Building the cell, which has ended, counts as well where a control group counts.
    assert before - 0.05 <= found["usage"]["cpu_seconds"] <= after + 1.0
    assert 0 < found["cpu"] <= os.cpu_count() + 0.1  # type: ignore[operator]
    assert rows(up)["calm"]["cpu"] < found["cpu"]


def test_memory_and_tasks_are_the_kernels(up: Up) -> None:
    found = rows(up)["busy"]["usage"]
    processes = family(up, "busy")
    held = sum(one.memory_info().rss for one in processes)
    # A control group counts no shared pages of libraries twice, and the page cache once.
    assert 40_000_000 <= found["memory_bytes"] <= held * 1.25
    assert found["tasks"] >= sum(one.num_threads() for one in processes) - len(processes)


def group_file(up: Up, name: str, file: str) -> Path:
    """A file of an application's control groups; skips where no group has it."""
    with ControlClient(str(up.runtime / "control.sock")) as client:
        (app,) = [one for one in client.brief().apps if one.name == name]
    found = [Path(folder) / file for folder, _ in app.groups if (Path(folder) / file).exists()]
    if not found:
        pytest.skip(f"no control group here has {file}")
    return found[0]


def field(file: Path, *names: str) -> int:
    pairs = dict(line.split() for line in file.read_text().splitlines())
    return next(int(pairs[name]) for name in names if name in pairs)


def test_waiting_for_processors_is_the_kernels(up: Up) -> None:
    resources = up.app("busy").resources
    assert resources is not None
    (limit,) = [one for one in resources.limits if one.name == "cpu-max"]
    if not limit.in_force:
        pytest.skip(f"cpu-max is not in force here: {limit.detail}")
    file = group_file(up, "busy", "cpu.stat")
    keys = ("throttled_time", "throttled_usec")  # versions 1 and 2
    divisor = 1e9 if "throttled_time" in file.read_text() else 1e6
    wait_until(lambda: field(file, *keys) > 0, what="the limit to be met", seconds=60)
    before = field(file, *keys) / divisor
    found = rows(up)["busy"]
    after = field(file, *keys) / divisor
    assert before <= found["usage"]["throttled_seconds"] <= after
    assert found["throttled"] > 0
    assert found["usage"]["oom_kills"] in {None, 0}


def test_connections_and_bytes_are_those_of_the_connection_log(up: Up) -> None:
    before = rows(up)["calm"]
    for _ in range(5):
        Client(up, "calm.example").get()

    def records() -> list[dict[str, Any]]:
        return [
            line for line in up.log() if line.get("app") == "calm" and "bytes_to_client" in line
        ]

    wait_until(lambda: len(records()) == before["accepted"] + 5, what="the log of all")
    after = rows(up)["calm"]
    assert after["accepted"] - before["accepted"] == 5
    assert after["bytes_to_client"] == sum(one["bytes_to_client"] for one in records())
    assert after["bytes_to_target"] == sum(one["bytes_to_target"] for one in records())


def test_the_busiest_is_first_in_the_table(up: Up) -> None:
    heading, first, *others = top(up, "--interval", "0.5").splitlines()
    assert heading.split()[:4] == ["APP", "STATE", "CPU%", "THR%"]
    assert first.split()[:2] == ["busy", "ready"]
    assert {line.split()[0] for line in others} == {"calm", "greedy"}
    assert top(up, "--interval", "0.1", "--sort", "name").splitlines()[1].startswith("busy ")


def test_routes_are_counted_as_the_door_counts(up: Up) -> None:
    for _ in range(3):
        Client(up, "calm.example").get()
    with pytest.raises(OSError):  # noqa: PT011 - nobody is there, and the door says so by an end
        aside(up)
    view = json.loads(top(up, "--json", "--interval", "0.1"))
    found = {
        (one["way"]["listener"], one["way"]["target"], *one["way"]["hosts"]): one
        for one in view["routes"]
    }
    calm = found["https", "app calm", "calm.example", "*.calm.example"]
    status = up.status()
    traffic = up.app("calm").traffic
    assert traffic is not None
    assert calm["accepted"] == traffic.accepted >= 3
    assert ("https", "app busy", "busy.example") in found
    # A way that leads to no application has its listener's numbers.
    other = found["aside", f"to unix:{up.folder}/elsewhere.sock"]
    (listener,) = [one for one in status.listeners if one.name == "aside"]
    assert other["accepted"] == listener.accepted == 1
    assert other["received"] is None
    table = top(up, "--routes", "--interval", "0.1").splitlines()
    assert table[0].split() == ["LISTENER", "NAMES", "TO", "OPEN", "CONN/s", "ALL", "IN/s", "OUT/s"]
    assert any("calm.example, *.calm.example" in line and "app calm" in line for line in table)


def aside(up: Up) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(f"{up.folder}/aside.sock")
        client.sendall(b"x")
        if not client.recv(1):
            raise ConnectionResetError


def test_a_kill_for_lack_of_memory_is_the_kernels_and_shown(up: Up) -> None:
    resources = up.app("greedy").resources
    assert resources is not None
    (limit,) = [one for one in resources.limits if one.name == "memory"]
    if not limit.in_force:
        pytest.skip(f"memory is not in force here: {limit.detail}")
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(pytest.skip.Exception):
            file = group_file(up, "greedy", name)
            break
    else:
        pytest.skip("no control group here counts kills for lack of memory")
    if "oom_kill " not in file.read_text():
        pytest.skip("this kernel does not count kills for lack of memory")
    assert rows(up)["greedy"]["usage"]["oom_kills"] == 0
    restarts = up.app("greedy").restarts
    with socket.create_connection(("127.0.0.1", up.port), 60) as client:
        client.settimeout(60)
        client.sendall(Hello(b"greedy.example").records())
        with contextlib.suppress(OSError):
            while client.recv(4096):
                pass
    wait_until(lambda: up.app("greedy").restarts > restarts, what="the restart", seconds=60)
    up.wait_ready()
    found = rows(up)["greedy"]
    assert found["usage"]["oom_kills"] == field(file, "oom_kill") >= 1
    assert found["restarts"] == restarts + 1
    assert found["usage"]["memory_bytes"] <= MEMORY
    heading, first, *_ = top(up, "--interval", "0.1", "--sort", "oom").splitlines()
    shown = dict(zip(heading.split(), first.split(), strict=False))
    assert (shown["APP"], int(shown["OOM"])) == ("greedy", found["usage"]["oom_kills"])


def test_on_a_terminal_it_shows_and_ends_with_q(up: Up) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="140", LINES="24")
        command = [sys.executable, "-m", "cloister", "top", str(up.config), "--interval", "0.2"]
        os.execv(sys.executable, command)
    seen = b""
    deadline = Deadline(60)
    try:
        while b"busy" not in seen or b"HISTORY" not in seen:
            assert not deadline.expired, seen[-2000:]
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 65536)
        os.write(terminal, b"q")
        while True:
            assert not deadline.expired
            try:
                if select.select([terminal], [], [], 0.2)[0] and not os.read(terminal, 65536):
                    break
            except OSError:  # EIO: the other side is closed
                break
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        pid = 0
    finally:
        if pid:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        os.close(terminal)


def test_json_wants_once(up: Up) -> None:
    command = [sys.executable, "-m", "cloister", "top", str(up.config), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, "cloister top --once --json" in done.stderr) == (2, True)
