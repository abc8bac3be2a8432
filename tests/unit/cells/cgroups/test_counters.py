"""What is read of a group's files, in the form that the kernel writes them."""

from pathlib import Path

from cloister.cells.cgroups.counters import Counters, Usage, read_counters, read_usage


def folder(path: Path, **files: str) -> str:
    path.mkdir()
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return str(path)


def test_version_2(tmp_path: Path) -> None:
    group = folder(
        tmp_path / "g",
        cpu__stat="usage_usec 2500000\nuser_usec 1\nnr_throttled 3\nthrottled_usec 1500000\n",
        memory__current="1048576\n",
        memory__peak="2097152\n",
        memory__events="low 0\nhigh 4\nmax 5\noom 2\noom_kill 1\n",
        io__stat="8:0 rbytes=100 wbytes=7 rios=1 wios=1\n8:16 rbytes=11 wbytes=0 rios=1\n",
        pids__current="9\n",
        pids__events="max 6\n",
    )
    assert read_usage([(group, 2)]) == Usage(2.5, 1048576, 2097152, 111, 7, 9)
    assert read_counters([(group, 2)]) == Counters(1, 4, 5, 6, 3, 1.5)


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    places = [
        folder(tmp_path / "cpuacct", cpuacct__usage="2500000000\n"),
        folder(
            tmp_path / "cpu", cpu__stat="nr_periods 9\nnr_throttled 3\nthrottled_time 500000000\n"
        ),
        folder(
            tmp_path / "memory",
            memory__usage_in_bytes="1048576\n",
            memory__max_usage_in_bytes="2097152\n",
            memory__failcnt="5\n",
            memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        ),
        folder(
            tmp_path / "blkio",
            blkio__throttle__io_service_bytes_recursive=(
                "8:0 Read 100\n8:0 Write 7\n8:16 Read 11\nTotal 118\n"
            ),
        ),
        folder(tmp_path / "pids", pids__current="9\n", pids__events="max 6\n"),
    ]
    groups = [(place, 1) for place in places]
    assert read_usage(groups) == Usage(2.5, 1048576, 2097152, 111, 7, 9)
    assert read_counters(groups) == Counters(1, 0, 5, 6, 3, 0.5)


def test_what_is_not_counted_is_not_known(tmp_path: Path) -> None:
    assert read_usage([(str(tmp_path), 2)]) == Usage()
    assert read_counters([(str(tmp_path), 1)]) == Counters()
