"""What control groups set for a process: version 1 and version 2 (cgroups(7))."""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cloister import proc
from cloister.audit.facts import Bounds, Process
from cloister.cells.cgroups.hierarchies import bounding, mounted

_UNLIMITED = 2**60
"""Version 1 says "none" by the largest multiple of a page."""
_DEFAULT_SHARES, _DEFAULT_WEIGHT = 1024, 100


class Groups:
    """Where the hierarchies are mounted; asks each group once."""

    def __init__(self) -> None:
        self._mounts = mounted(proc.text(os.getpid(), "mountinfo"))
        self.of_groups = lru_cache(maxsize=None)(self._bounds)

    def of(self, process: Process) -> Bounds:
        """The tightest bounds of all groups that the process is in."""
        return self.of_groups(process.control_groups)

    def _bounds(self, groups: tuple[tuple[str, str], ...]) -> Bounds:
        above = bounding(self._mounts, groups)
        folders = {name: [Path(one) for one in paths] for name, paths in above.items()}
        unified = folders.get("", [])
        memory = [
            *_numbers(unified, "memory.max"),
            *_numbers(unified, "memory.high"),
            *_numbers(folders.get("memory", []), "memory.limit_in_bytes"),
        ]
        tasks = _numbers([*unified, *folders.get("pids", [])], "pids.max")
        processors = [
            *_quotas_v2(unified),
            *_quotas_v1(folders.get("cpu", [])),
        ]
        weights = _numbers(unified, "cpu.weight")
        shares = _numbers(folders.get("cpu", []), "cpu.shares")
        io = [
            *(1 for folder in unified if _text(folder / "io.max")),
            *(
                one
                for one in (
                    *_numbers(unified, "io.weight"),
                    *_numbers(unified, "io.bfq.weight"),
                    *_numbers(folders.get("blkio", []), "blkio.bfq.weight"),
                )
                if one != _DEFAULT_WEIGHT
            ),
        ]
        return Bounds(
            memory=min((one for one in memory if one < _UNLIMITED), default=None),
            tasks=min(tasks, default=None),
            processors=min(processors, default=None),
            processor_weight=any(one != _DEFAULT_WEIGHT for one in weights)
            or any(one != _DEFAULT_SHARES for one in shares),
            io=bool(io),
        )


def _numbers(folders: list[Path], name: str) -> list[int]:
    """What each folder's file says; "max" is left out."""
    words = (_text(folder / name).split() for folder in folders)
    return [int(last[-1]) for last in words if last and last[-1].isdecimal()]


def _quotas_v2(folders: list[Path]) -> Iterator[float]:
    for folder in folders:
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if quota.isdecimal() and period.strip().isdecimal():
            yield int(quota) / int(period)


def _quotas_v1(folders: list[Path]) -> Iterator[float]:
    for folder in folders:
        quota = _text(folder / "cpu.cfs_quota_us").strip()
        period = _text(folder / "cpu.cfs_period_us").strip()
        if quota.isdecimal() and period.isdecimal():
            yield int(quota) / int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError:
        return ""
