"""What an application has used, and which limits it has met, as its control groups count it."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """What one application uses; ``None`` where nothing counts it."""

    cpu_seconds: float | None = None
    """Processor time since its group was made, over all its processes."""
    memory_bytes: int | None = None
    """Now, page cache of its files included."""
    memory_peak_bytes: int | None = None
    io_read_bytes: int | None = None
    """From disks, since its group was made."""
    io_write_bytes: int | None = None
    tasks: int | None = None
    """Processes and threads now."""


@dataclass(frozen=True, slots=True)
class Counters:
    """How often one application has met its limits, since its group was made."""

    oom_kills: int = 0
    """Processes that the kernel killed for lack of memory."""
    memory_high: int = 0
    """How often it was slowed down beyond ``memory-high``."""
    memory_max: int = 0
    """How often memory had to be taken back at ``memory``."""
    pids_refused: int = 0
    """Processes and threads that could not be made."""
    throttled_periods: int = 0
    """Periods of 100 ms in which ``cpu-max`` was used up."""
    throttled_seconds: float = 0.0


def read_usage(folders: Iterable[tuple[str, int]]) -> Usage:
    """From the folders of one application's groups, each with the version of its hierarchy."""
    found: dict[str, float | int] = {}
    for folder, version in folders:
        for name, read in (_USAGE_2 if version == 2 else _USAGE_1).items():
            # A controller that is not here has no files here.
            with contextlib.suppress(OSError, ValueError, KeyError):
                found[name] = read(Path(folder))
    return Usage(**found)  # type: ignore[arg-type]


def read_counters(folders: Iterable[tuple[str, int]]) -> Counters:
    """As :func:`read_usage`."""
    found: dict[str, float | int] = {}
    for folder, version in folders:
        for name, read in (_COUNTERS_2 if version == 2 else _COUNTERS_1).items():
            with contextlib.suppress(OSError, ValueError, KeyError):
                found[name] = max(found.get(name, 0), read(Path(folder)))
    return Counters(**found)  # type: ignore[arg-type]


Read = Callable[[Path], float | int]


def _number(file: str) -> Read:
    return lambda folder: int((folder / file).read_text(encoding="ascii"))


def _field(file: str, key: str, divisor: int = 1) -> Read:
    """A line ``key number`` of a file."""

    def read(folder: Path) -> float | int:
        text = (folder / file).read_text(encoding="ascii")
        pairs = dict(line.split(" ", 1) for line in text.splitlines())
        number = int(pairs[key])
        return number if divisor == 1 else number / divisor

    return read


def _disks_2(key: str) -> Read:
    """The sum over the lines ``MAJOR:MINOR key=number …``."""

    def read(folder: Path) -> int:
        words = (folder / "io.stat").read_text(encoding="ascii").split()
        return sum(int(word.partition("=")[2]) for word in words if word.startswith(f"{key}="))

    return read


def _disks_1(key: str) -> Read:
    """The sum over the lines ``MAJOR:MINOR key number``."""

    def read(folder: Path) -> int:
        file = folder / "blkio.throttle.io_service_bytes_recursive"
        lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
        return sum(int(line[2]) for line in lines if len(line) == 3 and line[1] == key)

    return read


_USAGE_2: dict[str, Read] = {
    "cpu_seconds": _field("cpu.stat", "usage_usec", 1_000_000),
    "memory_bytes": _number("memory.current"),
    "memory_peak_bytes": _number("memory.peak"),
    "io_read_bytes": _disks_2("rbytes"),
    "io_write_bytes": _disks_2("wbytes"),
    "tasks": _number("pids.current"),
}
_USAGE_1: dict[str, Read] = {
    "cpu_seconds": lambda folder: _number("cpuacct.usage")(folder) / 1e9,
    "memory_bytes": _number("memory.usage_in_bytes"),
    "memory_peak_bytes": _number("memory.max_usage_in_bytes"),
    "io_read_bytes": _disks_1("Read"),
    "io_write_bytes": _disks_1("Write"),
    "tasks": _number("pids.current"),
}
_COUNTERS_2: dict[str, Read] = {
    "oom_kills": _field("memory.events", "oom_kill"),
    "memory_high": _field("memory.events", "high"),
    "memory_max": _field("memory.events", "max"),
    "pids_refused": _field("pids.events", "max"),
    "throttled_periods": _field("cpu.stat", "nr_throttled"),
    "throttled_seconds": _field("cpu.stat", "throttled_usec", 1_000_000),
}
_COUNTERS_1: dict[str, Read] = {
    "oom_kills": _field("memory.oom_control", "oom_kill"),
    "memory_max": _number("memory.failcnt"),
    "pids_refused": _field("pids.events", "max"),
    "throttled_periods": _field("cpu.stat", "nr_throttled"),
    "throttled_seconds": _field("cpu.stat", "throttled_time", 1_000_000_000),
}
