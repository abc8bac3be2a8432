"""Cells under limits: what each limit does, on whatever kernel this runs.

``tests/kernel/test_cell_limits.py`` runs the scenes on this machine, and
``tests/cgroup2/`` in an emulated one whose control groups are of version 2, by
``python3 -m tests.support.limited``. Nothing beside the standard library is imported.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path

from cloister.cells.cgroups.app_group import AppGroup
from cloister.cells.cgroups.counters import Counters
from cloister.cells.cgroups.disks import disk_of
from cloister.cells.cgroups.groups import ControlGroups
from cloister.cells.cgroups.hierarchies import discover
from cloister.cells.cgroups.tree import inner
from cloister.cells.cgroups.watch import Watcher
from cloister.cells.launch import CellProcess
from cloister.cells.plan import build_cell
from cloister.model.app import App, CommandProgram
from cloister.model.errors import CloisterError
from cloister.model.isolation import Bind, HostIdentity
from cloister.model.limits import CpuBackground, IoBound, Limits

PYTHON = "/usr/bin/python3"
ROOT = os.geteuid() == 0
IDENTITY = HostIdentity(487_011, 487_011) if ROOT else HostIdentity(os.geteuid(), os.getegid())
MEGABYTE = 1 << 20
DEADLINE = 300.0 if "CELL_SLOW" in os.environ else 60.0
"""Seconds; an emulated machine is slow."""

HOG = "x = []\nwhile True: x.append(bytearray(1 << 20))"
"""Takes memory without end."""
IDLE = "import sys, time; print('up', flush=True); time.sleep(600)"
BOMB = """
import os, time
print('up', flush=True)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""
"""Doubles without end, and lives on when it cannot."""
SPINNER = """
import os
print('up', flush=True)
os.fork()
while True: pass
"""


WRITER = """
import mmap, os, time
block = mmap.mmap(-1, 1 << 18)
file = os.open("/data/file", os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
begun = time.monotonic()
for _ in range(16):
    os.write(file, block)
print(time.monotonic() - begun)
"""
"""Says how long 4 MiB take, past the page cache."""
READER = """
import mmap, os
block = mmap.mmap(-1, 1 << 14)
file = os.open("/data/file", os.O_RDONLY | os.O_DIRECT)
print("up", flush=True)
os.fork()
os.fork()
while True:
    if os.preadv(file, [block], int.from_bytes(os.urandom(2), "little") % 1024 << 14) == 0:
        raise SystemExit("the file is too short")
"""


class MissingFeatureError(Exception):
    """What this machine lacks for a scene."""


@contextlib.contextmanager
def control_groups() -> Iterator[ControlGroups]:
    """Groups of a supervisor of the test's own; nothing of them may be left at the end."""
    name = f"cloister-test-{os.getpid()}"
    groups = ControlGroups(discover(), name)
    try:
        yield groups
    finally:
        groups.close()
        left = [site.folder for site in discover().sites if Path(site.folder, name).exists()]
        assert not left, left


