#!/usr/bin/env python3
"""Measures how long it takes from a PUT of a configuration of NGINX Unit's to the first answer.

A supervisor of its own runs an empty configuration. In each round a whole one is put, with a
listener and an application of type `external` that is new, isolated as in NGINX's announcement;
the clock runs from before the request to the end of the first 200 through the listener. Then the
empty one is put again. Needs root, the installed package and a C compiler.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil

EMPTY: dict[str, Any] = {"listeners": {}, "applications": {}}
NAMESPACES = ("cgroup", "credential", "mount", "network", "pid", "uname")
UNIT = 15.5
"""Milliseconds that NGINX Unit takes: 15 to 16, by its own users' count."""
MEMORY = "/dev/shm"
REST = 3.0
"""Seconds without a change: the processors and the disk have other things to do."""
PATIENCE = 60.0


class Control(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


def put(control: str, configuration: dict[str, Any]) -> None:
    connection = Control(control)
    connection.request("PUT", "/config", json.dumps(configuration))
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != 200:
        sys.exit(f"bench-unit: {text.decode()}")


def first_answer(port: int) -> None:
    """Returns when the listener has answered 200; it is there from the moment the PUT ends."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/")
    answer = connection.getresponse()
    if answer.status != 200 or answer.read() != b"ok":
        sys.exit("bench-unit: a wrong answer")
    connection.close()


def configuration(port: int, program: Path, *, isolated: bool) -> dict[str, Any]:
    application: dict[str, Any] = {"type": "external", "executable": str(program)}
    if isolated:
        one = [{"container": 0, "host": 1000, "size": 1000}]
        application["user"] = "root"
        application["isolation"] = {
            "namespaces": dict.fromkeys(NAMESPACES, True),
            "uidmap": one,
            "gidmap": one,
        }
    return {
        "listeners": {f"127.0.0.1:{port}": {"pass": "applications/go-app"}},
        "applications": {"go-app": application},
    }


def measure(
    control: str,
    wanted: dict[str, Any],
    port: int,
    rounds: int,
    before: Callable[[], None] = lambda: None,
) -> list[tuple[int, int]]:
    """For each round the nanoseconds to the answer of the PUT, and to that of the application.
    ``before`` is called before each."""
    samples = []
    for _ in range(rounds):
        before()
        begin = time.perf_counter_ns()
        put(control, wanted)
        accepted = time.perf_counter_ns()
        first_answer(port)
        samples.append((accepted - begin, time.perf_counter_ns() - begin))
        put(control, EMPTY)
    return samples


def forget(supervisor: int) -> None:
    """As before the first change, when there is no process that checks."""
    for process in psutil.Process(supervisor).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "cloister.config.apart" not in process.cmdline():
                continue
            process.kill()
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def supervise(folder: Path, memory: Path, rounds: int) -> dict[str, list[tuple[int, int]]]:
    program = folder / "answer"
    source = Path(__file__).parent / "peers" / "answer.c"
    subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    file, runtime = folder / "unit.json", memory / "run"
    file.write_text(json.dumps(EMPTY))
    places = {"RUNTIME_DIRECTORY": str(runtime), "STATE_DIRECTORY": str(folder / "state")}
    command = [sys.executable, "-m", "cloister", "up", str(file)]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **places}) as up,
    ):
        try:
            control, port = str(runtime / "control.sock"), free_port()
            end = time.monotonic() + PATIENCE
            while not Path(control).exists():
                if time.monotonic() > end or up.poll() is not None:
                    sys.exit(f"bench-unit: no supervisor\n{(folder / 'log').read_text()}")
                time.sleep(0.05)
            found = {}
            plain = configuration(port, program, isolated=False)
            few = max(rounds // 4, 2)
            found["first"] = measure(control, plain, port, few, partial(forget, up.pid))
            found["rest"] = measure(control, plain, port, few, partial(time.sleep, REST))
            for name, isolated in (("plain", False), ("isolated", True)):
                wanted = configuration(port, program, isolated=isolated)
                measure(control, wanted, port, 2)
                found[name] = measure(control, wanted, port, rounds)
            return found
        finally:
            up.terminate()


def joining(rounds: int) -> float | None:
    """Milliseconds, the median, that a process waits for the kernel when it joins a control group
    of version 1; ``None`` where there is none. Of version 2 it is made in its group."""
    group = Path("/sys/fs/cgroup/pids", f"cloister-bench-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        return None
    taken = []
    try:
        for _ in range(rounds):
            time.sleep(0.1)  # those that follow each other wait once
            with subprocess.Popen(["sleep", "60"]) as process:
                begin = time.perf_counter_ns()
                (group / "cgroup.procs").write_text(str(process.pid))
                taken.append((time.perf_counter_ns() - begin) / 1e6)
                process.kill()
    finally:
        group.rmdir()
    return statistics.median(taken)


def report(samples: dict[str, list[tuple[int, int]]], joined: float | None, command: str) -> str:
    rounds = len(samples["plain"])
    lines = [
        "# From a PUT to the first answer",
        "",
        f"<!-- Written by `{command}`; do not edit. -->",
        "",
        "How long it takes from the request that puts a whole configuration of NGINX Unit's, with",
        "a new listener and a new application, to the end of the application's first answer",
        f"through it; {rounds} rounds. Linux {platform.release()}, {os.cpu_count()} processors.",
        "NGINX Unit takes 15 to 16 ms.",
        "",
        "| | accepted, median | first answer, median | 10 % | 90 % | to Unit |",
        "|---|---|---|---|---|---|",
    ]
    titles = {
        "first": "Unit's defaults, the first change of a supervisor",
        "rest": f"Unit's defaults, after {REST:g} s of rest",
        "plain": "Unit's defaults, one change after the other",
        "isolated": "the same with six namespaces and maps",
    }
    for name, pairs in samples.items():
        accepted = statistics.median(one for one, _ in pairs) / 1e6
        taken = sorted(one / 1e6 for _, one in pairs)
        middle = statistics.median(taken)
        tenth, ninth = taken[len(taken) // 10], taken[len(taken) * 9 // 10]
        lines.append(
            f"| {titles[name]} | {accepted:.0f} ms | {middle:.0f} ms | {tenth:.0f} ms "
            f"| {ninth:.0f} ms | {middle / UNIT:.1f} |"
        )
    lines += [
        "",
        "A configuration is checked in a process of its own. What it needs is loaded by the first",
        "change, and is kept until memory is short. A configuration is on the disk, by fsync(2),",
        "when it is accepted.",
        "",
    ]
    if joined is not None:
        lines += [
            f"Control groups are of version 1 here: of each row, {joined:.0f} ms are the kernel's,",
            "which lets a process join one after an RCU grace period. Of version 2, processes are",
            "made in their group, without that.",
            "",
        ]
    return "\n".join(lines)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--write", type=Path, help="write the report to this file")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench-unit: needs root")
    with contextlib.ExitStack() as stack:
        # Runtime directories are in memory, as /run is; the state is on the disk.
        folder, memory = (
            Path(tempfile.mkdtemp(prefix="cloister-bench-", dir=place)) for place in (None, MEMORY)
        )
        for made in (folder, memory):
            stack.callback(shutil.rmtree, made)
            made.chmod(0o755)
        samples = supervise(folder, memory, arguments.rounds)
    text = report(samples, joining(20), os.environ.get("BENCH_COMMAND", "benches/unit_put.py"))
    print(text, end="")
    if arguments.write is not None:
        arguments.write.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
