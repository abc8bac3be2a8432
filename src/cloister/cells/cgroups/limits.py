"""From an application's limits to what is written into the files of its control groups.

No I/O. Version 2 is described in Documentation/admin-guide/cgroup-v2.rst of the kernel,
version 1 in Documentation/admin-guide/cgroup-v1/.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cloister.model.limits import CpuBackground, IoBound, Limits

PERIOD = 100_000
"""Microseconds in which a bound on processors is counted: the kernel's own choice."""
DEFAULT_PIDS = 512
DEFAULT_MEMORY_SHARE = 0.5
ALL_MEMORY_SHARE = 0.9
"""All applications of a supervisor together; the rest is the system's."""
OWN_WEIGHT = 1000
"""``cpu-weight`` of the supervisor and its door together, beside 100 of all applications. What is
asked of any application goes through their hands: a door that waits for its turn makes all wait."""
_SHARES = 1024
"""cpu.shares of version 1 that stand for the weight of 100."""
_NO_BOUND = 2**63 - 4096
"""What version 1 reads as "none": PAGE_COUNTER_MAX, in whole pages."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the defaults depend on."""

    memory: int
    """Bytes that all groups together may use."""


@dataclass(frozen=True, slots=True)
class Write:
    """One text that goes into one file of a group."""

    file: str
    text: str
    optional: bool = False
    """Whether a file that is not there may be passed over."""


Writes = tuple[Write, ...]

BACKGROUND: Writes = (Write("cpu.idle", "1"),)
"""Of both versions, since Linux 5.15. Its own weight is out of force meanwhile, and cannot be
written (sched_group_set_shares() in kernel/sched/fair.c)."""
_FOREGROUND: Writes = (Write("cpu.idle", "0"),)
"""The weight is the default then, where it was 1 before."""


SLOW = 0.1
"""Processors that an application has while it is slowed down
(:mod:`cloister.cells.cgroups.slowing`)."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One limit, and how each version of control groups is told it."""

    name: str
    """The setting's name, as in ``[apps.NAME.limits]``."""
    value: str
    """For people."""
    controller: str
    """As version 2 calls it."""
    version_2: Writes
    version_1: Writes | None
    """``None`` where version 1 knows no such limit."""
    default: bool = False
    """Whether it stands there because the configuration says nothing."""

    def writes(self, version: int) -> Writes | None:
        """What is written into a group of this version."""
        return self.version_2 if version == 2 else self.version_1


def demands(limits: Limits, machine: Machine, device: Callable[[str], str]) -> tuple[Demand, ...]:
    """Every limit that holds for an application, the defaults included.

    ``device`` gives the ``MAJOR:MINOR`` of the disk that a path is on.
    """
    found = [_memory(limits, machine)]
    if limits.memory_high is not None:
        size = limits.memory_high
        write = Write("memory.high", str(size))
        found.append(Demand("memory-high", format_size(size), "memory", (write,), None))
    if limits.swap is not None:
        found.append(_swap(limits, machine))
    if limits.cpu_weight is not None:
        found.append(_cpu_weight(limits.cpu_weight))
    if limits.cpu_max is not None:
        found.append(_cpu_max(limits.cpu_max))
    if limits.cpu_background is CpuBackground.ALWAYS:
        found.append(Demand("cpu-background", "always", "cpu", BACKGROUND, BACKGROUND))
    if limits.cpus is not None:
        text = format_processors(limits.cpus)
        write = Write("cpuset.cpus", text)
        found.append(Demand("cpus", text, "cpuset", (write,), (write,)))
    if limits.io_weight is not None:
        found.append(_io_weight(limits.io_weight))
    found += [_io_max(bound, device(bound.path)) for bound in limits.io_max]
    pids = DEFAULT_PIDS if limits.pids is None else limits.pids
    write = Write("pids.max", str(pids))
    found.append(Demand("pids", str(pids), "pids", (write,), (write,), default=limits.pids is None))
    return tuple(found)


def bound_of_all(machine: Machine) -> Demand:
    """What all applications together may use."""
    return _memory(Limits(memory=int(machine.memory * ALL_MEMORY_SHARE)), machine)


def weight_of_own() -> Demand:
    """What the supervisor's own group has."""
    return _cpu_weight(OWN_WEIGHT)


def slowed() -> Demand:
    """What slows an application down, in the place of its own ``cpu-max``."""
    return _cpu_max(SLOW)


def cleared(name: str) -> dict[int, Writes]:
    """What takes a limit away again, by version. Bounds of disks stay until the group ends."""
    return _CLEARED.get(name, {})


