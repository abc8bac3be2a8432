"""What is known of processes before anything is judged: frozen values, no I/O."""

from dataclasses import dataclass
from enum import Enum

LOOKED_AT = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
"""The namespaces that are looked at (namespaces(7))."""


class Origin(Enum):
    """Who starts a process, and so where a setting for it goes."""

    APP = "app"
    """A cell of Cloister's."""
    UNIT = "unit"
    """A service of systemd's."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the kernel judges a process by, as the host numbers it."""

    uid: int
    gid: int
    groups: frozenset[int]
    """The supplementary ones."""
    capabilities: int
    """The effective set, a bit each (capabilities(7)); 0 in a user namespace of its own, where
    they concern nothing of the host's."""

    @property
    def all_groups(self) -> frozenset[int]:
        """With its own group."""
        return self.groups | {self.gid}


@dataclass(frozen=True, slots=True)
class Process:
    """One process. What may not be looked at is ``None``."""

    pid: int
    parent: int
    name: str
    identity: Identity
    bounding: int
    """The capability bounding set: what a set-user-ID program could give it."""
    own_user_namespace: bool
    no_new_privileges: bool
    seccomp: bool
    shared_namespaces: frozenset[str] | None
    """Those of :data:`LOOKED_AT` that it shares with the host."""
    view: tuple[int, str] | None
    """Its mount namespace and its root in there: processes with one view see one file tree."""
    network: int | None
    """Its network namespace."""
    control_groups: tuple[tuple[str, str], ...]
    """Controllers, with commas between and empty for version 2, and the group's path."""
    label: str | None
    """Its AppArmor profile or SELinux context; ``None`` where nothing confines it."""
    oom_score_adjust: int
    open_files: int
    """The soft limit of descriptors; -1: none."""
    user_processes: int
    """RLIMIT_NPROC, likewise."""
    core_size: int
    """RLIMIT_CORE in bytes, likewise."""
    writable_code: tuple[str, ...]
    """Program, libraries and working directory that it could change."""
    writable_and_executable: bool
    """Whether it has memory that is both."""
    secret_variables: tuple[str, ...]
    """Names of environment variables that look like secrets."""
    unit: str | None
    app: str | None
    """The name of the cell that it lives in."""

    @property
    def origin(self) -> Origin:
        """Who starts it."""
        if self.app is not None:
            return Origin.APP
        return Origin.OTHER if self.unit is None else Origin.UNIT

    @property
    def service(self) -> str:
        """What it is a part of: its cell, its unit, or itself."""
        return self.app or self.unit or f"{self.name} ({self.pid})"


@dataclass(frozen=True, slots=True)
class BoundedDisk:
    """A file system with a quota on what can be written to."""

    point: str
    """Where it is mounted."""
    size: int
    """Bytes that the projects of its folders may have there, together."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What one identity gets at from one view. Each path as that view has it."""

    system_secrets: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    """Sockets that sign or decrypt for whoever connects."""
    masters: tuple[str, ...] = ()
    """Sockets whose owner does as root whatever it is asked."""
    foreign_data: tuple[str, ...] = ()
    """Folders of others."""
    sockets: tuple[str, ...] = ()
    """Listening Unix sockets of others."""
    writable_disks: tuple[str, ...] = ()
    """Mount points of file systems that outlive a restart and that it may fill."""
    bounded_disks: tuple[BoundedDisk, ...] = ()
    """Others, on which every folder that it may write to has a bound."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A TCP port that somebody listens on."""

    address: str
    port: int
    pids: frozenset[int]
    """Who; empty where it may not be looked at."""

    @property
    def public(self) -> bool:
        """Whether other machines can connect."""
        return not (self.address.startswith("127.") or self.address == "::1")

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What control groups set for a process, the tightest of all groups above it; ``None``:
    nothing."""

    memory: int | None = None
    """Bytes."""
    tasks: int | None = None
    processors: float | None = None
    """How many it may keep busy."""
    processor_weight: bool = False
    """Whether a group above has another share than the default."""
    io: bool = False
    """Whether a group above has another share than the default, or a limit."""


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, and everything that runs on it."""

    memory: int
    processors: int
    access_control: bool
    """Whether AppArmor or SELinux is on."""
    processes: tuple[Process, ...]
    listening: dict[int, tuple[Listening, ...]]
    """By network namespace."""
    unseen: tuple[str, ...]
    """What this process may not look at."""
