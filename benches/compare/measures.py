"""What is measured: one value per run of the load generator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: What the load generator prints, by key.
Sample = Mapping[str, int]

GIB = 1 << 30


@dataclass(frozen=True)
class Effort:
    """How much of each load one run makes."""

    rounds: int
    connections: int
    bytes: int
    small_rounds: int
    many_rounds: int
    idle: int


#: Idle connections take up to six descriptors each in one peer, of the 20,000 that a process
#: may have here: that bounds their number.
FULL = Effort(
    rounds=5, connections=10_000, bytes=GIB, small_rounds=10_000, many_rounds=60_000, idle=2_000
)
QUICK = Effort(
    rounds=2,
    connections=2_000,
    bytes=GIB // 4,
    small_rounds=2_000,
    many_rounds=10_000,
    idle=1_000,
)
TINY = Effort(
    rounds=1, connections=100, bytes=GIB // 256, small_rounds=100, many_rounds=500, idle=50
)


@dataclass(frozen=True)
class Measure:
    """One column of the table."""

    key: str
    title: str
    #: Arguments of the load generator.
    load: Callable[[Effort], list[str]]
    #: The value, in the title's unit.
    value: Callable[[Sample], float]
    digits: int
    #: Whether a larger value is the better one.
    larger_is_better: bool = False
    #: Whether a run without a proxy has a value.
    direct: bool = False
    #: Whether each run starts the proxy anew: memory that earlier loads left would hide some.
    fresh: bool = False
    #: Further values of the same run, by title: they explain, nothing is promised of them.
    also: Mapping[str, Callable[[Sample], float]] | None = None


def _per_second(unit: str) -> Callable[[Sample], float]:
    return lambda sample: sample[unit] / (sample["wall_ns"] / 1e9)


def _cpu_per(unit: str) -> Callable[[Sample], float]:
    return lambda sample: sample["cpu_ns"] / 1e3 / sample[unit]


def _cpu_per_gib(sample: Sample) -> float:
    return sample["cpu_ns"] / 1e9 / (sample["bytes"] / GIB)


def _gib_per_second(sample: Sample) -> float:
    return sample["bytes"] / GIB / (sample["wall_ns"] / 1e9)


def _memory(sample: Sample) -> float:
    return (sample["after_bytes"] - sample["before_bytes"]) / sample["connections"]


MEASURES = (
    Measure(
        "M1",
        "CPU us per connection",
        lambda effort: ["connections", "--count", str(effort.connections), "--parallel", "64"],
        _cpu_per("connections"),
        digits=1,
        direct=True,
        also={"M1 connections/s": _per_second("connections")},
    ),
    Measure(
        "M2",
        "CPU s per GiB down",
        lambda effort: ["download", "--bytes", str(effort.bytes)],
        _cpu_per_gib,
        digits=3,
        direct=True,
        also={"M2 GiB/s": _gib_per_second},
    ),
    Measure(
        "M2u",
        "CPU s per GiB up",
        lambda effort: ["upload", "--bytes", str(effort.bytes)],
        _cpu_per_gib,
        digits=3,
        direct=True,
        also={"M2u GiB/s": _gib_per_second},
    ),
    Measure(
        "M3",
        "p50 us, 1 connection",
        lambda effort: ["ping-pong", "--count", str(effort.small_rounds), "--parallel", "1"],
        lambda sample: sample["p50_ns"] / 1e3,
        digits=1,
        direct=True,
        also={
            "M3 p99 us": lambda sample: sample["p99_ns"] / 1e3,
            "M3 CPU us/round": _cpu_per("rounds"),
        },
    ),
    Measure(
        "M3n",
        "rounds/s, 64 connections",
        lambda effort: ["ping-pong", "--count", str(effort.many_rounds), "--parallel", "64"],
        _per_second("rounds"),
        digits=0,
        larger_is_better=True,
        direct=True,
        also={"M3n CPU us/round": _cpu_per("rounds")},
    ),
    Measure(
        "M4",
        "bytes per idle connection",
        lambda effort: ["idle", "--count", str(effort.idle)],
        _memory,
        digits=0,
        fresh=True,
    ),
)