def _memory_size(limits: Limits, machine: Machine) -> int:
    if limits.memory is not None:
        return limits.memory
    return int(machine.memory * DEFAULT_MEMORY_SHARE)


def _memory(limits: Limits, machine: Machine) -> Demand:
    size = _memory_size(limits, machine)
    return Demand(
        "memory",
        format_size(size),
        "memory",
        (Write("memory.max", str(size)),),
        # What both may be together is never less than memory alone: out of the way first.
        (
            Write("memory.memsw.limit_in_bytes", str(_NO_BOUND), optional=True),
            Write("memory.limit_in_bytes", str(size)),
        ),
        default=limits.memory is None,
    )


def _swap(limits: Limits, machine: Machine) -> Demand:
    size = limits.swap or 0
    # Version 1 counts both together.
    both = _memory_size(limits, machine) + size
    return Demand(
        "swap",
        format_size(size) if size else "none",
        "memory",
        (Write("memory.swap.max", str(size)),),
        (Write("memory.memsw.limit_in_bytes", str(both)),),
    )


def _cpu_weight(weight: int) -> Demand:
    shares = max(2, weight * _SHARES // 100)
    return Demand(
        "cpu-weight",
        str(weight),
        "cpu",
        (Write("cpu.weight", str(weight)),),
        (Write("cpu.shares", str(shares)),),
    )


def _cpu_max(processors: float) -> Demand:
    quota = round(processors * PERIOD)
    return Demand(
        "cpu-max",
        f"{processors:g} processor{'' if processors == 1 else 's'}",
        "cpu",
        (Write("cpu.max", f"{quota} {PERIOD}"),),
        (Write("cpu.cfs_period_us", str(PERIOD)), Write("cpu.cfs_quota_us", str(quota))),
    )


def _io_weight(weight: int) -> Demand:
    return Demand("io-weight", str(weight), "io", *_io_weights(weight))


def _io_weights(weight: int) -> tuple[Writes, Writes]:
    """Of both versions. Either scheduler of version 2 reads a file of its own, which is there
    where the kernel has it: ``io.weight`` is io.cost's alone (ioc_files in block/blk-iocost.c,
    bfq_blkg_files in block/bfq-cgroup.c). bfq counts to 1000 only."""
    bfq = str(min(1000, weight))
    return (
        (
            Write("io.bfq.weight", bfq, optional=True),
            Write("io.weight", f"default {weight}", optional=True),
        ),
        (Write("blkio.bfq.weight", bfq),),
    )


def _io_max(bound: IoBound, device: str) -> Demand:
    parts = (
        ("read", bound.read, "rbps", "blkio.throttle.read_bps_device"),
        ("write", bound.write, "wbps", "blkio.throttle.write_bps_device"),
        ("read-operations", bound.read_operations, "riops", "blkio.throttle.read_iops_device"),
        ("write-operations", bound.write_operations, "wiops", "blkio.throttle.write_iops_device"),
    )
    given = [(name, amount, key, file) for name, amount, key, file in parts if amount is not None]
    words = [
        f"{name} {amount if 'operations' in name else format_size(amount)}/s"
        for name, amount, _, _ in given
    ]
    keys = " ".join(f"{key}={amount}" for _, amount, key, _ in given)
    return Demand(
        "io-max",
        f"{bound.path}: {', '.join(words) or 'no bound'}",
        "io",
        (Write("io.max", f"{device} {keys}"),) if given else (),
        tuple(Write(file, f"{device} {amount}") for _, amount, _, file in given),
    )


_CLEARED: dict[str, dict[int, Writes]] = {
    "memory-high": {2: (Write("memory.high", "max"),)},
    "swap": {
        2: (Write("memory.swap.max", "max"),),
        1: (Write("memory.memsw.limit_in_bytes", str(_NO_BOUND)),),
    },
    "cpu-weight": {2: (Write("cpu.weight", "100"),), 1: (Write("cpu.shares", str(_SHARES)),)},
    "cpu-background": {2: _FOREGROUND, 1: _FOREGROUND},
    "cpu-max": {
        2: (Write("cpu.max", f"max {PERIOD}"),),
        1: (Write("cpu.cfs_quota_us", "-1"),),
    },
    "io-weight": dict(zip((2, 1), _io_weights(100), strict=True)),
}


def format_size(size: int) -> str:
    """Bytes for people, in the largest unit that divides them nearly."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} TiB"


def format_processors(processors: tuple[int, ...]) -> str:
    """Ascending numbers as the kernel writes them: ``0-3,6``."""
    ranges: list[list[int]] = []
    for number in processors:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
