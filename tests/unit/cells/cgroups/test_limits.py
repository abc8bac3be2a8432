"""What each limit writes, into groups of either version."""

import pytest

from cloister.cells.cgroups.limits import (
    Demand,
    Machine,
    bound_of_all,
    cleared,
    demands,
    format_processors,
    format_size,
)
from cloister.model.limits import CpuBackground, IoBound, Limits

MACHINE = Machine(memory=8 << 30)


def found(limits: Limits) -> dict[str, Demand]:
    return {one.name: one for one in demands(limits, MACHINE, lambda path: "8:16")}


def texts(demand: Demand, version: int) -> dict[str, str] | None:
    writes = demand.writes(version)
    return None if writes is None else {one.file: one.text for one in writes}


def test_the_defaults_bound_memory_and_processes() -> None:
    defaults = found(Limits())
    assert {name: (one.value, one.default) for name, one in defaults.items()} == {
        "memory": ("4 GiB", True),
        "pids": ("512", True),
    }
    assert texts(defaults["memory"], 2) == {"memory.max": str(4 << 30)}
    assert texts(defaults["pids"], 1) == texts(defaults["pids"], 2) == {"pids.max": "512"}


def test_all_applications_leave_something_to_the_system() -> None:
    assert bound_of_all(MACHINE).value == "7.2 GiB"


@pytest.mark.parametrize(
    ("limits", "name", "version_2", "version_1"),
    [
        (Limits(memory_high=1 << 20), "memory-high", {"memory.high": "1048576"}, None),
        (
            Limits(memory=1 << 20, swap=0),
            "swap",
            {"memory.swap.max": "0"},
            {"memory.memsw.limit_in_bytes": "1048576"},
        ),
        (
            Limits(memory=1 << 20, swap=4096),
            "swap",
            {"memory.swap.max": "4096"},
            {"memory.memsw.limit_in_bytes": "1052672"},
        ),
        (Limits(cpu_weight=50), "cpu-weight", {"cpu.weight": "50"}, {"cpu.shares": "512"}),
        (
            Limits(cpu_background=CpuBackground.ALWAYS),
            "cpu-background",
            {"cpu.idle": "1"},
            {"cpu.idle": "1"},
        ),
        (Limits(cpu_weight=1), "cpu-weight", {"cpu.weight": "1"}, {"cpu.shares": "10"}),
        (
            Limits(cpu_max=1.5),
            "cpu-max",
            {"cpu.max": "150000 100000"},
            {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"},
        ),
        (Limits(cpus=(0, 1, 2, 5)), "cpus", {"cpuset.cpus": "0-2,5"}, {"cpuset.cpus": "0-2,5"}),
        (
            Limits(io_weight=2000),
            "io-weight",
            {"io.bfq.weight": "1000", "io.weight": "default 2000"},
            {"blkio.bfq.weight": "1000"},
        ),
        (
            Limits(io_max=(IoBound("/srv", read=4096, write_operations=7),)),
            "io-max",
            {"io.max": "8:16 rbps=4096 wiops=7"},
            {
                "blkio.throttle.read_bps_device": "8:16 4096",
                "blkio.throttle.write_iops_device": "8:16 7",
            },
        ),
    ],
)
def test_each_limit_in_both_versions(
    limits: Limits, name: str, version_2: dict[str, str], version_1: dict[str, str] | None
) -> None:
    demand = found(limits)[name]
    assert texts(demand, 2) == version_2
    assert texts(demand, 1) == version_1
    assert not demand.default


def test_whatever_can_be_set_alone_can_be_taken_away() -> None:
    for name in ("memory-high", "swap", "cpu-weight", "cpu-max", "cpu-background", "io-weight"):
        assert cleared(name)[2]
    # These have another value at once, never none; a disk's bound ends with its group.
    for name in ("memory", "pids", "io-max"):
        assert cleared(name) == {}


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (4096, "4 KiB"), (1536 << 20, "1.5 GiB"), (3 << 40, "3 TiB")]
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


def test_processors_for_the_kernel() -> None:
    assert format_processors((0,)) == "0"
    assert format_processors((0, 1, 3, 5, 6, 7)) == "0-1,3,5-7"
