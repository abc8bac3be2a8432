"""How much of the machine an application may use."""

from dataclasses import dataclass
from enum import Enum


class CpuBackground(Enum):
    """When an application gives way to all others on busy processors."""

    AUTO = "auto"
    """While it uses more than its share of them."""
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class IoBound:
    """The most that goes to and from one disk, in a second; ``None`` sets no bound."""

    path: str
    """The disk's device file, or any path on it; absolute, on the host."""
    read: int | None = None
    """Bytes."""
    write: int | None = None
    """Bytes."""
    read_operations: int | None = None
    write_operations: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """``[apps.NAME.limits]``. ``None`` leaves a limit to :mod:`cloister.cells.cgroups.limits`,
    which gives some of them a default that depends on the machine.
    """

    memory: int | None = None
    """Bytes, page cache included; beyond it processes of the application are killed."""
    memory_high: int | None = None
    """Bytes beyond which the application is slowed down and its memory reclaimed."""
    swap: int | None = None
    """Bytes of swap beside ``memory``."""
    cpu_weight: int | None = None
    """1 to 10000: the share of busy processors, in relation to the others' weights."""
    cpu_max: float | None = None
    """Processors that it may keep busy, for example 1.5."""
    cpu_background: CpuBackground = CpuBackground.AUTO
    io_weight: int | None = None
    """1 to 10000: the share of a busy disk, in relation to the others' weights."""
    io_max: tuple[IoBound, ...] = ()
    pids: int | None = None
    """Processes and threads at once."""
    cpus: tuple[int, ...] | None = None
    """The processors that it may run on, ascending."""
    disk: int | None = None
    """Bytes that it may have on each file system of a disk that it can write to."""
    disk_files: int | None = None
    """Files, folders and links that it may have there."""
    required: bool = True
    """Whether an application is refused where the host cannot give what is set here."""


NO_LIMITS = Limits()
"""Everything left to the defaults."""
