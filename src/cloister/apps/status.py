"""What the supervisor knows of itself, as values. Times in seconds since 1970-01-01 UTC."""

from dataclasses import dataclass

from cloister.cells.cgroups.app_group import LimitStatus
from cloister.cells.cgroups.counters import Counters, Usage
from cloister.cells.quotas.bounds import DiskUsage
from cloister.door.messages import Histogram


@dataclass(frozen=True, slots=True)
class Failure:
    """The newest failure of a program; kept after it serves again."""

    message: str
    time: float
    last_output: tuple[str, ...] = ()
    """Its newest lines, standard output and error together; may hold anything."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Counted by the door that runs now."""

    accepted: int
    active: int
    bytes_to_target: int
    bytes_to_client: int


@dataclass(frozen=True, slots=True)
class EgressStatus:
    """One way out of an application's cells, counted by the door that serves it since the
    application has these settings, or since the supervisor's start."""

    name: str
    """What the application dials, ``NAME:PORT``, or the path of its socket alone."""
    target: str
    accepted: int
    active: int
    failed: int
    """Connections that did not come to the target: it was not reached, or a limit was."""
    bytes_to_target: int
    bytes_to_client: int
    outcomes: dict[str, int]
    """How its ended connections ended."""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process of an application, or the place of one that is to come back."""

    state: str
    """A :class:`cloister.apps.machine.State` value."""
    since: float
    """When it entered that state."""
    pid: int | None
    """Of the cell's outer process."""
    restarts: int
    requests: int | None
    """How many it answers now; ``None`` where it does not tell."""


@dataclass(frozen=True, slots=True)
class ResourceStatus:
    """What one application may use, uses, and wanted beyond that."""

    limits: tuple[LimitStatus, ...]
    usage: Usage
    counters: Counters
    gives_way: bool = False
    """Whether it waits for the others: it uses more than its share of busy processors."""
    disks: tuple[DiskUsage, ...] = ()
    """On each file system where `disk` or `disk-files` bounds it."""
    slowed: bool = False
    """Whether it has a tenth of a processor for now: its processes are killed for lack of memory
    again and again."""


@dataclass(frozen=True, slots=True)
class ProtectionStatus:
    """One protection that the door took on itself, or that a cell is fenced in by."""

    name: str
    active: bool
    detail: str


@dataclass(frozen=True, slots=True)
class AppStatus:
    """One application."""

    name: str
    program: str
    state: str
    """A :class:`cloister.apps.machine.State` value."""
    since: float
    """When it entered that state."""
    pid: int | None
    """Of the first process's cell, its outer process."""
    restarts: int
    """How often a process was made in the place of one before it."""
    host_uid: int
    hosts: tuple[str, ...]
    socket: str
    """The path of its listening socket."""
    message: str | None
    """What it says of itself (``STATUS=``, sd_notify(3))."""
    failure: Failure | None
    traffic: Traffic | None
    """``None`` while no door answers."""
    processes: tuple[ProcessStatus, ...] = ()
    """Those that there are, or that are to come back; none of an application that rests."""
    resources: ResourceStatus | None = None
    """``None`` before its first start."""
    fences: tuple[ProtectionStatus, ...] = ()
    """Around its newest process; none before its first start."""
    egress: tuple[EgressStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """One bound address of a listener."""

    name: str
    address: str
    route: str
    accepted: int | None
    active: int | None
    outcomes: dict[str, int]
    """How its ended connections ended."""
    hosts_directory: str | None = None
    """Where it looks for names that no application has."""
    hashed: bool = False
    """Whether that directory's folders are called by hashes."""
    bytes_to_target: int | None = None
    bytes_to_client: int | None = None


@dataclass(frozen=True, slots=True)
class DoorStatus:
    """The front door."""

    state: str
    since: float
    pid: int | None
    restarts: int
    host_uid: int
    generation: int
    replacements: int
    """How often a running door was replaced by another one."""
    draining: int
    """Replaced doors that have connections left."""
    protections: tuple[ProtectionStatus, ...]
    workers: int | None
    accepted: int | None
    active: int | None
    log_lines_lost: int | None
    accept_pauses: int | None
    """How often it took no connections for a while: descriptors or memory had run out."""
    outcomes: dict[str, int]
    failure: Failure | None
    bytes_to_target: int | None = None
    bytes_to_client: int | None = None
    hello: Histogram | None = None
    """How long clients took for their hellos."""
    connect: Histogram | None = None
    """How long it took to connect to targets."""
    answer: Histogram | None = None
    """How long it took from accept to a target's first byte."""


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The whole."""

    version: str
    pid: int
    since: float
    config: str
    runtime_directory: str
    authority: str | None
    """The certificate of the local authority, where an application uses it."""
    rootless: bool
    """Whether the cells and the door share the supervisor's own user."""
    listeners: tuple[ListenerStatus, ...]
    apps: tuple[AppStatus, ...]
    door: DoorStatus
