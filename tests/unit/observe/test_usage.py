"""Counters read from files like the kernel's, and from real processes."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.support.waiting import wait_until

from cloister.apps.brief import AppBrief
from cloister.cells.cgroups.hierarchies import discover
from cloister.observe.usage import Usage, UsageReader, processes_below


def app(*groups: tuple[Path, int], pids: tuple[int, ...] = ()) -> AppBrief:
    folders = tuple((str(folder), version) for folder, version in groups)
    return AppBrief("a", "ready", pids, 0, 0, 0, 0, 0, folders)


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def version_2(folder: Path) -> Path:
    return write(
        folder,
        cpu__stat="usage_usec 2500000\nuser_usec 1\nnr_throttled 3\nthrottled_usec 750000\n",
        memory__current="4096\n",
        memory__events="low 0\noom 2\noom_kill 1\n",
        pids__current="5\n",
        io__stat="8:0 rbytes=100 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=1\n",
    )


def test_version_2(tmp_path: Path) -> None:
    reader = UsageReader()
    assert reader.read(app((version_2(tmp_path), 2))) == Usage(2.5, 4096, 101, 22, 5, 0.75, 1)
    # The same open files tell the new numbers.
    (tmp_path / "memory.current").write_text("8192\n")
    assert reader.read(app((tmp_path, 2))).memory_bytes == 8192
    reader.close()


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    cpu = write(tmp_path / "c", cpuacct__usage="1500000000\n", cpu__stat="throttled_time 5000000\n")
    memory = write(
        tmp_path / "m",
        memory__usage_in_bytes="4096\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    )
    disks = "8:0 Read 100\n8:0 Write 20\n8:0 Total 120\nTotal 120\n"
    io = write(tmp_path / "b", blkio__throttle__io_service_bytes_recursive=disks)
    pids = write(tmp_path / "p", pids__current="3\n")
    groups = [(folder, 1) for folder in (cpu, memory, io, pids)]
    reader = UsageReader()
    assert reader.read(app(*groups)) == Usage(1.5, 4096, 100, 20, 3, 0.005, 2)
    reader.close()


def test_a_controller_that_is_not_there_leaves_its_numbers_unknown(tmp_path: Path) -> None:
    (version_2(tmp_path) / "io.stat").unlink()
    (tmp_path / "memory.current").unlink()
    reader = UsageReader()
    assert reader.read(app((tmp_path, 2))) == Usage(2.5, None, None, None, 5, 0.75, 1)
    assert reader.read(app((tmp_path / "gone", 2))) == Usage()
    reader.close()


def test_without_room_for_descriptors_files_are_opened_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = UsageReader()
    monkeypatch.setattr(reader, "_room", 1)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        assert reader.read(app((version_2(tmp_path), 2))).memory_bytes == 4096
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    reader.close()


def test_processes_below_are_added_up() -> None:
    work = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    inner = "import time; list(range(2_000_000)); print('go', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", work, inner]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "go\n"
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
            assert len(family) == 2
            found = processes_below([process.pid])
            assert found.tasks == 2
            rss = sum(one.memory_info().rss for one in family)
            assert found.memory_bytes == pytest.approx(rss, rel=0.05)
            cpu = sum(sum(one.cpu_times()[:4]) for one in family)
            assert found.cpu_seconds == pytest.approx(cpu, abs=0.05)
        finally:
            for one in reversed(psutil.Process(process.pid).children()):
                one.kill()
            process.kill()
    wait_until(lambda: processes_below([process.pid]) == Usage(), what="nothing is left")


def test_a_group_that_goes_takes_its_files_along(tmp_path: Path) -> None:
    folders = [version_2(tmp_path / name) for name in ("one", "two")]
    reader = UsageReader()
    before = len(list(Path("/proc/self/fd").iterdir()))
    apps = [app((folder, 2))._replace(name=folder.name) for folder in folders]
    assert set(reader.read_all(apps)) == {"one", "two"}
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 10
    reader.read_all(apps[:1])
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 5
    reader.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_real_group_that_is_made_again_is_read_again(tmp_path: Path) -> None:
    """Its files tell ENODEV once it is removed, and those of the next are others."""
    sites = [site for site in discover().used if "pids" in site.controllers]
    if os.geteuid() != 0 or not sites:
        pytest.skip("needs root, and the controller `pids`")
    folder = Path(sites[0].folder) / f"test-usage-{os.getpid()}"
    one = app((folder, sites[0].version))
    reader = UsageReader()
    try:
        for _ in range(2):
            folder.mkdir()
            wait_until(lambda: reader.read(one).tasks == 0, what="no process")
            folder.rmdir()
            wait_until(lambda: reader.read(one).tasks is None, what="nothing is known")
            reader.read_all([])
    finally:
        if folder.exists():
            folder.rmdir()
        reader.close()
