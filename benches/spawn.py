#!/usr/bin/env python3
"""Compares making a cell with bubblewrap and unshare(1): interleaved, medians, ratios.

Each contestant runs /bin/true in namespaces of its own; what is measured is the time from the
start of its program to its end, which is what a restart or a request to a sleeping application
waits for. Needs the installed package and the Debian packages that ``scripts/bench-spawn``
installs.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloister.cells import idmap, programs, spec
from cloister.cells.plan import build_cell
from cloister.model.app import App, CommandProgram
from cloister.model.fences import Fences, FilterProfile, LandlockChoice
from cloister.model.isolation import HostIdentity, Isolation, Namespaces
from cloister.processes import memory_file

HOST_ID = 487_900
"""Nobody's: the cells' user where root measures."""
TRUE = "/bin/true"
BASE, CELL, BARE, BUBBLEWRAP, UNSHARE = "fork", "cell", "cell-bare", "bwrap", "unshare"
BOUND = 1.0
"""The promise: a default cell takes at most so many times what bubblewrap takes."""


@dataclass(frozen=True)
class Contestant:
    """Something that runs /bin/true."""

    name: str
    title: str
    command: Sequence[str]
    descriptor: int | None = None
    """Is read from its beginning at each start."""

    def run(self) -> int:
        """Nanoseconds for one run."""
        if self.descriptor is not None:
            os.lseek(self.descriptor, 0, os.SEEK_SET)
        begin = time.perf_counter_ns()
        process = os.posix_spawn(self.command[0], list(self.command), {"PATH": "/usr/bin:/bin"})
        _, status = os.waitpid(process, 0)
        taken = time.perf_counter_ns() - begin
        if status != 0:
            sys.exit(f"bench-spawn: {self.name} failed: {os.waitstatus_to_exitcode(status)}")
        return taken


def _spec(*, fences: bool) -> spec.Spec:
    """The cell of `cloister run -- true`, and the same without what bubblewrap does not do."""
    own = (HOST_ID, HOST_ID) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    app = App("bench", CommandProgram((TRUE,)), None)
    if not fences:
        app = dataclasses.replace(
            app,
            fences=Fences(profile=FilterProfile.NONE, landlock=LandlockChoice.OFF),
            isolation=Isolation(Namespaces(time=False)),
        )
    plan = build_cell(app, HostIdentity(*own), None, working_directory="/tmp")
    plan.close()
    return plan.spec


def _cell(name: str, title: str, wanted: spec.Spec) -> Contestant:
    descriptor = memory_file("spec", spec.encode(wanted))
    os.set_inheritable(descriptor, True)
    command = (programs.find("cloister-cell"), "run", "--spec-fd", str(descriptor))
    return Contestant(name, title, command, descriptor)


def _bubblewrap(wanted: spec.Spec) -> Contestant:
    """The same view and the same namespaces, as far as it has options for them."""
    seen = wanted.filesystem
    words = [_program("bwrap"), "--unshare-user", "--unshare-pid", "--unshare-ipc"]
    words += ["--unshare-uts", "--unshare-cgroup", "--unshare-net", "--hostname", "bench"]
    words += ["--uid", str(idmap.USER_ID), "--gid", str(idmap.USER_ID), "--cap-drop", "ALL"]
    words += ["--new-session", "--clearenv"]
    for bind in seen.binds:
        words += ["--ro-bind-try" if bind.optional else "--ro-bind", bind.source, bind.destination]
    for link in seen.links:
        words += ["--symlink", link.target, link.path]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp"]
    return Contestant(BUBBLEWRAP, "bubblewrap, the same view", (*words, TRUE))


def _unshare() -> Contestant:
    words = [_program("unshare"), "--user", "--map-root-user", "--mount", "--pid", "--fork"]
    words += ["--ipc", "--uts", "--net", "--cgroup", "--mount-proc"]
    return Contestant(UNSHARE, "unshare, the host's files as they are", (*words, TRUE))


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        sys.exit(f"bench-spawn: {name} is missing")
    return found


def _samples(contestants: Sequence[Contestant], rounds: int) -> dict[str, list[int]]:
    """Each runs once in each round; who begins moves on, so that nobody always follows one."""
    samples: dict[str, list[int]] = {one.name: [] for one in contestants}
    for one in contestants:
        one.run()
    for number in range(rounds):
        first = number % len(contestants)
        for one in (*contestants[first:], *contestants[:first]):
            samples[one.name].append(one.run())
    return samples


def _report(contestants: Sequence[Contestant], samples: dict[str, list[int]], command: str) -> str:
    reference = statistics.median(samples[BUBBLEWRAP])
    rounds = len(samples[BUBBLEWRAP])
    lines = [
        "# Starting a cell",
        "",
        f"<!-- Written by `{command}`; do not edit. -->",
        "",
        "How long it takes from the start of a program that makes a sandbox to the end of",
        f"`/bin/true` in it; {rounds} rounds, in each of which everybody ran once. Linux",
        f"{platform.release()}, {os.cpu_count()} processors, as "
        f"{'root' if os.geteuid() == 0 else 'an ordinary user'}.",
        "",
        "| | median | 10 % | 90 % | to bubblewrap |",
        "|---|---|---|---|---|",
    ]
    for one in contestants:
        taken = sorted(samples[one.name])
        tenth, middle, ninth = (
            taken[len(taken) // 10],
            statistics.median(taken),
            taken[len(taken) * 9 // 10],
        )
        lines.append(
            f"| {one.title} | {middle / 1e6:.2f} ms | {tenth / 1e6:.2f} ms | {ninth / 1e6:.2f} ms "
            f"| {middle / reference:.2f} |"
        )
    lines += [
        "",
        "All but the first make user, mount, pid, ipc, uts, cgroup and network namespaces. The",
        "default cell also has a time namespace, a system call filter, Landlock, resource limits,",
        "a keyring of its own, and a /proc without other processes; bubblewrap has none of these.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--write", type=Path, help="write the report to this file")
    parser.add_argument("--json", type=Path, help="write every sample, in nanoseconds")
    parser.add_argument("--check", action="store_true", help="fail where the promise is not kept")
    arguments = parser.parse_args()
    bare = _spec(fences=False)
    contestants = [
        Contestant(BASE, "no sandbox: fork and exec", (TRUE,)),
        _cell(CELL, "**a default cell**, with all its fences", _spec(fences=True)),
        _cell(BARE, "a cell with what bubblewrap has", bare),
        _bubblewrap(bare),
        _unshare(),
    ]
    samples = _samples(contestants, arguments.rounds)
    report = _report(contestants, samples, os.environ.get("BENCH_COMMAND", "benches/spawn.py"))
    print(report, end="")
    if arguments.write is not None:
        arguments.write.write_text(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(samples))
    ratio = statistics.median(samples[CELL]) / statistics.median(samples[BUBBLEWRAP])
    return 1 if arguments.check and ratio > BOUND else 0


if __name__ == "__main__":
    sys.exit(main())