@contextlib.asynccontextmanager
async def cell(
    group: AppGroup, script: str, *, own_pids: bool = True, data: str | None = None
) -> AsyncIterator[CellProcess]:
    """A cell in the group, with ``data`` writable at /data; killed at the end."""
    binds = () if data is None else (Bind(data, "/data", writable=True),)
    app = App(group.name, CommandProgram((PYTHON, "-I", "-c", script)), None, binds=binds)
    plan = build_cell(app, IDENTITY, None, groups=group)
    if not own_pids:
        namespaces = dataclasses.replace(plan.spec.namespaces, pid=False)
        # The /proc of other processes is another test's.
        files = dataclasses.replace(plan.spec.filesystem, proc=False)
        plan.spec = dataclasses.replace(plan.spec, namespaces=namespaces, filesystem=files)
    process = await CellProcess.start(
        plan, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.signal(signal.SIGKILL)
        await process.wait()


async def output(group: AppGroup, script: str, *, data: str | None = None) -> tuple[str, int]:
    """What a cell prints, and its exit status."""
    async with cell(group, script, data=data) as process, asyncio.timeout(DEADLINE):
        assert process.stdout is not None
        text = (await process.stdout.read()).decode()
        return text.strip(), await process.wait()


async def eventually(condition: Callable[[], object], what: str) -> None:
    """Waits until the condition holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE:g} s: {what}"
        await asyncio.sleep(0.02)


async def up(process: CellProcess) -> None:
    """Waits for the line that says that the script runs."""
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE):
        line = await process.stdout.readline()
    assert line == b"up\n", line + await process.stdout.read()


def members(group: AppGroup) -> list[int]:
    """The processes in the group, wherever its folders are."""
    found = set()
    for folder, _ in group.places:
        for file in Path(folder).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found |= {int(line) for line in file.read_text().split()}
    return sorted(found)


def _read(folder: str, file: str) -> str:
    return Path(folder, file).read_text()


async def memory(groups: ControlGroups) -> None:
    """A memory hog is killed, and nobody beside it."""
    hog = groups.application("hog", Limits(memory=48 * MEGABYTE, swap=0))
    quiet = groups.application("quiet", Limits(memory=48 * MEGABYTE))
    async with cell(quiet, IDLE) as beside:
        await up(beside)
        assert await output(hog, HOG) == ("", -signal.SIGKILL)
        assert beside.returncode is None
    assert hog.counters().oom_kills >= 1
    assert quiet.counters().oom_kills == 0
    peak = hog.usage().memory_peak_bytes
    assert peak is not None
    assert 24 * MEGABYTE < peak <= 48 * MEGABYTE
    # The same program with room for it goes on to where a bigger limit stands.
    roomy = groups.application("roomy", Limits(memory=96 * MEGABYTE, swap=0))
    assert await output(roomy, HOG) == ("", -signal.SIGKILL)
    bigger = roomy.usage().memory_peak_bytes
    assert bigger is not None
    assert bigger > 48 * MEGABYTE


async def pids(groups: ControlGroups) -> None:
    """A fork bomb stops at its limit, beside which others fork; it ends as a whole."""
    bomb = groups.application("bomb", Limits(pids=20))
    quiet = groups.application("quiet", Limits())
    async with cell(bomb, BOMB) as process:
        await up(process)
        await eventually(lambda: bomb.counters().pids_refused > 10, "the bomb meets its limit")
        assert bomb.usage().tasks == 20
        forks = "import os\nprint(len([os.fork() or os._exit(0) for _ in range(40)]))"
        assert await output(quiet, forks) == ("40", 0)
    assert members(bomb) == []
    assert quiet.counters().pids_refused == 0


async def killing(groups: ControlGroups) -> None:
    """A cell without a pid namespace ends as a whole, bomb or not."""
    bomb = groups.application("bomb", Limits(pids=50))
    async with cell(bomb, BOMB, own_pids=False) as process:
        await up(process)
        await eventually(lambda: len(members(bomb)) >= 49, "the bomb is as big as it gets")
    assert members(bomb) == []


async def processors(groups: ControlGroups) -> None:
    """A spinner is throttled, and runs where it may."""
    spinner = groups.application("spinner", Limits(cpu_max=0.2, cpus=(0,), cpu_weight=10))
    where = "import os; print(*os.sched_getaffinity(0))"
    assert await output(spinner, where) == ("0", 0)
    async with cell(spinner, SPINNER) as process:
        await up(process)
        await eventually(lambda: spinner.counters().throttled_periods > 3, "it is throttled")
        assert spinner.counters().throttled_seconds > 0
    free = groups.application("free", Limits())
    assert len((await output(free, where))[0].split()) == os.cpu_count()
    assert free.counters().throttled_periods == 0
    used = spinner.usage().cpu_seconds
    assert used is not None
    assert used > 0


async def disks(groups: ControlGroups) -> None:
    """Bounds for a disk stand where the kernel reads them."""
    bound = IoBound("/", write=MEGABYTE, read_operations=77)
    group = groups.application("writer", Limits(io_max=(bound,)))
    found = group.folder("io")
    assert found is not None
    folder, version = found
    if version == 2:
        text = _read(folder, "io.max")
        assert "wbps=1048576" in text
        assert "riops=77" in text
    else:
        text = _read(folder, "blkio.throttle.write_bps_device")
        assert text.split()[1:] == ["1048576"]


async def weighing(groups: ControlGroups) -> None:
    """Of a busy processor each gets its share by weight."""
    heavy = groups.application("heavy", Limits(cpu_weight=400, cpus=(0,)))
    light = groups.application("light", Limits(cpu_weight=50, cpus=(0,)))
    async with cell(heavy, SPINNER) as one, cell(light, SPINNER) as other:
        await up(one)
        await up(other)
        begun = [_used(group) for group in (heavy, light)]
        await eventually(lambda: _used(heavy) > begun[0] + 2, "two seconds of processor time")
        much, little = _used(heavy) - begun[0], _used(light) - begun[1]
    # Eight times as much, less what the kernel's slices make of it.
    assert little > 0
    assert much / little > 2.5, (much, little)


async def giving_way(groups: ControlGroups) -> None:
    """Whoever gives way leaves a busy processor to the others, and has its weight back then."""
    one = groups.application("one", Limits(cpu_weight=200, cpus=(0,)))
    other = groups.application("other", Limits(cpu_weight=200, cpus=(0,)))
    async with cell(one, SPINNER) as first, cell(other, SPINNER) as second:
        await up(first)
        await up(second)
        # Not before: it might never come up beside the other.
        if not one.give_way(True):
            raise MissingFeatureError("this kernel has no cpu.idle (Linux 5.15)")
        begun = [_used(group) for group in (one, other)]
        await eventually(lambda: _used(other) > begun[1] + 2, "two seconds of processor time")
        little, much = _used(one) - begun[0], _used(other) - begun[1]
        assert much / max(little, 0.001) > 5, (much, little)
        assert one.give_way(False)
        begun[0] = _used(one)
        # In the background this takes minutes. Before Linux 6.6 (EEVDF) it first waits for as
        # long as its last turn there was worth, which is seconds.
        await eventually(lambda: _used(one) > begun[0] + 1, "processor time by weight again")
    folder, version = one.folder("cpu") or ("", 0)
    assert _read(folder, "cpu.idle").strip() == "0"
    assert _read(folder, "cpu.weight" if version == 2 else "cpu.shares").strip() in ("200", "2048")


async def background(groups: ControlGroups) -> None:
    """Always in the background, and no longer; also where an earlier supervisor left it so."""
    always = Limits(cpu_background=CpuBackground.ALWAYS)
    group = groups.application("late", always)
    status = {one.name: one for one in group.limits}["cpu-background"]
    if not status.in_force:
        raise MissingFeatureError(status.detail)
    folder, _ = group.folder("cpu") or ("", 0)
    assert _read(folder, "cpu.idle").strip() == "1"
    groups.application("late", Limits(cpu_weight=50))
    assert _read(folder, "cpu.idle").strip() == "0"
    assert group.give_way(True)
    groups.application("late", Limits(cpu_weight=50))
    assert not group.gives_way
    assert _read(folder, "cpu.idle").strip() == "0"


async def braking(groups: ControlGroups) -> None:
    """Who is slowed down has a tenth of a processor, and its own bound again then."""
    group = groups.application("hog", Limits(cpu_max=0.5))
    folder, version = group.folder("cpu") or ("", 0)
    file = "cpu.max" if version == 2 else "cpu.cfs_quota_us"
    assert _read(folder, file).split()[0] == "50000"
    assert group.slow_down(True)
    async with cell(group, SPINNER) as process:
        await up(process)
        used, begun = _used(group), time.monotonic()
        await eventually(lambda: _used(group) > used + 0.2, "a fifth of a second of processor time")
        elapsed = time.monotonic() - begun
    # Two seconds, less the period that had begun.
    assert elapsed > 1.5, elapsed
    assert group.slow_down(False)
    assert _read(folder, file).split()[0] == "50000"
    # What another supervisor has left so: a configuration that is put into force ends it.
    assert group.slow_down(True)
    groups.application("hog", Limits())
    assert not group.slowed
    assert _read(folder, file).split()[0] in ("max", "-1")


def _used(group: AppGroup) -> float:
    seconds = group.usage().cpu_seconds
    assert seconds is not None
    return seconds


@contextlib.contextmanager
def _disk_folder(parent: str) -> Iterator[str]:
    """A folder on a disk that the cell's user may write to."""
    folder = tempfile.mkdtemp(prefix="cloister-test-", dir=parent)
    try:
        disk_of(folder)
        os.chown(folder, IDENTITY.uid, IDENTITY.gid)
        yield folder
    except CloisterError as error:
        raise MissingFeatureError(f"{error}: {error.why}") from error
    finally:
        shutil.rmtree(folder)


async def slow_disk(groups: ControlGroups) -> None:
    """A bound for a disk slows down its own application, and nobody beside it."""
    with _disk_folder("/var/tmp") as folder:
        bounded = groups.application("bounded", Limits(io_max=(IoBound(folder, write=MEGABYTE),)))
        text, status = await output(bounded, WRITER, data=folder)
        assert status == 0, text
        seconds = float(text)
        assert seconds > 2.5
        free = groups.application("free", Limits())
        text, status = await output(free, WRITER, data=folder)
        assert status == 0, text
        assert float(text) < seconds / 1.5, (text, seconds)


async def weighing_disks(groups: ControlGroups) -> None:
    """Of a busy disk each gets its share by weight, where its scheduler knows weights."""
    with _weighing_disk() as mounted:
        heavy = groups.application("heavy", Limits(io_weight=800))
        light = groups.application("light", Limits(io_weight=50))
        async with (
            cell(heavy, READER, data=mounted) as one,
            cell(light, READER, data=mounted) as other,
        ):
            await up(one)
            await up(other)
            begun = [_read_bytes(group) for group in (heavy, light)]
            enough = begun[0] + 64 * MEGABYTE
            await eventually(lambda: _read_bytes(heavy) > enough, "64 MiB read")
            much = _read_bytes(heavy) - begun[0]
            little = _read_bytes(light) - begun[1]
        assert little > 0
        assert much / little > 1.5, (much, little)


def _read_bytes(group: AppGroup) -> int:
    found = group.folder("io")
    assert found is not None
    folder, version = found
    if version == 2:
        return group.usage().io_read_bytes or 0
    # The bounds of version 1 count only what they bound.
    lines = _read(folder, "blkio.bfq.io_service_bytes_recursive").splitlines()
    return sum(int(line.split()[2]) for line in lines if line.split()[1:2] == ["Read"])


@contextlib.contextmanager
def _weighing_disk() -> Iterator[str]:
    """A folder with a file of 16 MiB, on a disk of its own that is scheduled by bfq."""
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="cloister-test-", dir="/var/tmp")
        stack.callback(shutil.rmtree, folder)
        Path(folder).chmod(0o711)
        image, place = f"{folder}/image", f"{folder}/mount"
        Path(place).mkdir()
        with Path(image).open("wb") as file:
            file.truncate(64 * MEGABYTE)

        def run(*command: str) -> str:
            try:
                done = subprocess.run(command, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                said = getattr(error, "stderr", None) or error
                raise MissingFeatureError(f"{' '.join(command)}: {said}") from error
            return done.stdout.strip()

        run("mke2fs", "-q", "-t", "ext4", image)
        device = run("losetup", "--find", "--show", "--direct-io=on", image)
        stack.callback(run, "losetup", "--detach", device)
        scheduler = Path("/sys/block", Path(device).name, "queue/scheduler")
        if "bfq" not in scheduler.read_text(encoding="ascii"):
            raise MissingFeatureError("this kernel has no bfq, by which disks know weights")
        before = scheduler.read_text(encoding="ascii").partition("[")[2].partition("]")[0]
        scheduler.write_text("bfq")
        stack.callback(scheduler.write_text, before)
        # One request at a time: a disk in memory would never be busy.
        Path(scheduler.parent, "iosched/strict_guarantees").write_text("1")
        Path(scheduler.parent, "iosched/low_latency").write_text("0")
        run("mount", device, place)
        stack.callback(run, "umount", place)
        data = Path(place, "data")
        data.mkdir()
        (data / "file").write_bytes(os.urandom(16 * MEGABYTE))
        (data / "file").chmod(0o644)
        os.sync()
        yield str(data)


async def changing(groups: ControlGroups) -> None:
    """New limits hold for what runs already, and old ones go."""
    group = groups.application("blog", Limits(pids=30, cpu_max=0.5))
    async with cell(group, BOMB) as process:
        await up(process)
        await eventually(lambda: group.usage().tasks == 30, "30 processes")
        assert groups.application("blog", Limits(pids=60)) is group
        await eventually(lambda: group.usage().tasks == 60, "60 processes")
    assert [one.name for one in group.limits] == ["memory", "pids"]
    found = group.folder("cpu")
    assert found is not None
    file = "cpu.max" if found[1] == 2 else "cpu.cfs_quota_us"
    assert _read(found[0], file).split()[0] in ("max", "-1")


async def entering(groups: ControlGroups) -> None:
    """The application is in its groups from its first instruction, and sees no others."""
    group = groups.application("blog", Limits())
    text, _ = await output(group, "print(open('/proc/self/cgroup').read())")
    # Not only those that hold: every group of a hierarchy that Cloister uses is its root.
    used = {name for folder, _ in group.places for name in Path(folder).parts}
    for line in text.splitlines():
        _, names, path = line.split(":")
        if names in used or not names:
            assert path == "/", line
    async with cell(group, IDLE) as process:
        await up(process)
        inside = members(group)
        assert process.pid not in inside
        assert len(inside) == 2  # init and the application


async def missing(groups: ControlGroups) -> None:
    """What cannot be had is refused, or reported."""
    # No machine has a disk there.
    wanted = Limits(io_weight=50, cpus=(4095,))
    refused = ""
    try:
        groups.application("blog", wanted)
    except CloisterError as error:
        refused = error.why or ""
    assert "cpus = 4095" in refused
    group = groups.application("blog", dataclasses.replace(wanted, required=False))
    assert {one.name: one.in_force for one in group.limits}["cpus"] is False
    assert {one.name: one.in_force for one in group.limits}["pids"] is True


async def leftovers(groups: ControlGroups) -> None:
    """What a dead supervisor has left is found, killed and removed by the next one."""
    group = groups.application("old", Limits())
    async with cell(group, IDLE, own_pids=False) as process:
        await up(process)
        following = ControlGroups(discover(), groups.name)
        assert following.left_behind() == ("old",)
        assert following.clear() == ("old",)
        assert await process.wait() == -signal.SIGKILL
        # A folder goes when the last process in it was reaped, whoever has to do that.
        async with asyncio.timeout(10):
            while following.left_behind():
                following.clear()
                await asyncio.sleep(0.01)


async def own_group(groups: ControlGroups) -> None:
    """A supervisor and what it starts are beside its applications, not among them; and back where
    they came from in the end."""
    site = discover().site("cpu")
    assert site is not None
    groups.make_way()
    folder = f"{site.folder}/{groups.name}.supervisor"
    if Path(folder) not in inner(site.folder):
        folder = f"{site.folder}/supervisor"  # the kernel has demanded it, of version 2
    assert str(os.getpid()) in _read(folder, "cgroup.procs").split()
    file, weight = ("cpu.weight", "1000") if site.version == 2 else ("cpu.shares", "10240")
    assert _read(folder, file).strip() == weight
    # One that is started from it looks for its groups in the same place.
    assert discover().site("cpu") == site
    group = groups.application("some", Limits())
    async with cell(group, IDLE) as process:
        await up(process)
        assert str(process.pid) in _read(folder, "cgroup.procs").split()
    groups.close()
    if not folder.endswith("/supervisor"):
        assert Path(folder) not in inner(site.folder)
        assert str(os.getpid()) in _read(site.folder, "cgroup.procs").split()


async def watching(groups: ControlGroups) -> None:
    """Whoever watches is told of what happens, soon, once, and of nobody else."""
    told: list[tuple[str, Counters]] = []
    watcher = Watcher(lambda name, news: told.append((name, news)))
    try:
        for name, limits in (
            ("hog", Limits(memory=32 * MEGABYTE, swap=0)),
            ("bomb", Limits(pids=10)),
            ("quiet", Limits()),
        ):
            watcher.add(groups.application(name, limits))
        hog, bomb = (
            groups.application("hog", Limits(memory=32 * MEGABYTE, swap=0)),
            groups.get("bomb"),
        )
        assert bomb is not None
        async with cell(bomb, BOMB) as process:
            await up(process)
            await output(hog, HOG)
            await eventually(lambda: {"hog", "bomb"} <= {name for name, _ in told}, "both told")
        assert sum(news.oom_kills for name, news in told if name == "hog") >= 1
        assert sum(news.pids_refused for name, news in told if name == "bomb") >= 1
        # Thousands of refusals are one line, not thousands.
        assert len(told) <= 4
        assert "quiet" not in {name for name, _ in told}
    finally:
        watcher.close()


SCENES: dict[str, Callable[[ControlGroups], Coroutine[None, None, None]]] = {
    scene.__name__: scene
    for scene in (
        memory,
        pids,
        killing,
        processors,
        weighing,
        giving_way,
        background,
        braking,
        disks,
        slow_disk,
        weighing_disks,
        changing,
        entering,
        missing,
        leftovers,
        own_group,
        watching,
    )
}


async def slowing(groups: ControlGroups) -> None:
    """Beyond memory-high an application is slowed down, and goes on."""
    limits = Limits(memory=96 * MEGABYTE, memory_high=24 * MEGABYTE, swap=0)
    group = groups.application("greedy", limits)
    greedy = "print('up', flush=True)\n" + HOG
    async with cell(group, greedy) as process:
        await up(process)
        await eventually(lambda: group.counters().memory_high > 0, "it is slowed down")
        assert group.counters().oom_kills == 0
    assert {one.name: one.in_force for one in group.limits}["memory-high"]


VERSION_2 = {"slowing": slowing}
"""What version 1 does not have."""


def play(scene: str) -> None:
    """Runs one scene; raises where something is not as it should be."""
    with control_groups() as groups:
        asyncio.run((SCENES | VERSION_2)[scene](groups))


if __name__ == "__main__":
    for name in sys.argv[1:] or SCENES:
        begun = time.monotonic()
        try:
            play(name)
        except MissingFeatureError as missing_feature:
            print(json.dumps({"scene": name, "missing": str(missing_feature)}))
            continue
        print(json.dumps({"scene": name, "seconds": round(time.monotonic() - begun, 1)}))
