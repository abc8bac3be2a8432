"""What an application has used, and which limits it has met, as its control groups count it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
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


Values = dict[str, int]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the kernel counts something, in a control group's folder."""

    file: str
    form: Callable[[str], Values]
    """What the file's text says, by its own keys."""
    key: str = ""
    divisor: int = 1


def number(text: str) -> Values:
    """A file with one number."""
    return {"": int(text)}


def pairs(text: str) -> Values:
    """Lines ``key number``."""
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def disks_2(text: str) -> Values:
    """Lines ``MAJOR:MINOR key=number …``: the sums."""
    found: Values = {"rbytes": 0, "wbytes": 0}
    for word in text.split():
        key, equals, value = word.partition("=")
        if equals and key in found:
            found[key] += int(value)
    return found


def disks_1(text: str) -> Values:
    """Lines ``MAJOR:MINOR key number``: the sums."""
    found: Values = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in found:
            found[words[1]] += int(words[2])
    return found


USAGE: dict[int, dict[str, Source]] = {
    2: {
        "cpu_seconds": Source("cpu.stat", pairs, "usage_usec", 1_000_000),
        "memory_bytes": Source("memory.current", number),
        "memory_peak_bytes": Source("memory.peak", number),
        "io_read_bytes": Source("io.stat", disks_2, "rbytes"),
        "io_write_bytes": Source("io.stat", disks_2, "wbytes"),
        "tasks": Source("pids.current", number),
    },
    1: {
        "cpu_seconds": Source("cpuacct.usage", number, divisor=1_000_000_000),
        "memory_bytes": Source("memory.usage_in_bytes", number),
        "memory_peak_bytes": Source("memory.max_usage_in_bytes", number),
        "io_read_bytes": Source("blkio.throttle.io_service_bytes_recursive", disks_1, "Read"),
        "io_write_bytes": Source("blkio.throttle.io_service_bytes_recursive", disks_1, "Write"),
        "tasks": Source("pids.current", number),
    },
}
"""Fields of :class:`Usage` by the version of a hierarchy (Documentation/admin-guide/cgroup-v2.rst
and cgroup-v1). A folder of version 1 has some of the files."""
COUNTERS: dict[int, dict[str, Source]] = {
    2: {
        "oom_kills": Source("memory.events", pairs, "oom_kill"),
        "memory_high": Source("memory.events", pairs, "high"),
        "memory_max": Source("memory.events", pairs, "max"),
        "pids_refused": Source("pids.events", pairs, "max"),
        "throttled_periods": Source("cpu.stat", pairs, "nr_throttled"),
        "throttled_seconds": Source("cpu.stat", pairs, "throttled_usec", 1_000_000),
    },
    1: {
        "oom_kills": Source("memory.oom_control", pairs, "oom_kill"),
        "memory_max": Source("memory.failcnt", number),
        "pids_refused": Source("pids.events", pairs, "max"),
        "throttled_periods": Source("cpu.stat", pairs, "nr_throttled"),
        "throttled_seconds": Source("cpu.stat", pairs, "throttled_time", 1_000_000_000),
    },
}
"""Fields of :class:`Counters`, in the same way."""


def read(
    sources: Mapping[str, Source], text: Callable[[str], str | None]
) -> Iterator[tuple[str, float | int]]:
    """What these sources say, by their names, each file read once; what is not there is left
    out. ``text`` gives a file's content, ``None`` where it cannot be read."""
    said: dict[str, Values] = {}
    for name, source in sources.items():
        if source.file not in said:
            content = text(source.file)
            try:
                said[source.file] = {} if content is None else source.form(content)
            except ValueError:  # a form that this kernel does not have
                said[source.file] = {}
        value = said[source.file].get(source.key)
        if value is not None:
            yield name, value if source.divisor == 1 else value / source.divisor


def read_usage(folders: Iterable[tuple[str, int]]) -> Usage:
    """From the folders of one application's groups, each with the version of its hierarchy."""
    found: dict[str, float | int] = {}
    for folder, version in folders:
        found.update(read(USAGE[version], _opener(folder)))
    return Usage(**found)  # type: ignore[arg-type]


def read_processor_time(folders: Iterable[tuple[str, int]]) -> float | None:
    """Seconds of processor time, as in :func:`read_usage`; ``None`` where nothing counts it."""
    for folder, version in folders:
        for _, value in read({"": USAGE[version]["cpu_seconds"]}, _opener(folder)):
            return value
    return None


def read_counters(folders: Iterable[tuple[str, int]]) -> Counters:
    """As :func:`read_usage`."""
    found: dict[str, float | int] = {}
    for folder, version in folders:
        for name, value in read(COUNTERS[version], _opener(folder)):
            found[name] = max(found.get(name, 0), value)
    return Counters(**found)  # type: ignore[arg-type]


def _opener(folder: str) -> Callable[[str], str | None]:
    def text(file: str) -> str | None:
        try:
            return Path(folder, file).read_text(encoding="ascii")
        except OSError:  # a controller that is not here has no files here
            return None

    return text
