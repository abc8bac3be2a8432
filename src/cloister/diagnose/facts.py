"""What probes see: frozen values, so that rules can be asked about a host that is not there."""

import os
import stat
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the kernel judges a process by (credentials(7))."""

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()
    """Supplementary ones."""
    capabilities: int = 0
    """The effective set, a bit each (capabilities(7))."""

    @property
    def all_groups(self) -> frozenset[int]:
        """The supplementary groups and the process's own."""
        return self.groups | {self.gid}


@dataclass(frozen=True, slots=True)
class Namespaces:
    """By the numbers of their inodes (namespaces(7)); ``None`` where it may not be looked at."""

    mount: int | None = None
    network: int | None = None
    user: int | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A resource limit and how much of it is used."""

    soft: int
    """-1 for none."""
    hard: int
    used: int | None
    """``None`` where it may not be looked at."""

    def reached(self, margin: int = 0) -> bool:
        """Whether no more than ``margin`` are left."""
        return self.soft >= 0 and self.used is not None and self.used >= self.soft - margin


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this host."""

    pid: int
    name: str
    command: tuple[str, ...]
    parent: int
    state: str
    """One letter, as in proc_pid_stat(5): ``T`` is stopped."""
    credentials: Credentials
    namespaces: Namespaces
    root: str | None
    """Its root directory in its mount namespace; ``None`` where it may not be looked at."""
    folder: str | None
    """Its working directory."""
    unit: str | None
    """The systemd unit that it belongs to."""
    label: str | None
    """Its AppArmor profile or SELinux context, where one confines it."""

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


class Kind(Enum):
    """What an entry of the file system is."""

    DIRECTORY = "directory"
    SOCKET = "socket"
    LINK = "symbolic link"
    FILE = "file"
    OTHER = "special file"

    @classmethod
    def of(cls, mode: int) -> "Kind":
        """From ``st_mode``."""
        known = {
            stat.S_IFDIR: cls.DIRECTORY,
            stat.S_IFSOCK: cls.SOCKET,
            stat.S_IFLNK: cls.LINK,
            stat.S_IFREG: cls.FILE,
        }
        return known.get(stat.S_IFMT(mode), cls.OTHER)


@dataclass(frozen=True, slots=True)
class AclEntry:
    """One line of a POSIX access control list (acl(5))."""

    tag: str
    """``user``, ``group``, ``mask`` or ``other``."""
    qualifier: int | None
    """The user's or group's id; ``None`` for the owner's lines."""
    permissions: int
    """4 read, 2 write, 1 search."""


@dataclass(frozen=True, slots=True)
class Step:
    """One entry that a path leads through."""

    path: str
    """Absolute, without links, as the one who looks names it."""
    kind: Kind
    device: int
    inode: int
    uid: int
    gid: int
    mode: int
    """The permission bits."""
    acl: tuple[AclEntry, ...] = ()
    link: str | None = None
    """Where a symbolic link points."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A path, entry by entry from ``/``: links as they are met, then what they lead to."""

    path: str
    steps: tuple[Step, ...]
    error: int = 0
    """The errno that ended it early; 0 where the last step is the end of the path."""
    at: str = ""
    """Which entry that errno is about."""

    @property
    def end(self) -> Step | None:
        """What the path leads to, where it leads to anything."""
        return self.steps[-1] if self.steps and not self.error else None


class SocketType(Enum):
    """socket(2)."""

    STREAM = 1
    DATAGRAM = 2
    SEQPACKET = 5


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A bound Unix socket, as unix_diag tells (sock_diag(7))."""

    inode: int
    """Of the socket itself."""
    type: SocketType
    listening: bool
    name: str
    """The path as it was bound, or ``@`` and the abstract name."""
    file: tuple[int, int] | None
    """Device and inode of its place in the file system."""
    waiting: int
    """Connections that nobody has accepted yet."""
    backlog: int


@dataclass(frozen=True, slots=True)
class TcpListener:
    """A listening TCP socket (proc_pid_net(5))."""

    host: str
    port: int
    uid: int
    inode: int
    waiting: int


@dataclass(frozen=True, slots=True)
class UnixPlace:
    """A Unix socket in the file system."""

    path: str
    sequenced: bool = False
    """``SOCK_SEQPACKET`` is what the asker wants, instead of ``SOCK_STREAM``."""

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class AbstractPlace:
    """A Unix socket in the abstract namespace."""

    name: str

    def __str__(self) -> str:
        return f"unix:@{self.name}"


@dataclass(frozen=True, slots=True)
class TcpPlace:
    """A port of a host."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Place = UnixPlace | AbstractPlace | TcpPlace


NAME_FAILED = -1
"""In the place of an errno: no address was found for the name."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One connect(2), made with the credentials and in the view of the one who asks."""

    error: int
    """errno; 0 for success, :data:`NAME_FAILED` where the name has no address."""
    peer: int | None = None
    """The process that listens, where the kernel tells."""
    reply: bytes = b""
    """The first bytes that came back, where something was sent."""
    closed: bool = False
    """The peer ended the connection."""
    failure: str = ""
    """Why it could not be made as asked, where that is no errno of connect."""
    name_error: int = 0
    """EAI_…, of getaddrinfo(3)."""

    @property
    def words(self) -> str | None:
        """The failure as the system says it."""
        if self.error == 0:
            return None
        return self.failure or f"{self.error}: {os.strerror(self.error)}"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of systemd (org.freedesktop.systemd1(5))."""

    name: str
    active: str
    """``active``, ``inactive``, ``failed``, …"""
    result: str
    """``success``, or how it failed."""
    file: str | None
    listens: tuple[tuple[str, str], ...] = ()
    """(``Stream``, path) for each address of a socket unit."""
    settings: dict[str, str] = field(default_factory=dict)
    """Properties that rules look at, by systemd's names."""
