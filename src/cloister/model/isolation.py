"""What separates a cell from the host."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdMapping:
    """A run of ids that two sides call differently: user_namespaces(7)."""

    inside: int
    """The first id inside: in the cell, or on the disk of an id-mapped mount."""
    outside: int
    """The first id on the host."""
    size: int = 1

    def to_outside(self, inside: int) -> int | None:
        """The host's id for one inside; ``None`` where it is not in this run."""
        return self.outside + inside - self.inside if inside in self.inside_ids else None

    def to_inside(self, outside: int) -> int | None:
        """The id inside for one of the host; ``None`` where it is not in this run."""
        return self.inside + outside - self.outside if outside in self.outside_ids else None

    @property
    def inside_ids(self) -> range:
        """All ids inside."""
        return range(self.inside, self.inside + self.size)

    @property
    def outside_ids(self) -> range:
        """All ids of the host."""
        return range(self.outside, self.outside + self.size)


IdMap = tuple[IdMapping, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """A part of the host's file system, seen in a cell."""

    source: str
    """An absolute path on the host."""
    destination: str
    """An absolute path in the cell."""
    writable: bool = False
    executable: bool = True
    optional: bool = False
    """Whether a missing source is passed over."""
    owner: str | None = None
    """A user of the host, by name or number, whose files in ``source`` are the application's
    own in the cell, and to whom on the host belongs what it writes there. ``None``: files
    have the owners that they have, as the cell's map of ids shows them."""
    group: str | None = None
    """The same for groups; ``None`` with an ``owner`` takes the owner's own group."""


@dataclass(frozen=True, slots=True)
class Temporary:
    """A private file system in memory."""

    path: str
    """An absolute path in the cell."""
    size: int = 16 * 1024 * 1024
    """Bytes that it may hold."""
    mode: int = 0o755
    executable: bool = False
    """Whether programs on it may be executed."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Which namespaces (namespaces(7)) are the cell's own."""

    user: bool = True
    mount: bool = True
    pid: bool = True
    ipc: bool = True
    uts: bool = True
    cgroup: bool = True
    network: bool = True
    time: bool = True


@dataclass(frozen=True, slots=True)
class RootFilesystem:
    """A folder of the host that is the cell's ``/``."""

    path: str
    """An absolute path on the host."""
    writable: bool = False
    """Whether what the application may write there stays on the host."""
    mapped: bool = False
    """Whether its files have the owners on the disk that they are to have in the cell (an
    image that was unpacked by root), through an id-mapped mount."""


@dataclass(frozen=True, slots=True)
class Automount:
    """What a cell has beside its root filesystem."""

    language_dependencies: bool = True
    """The interpreter of a Python application with its libraries, read-only."""
    tmp: bool = True
    """A private /tmp."""
    proc: bool = True
    """A /proc with the cell's own processes only."""
    dev: bool = True
    """A /dev with harmless devices only."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """``[apps.NAME.isolation]``."""

    namespaces: Namespaces = Namespaces()
    init: bool = True
    """Whether process 1 of the cell is an init of Cloister's, which reaps what ends and
    forwards signals; else it is the application itself."""
    uid: int | None = None
    """The application's user id inside. ``None``: what the map makes of its id on the host, or
    1000 without a map."""
    gid: int | None = None
    uid_map: IdMap = ()
    """The ids of the user namespace. Empty: the application's own and no other."""
    gid_map: IdMap = ()
    host_root: bool = False
    """Whether the host's root may be the application's user, mapped or not."""
    rootfs: RootFilesystem | None = None
    automount: Automount = Automount()
    temporary: tuple[Temporary, ...] = ()
    hostname: str | None = None
    """The cell's host name; ``None`` for the application's name."""
    monotonic_offset: int = 0
    """Seconds that CLOCK_MONOTONIC is ahead of the host's; may be negative."""
    boottime_offset: int = 0


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """The ids on the host under which something runs."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplementary groups; never 0 either."""


@dataclass(frozen=True, slots=True)
class IdRange:
    """Host ids that Cloister gives out, first and last included."""

    first: int
    last: int
