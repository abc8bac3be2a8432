"""What the supervisor knows of itself, as values. Times in seconds since 1970-01-01 UTC."""

from dataclasses import dataclass


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
class AppStatus:
    """One application."""

    name: str
    program: str
    state: str
    """A :class:`cloister.apps.machine.State` value."""
    since: float
    """When it entered that state."""
    pid: int | None
    """Of the cell's outer process."""
    restarts: int
    """How often a process was made beyond the first."""
    host_uid: int
    hosts: tuple[str, ...]
    socket: str
    """The path of its listening socket."""
    message: str | None
    """What it says of itself (``STATUS=``, sd_notify(3))."""
    failure: Failure | None
    traffic: Traffic | None
    """``None`` while no door answers."""


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """One bound address of a listener."""

    name: str
    address: str
    route: str
    accepted: int | None
    active: int | None


@dataclass(frozen=True, slots=True)
class ProtectionStatus:
    """One protection that the door took on itself."""

    name: str
    active: bool
    detail: str


@dataclass(frozen=True, slots=True)
class DoorStatus:
    """The front door."""

    state: str
    since: float
    pid: int | None
    restarts: int
    host_uid: int
    generation: int
    protections: tuple[ProtectionStatus, ...]
    workers: int | None
    accepted: int | None
    active: int | None
    log_lines_lost: int | None
    outcomes: dict[str, int]
    failure: Failure | None


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
