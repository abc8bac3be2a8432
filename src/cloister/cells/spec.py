"""What travels between the supervisor and ``cloister-cell``.

The same schema as ``crates/proto/src/messages/cell.rs``, which explains it; the messages
in ``tests/contract/cell`` hold both sides to it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, TypeVar

from cloister import wire
from cloister.wire import I32, I64, U8, U16, U32, U64, Tag


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class IdRange:
    """A run of ids; inside is the namespace, or the disk of an id-mapped mount."""

    inside: U32
    outside: U32
    size: U32


@dataclass(frozen=True, slots=True)
class Identity:
    """The application's user and group, inside the cell and on the host."""

    uid: U32
    gid: U32
    host_uid: U32
    host_gid: U32
    uid_map: tuple[IdRange, ...]
    """The ids of the user namespace, where it is the cell's own."""
    gid_map: tuple[IdRange, ...]
    host_root: bool
    """Whether host id 0 may be among them."""


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """Control groups (cgroups(7)), by inherited descriptors; init enters them first of all."""

    unified: I32 | None
    """The directory of a group of version 2."""
    members: tuple[I32, ...]
    """``cgroup.procs`` of groups of version 1, open for writing."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Which namespaces (namespaces(7)) are the cell's own."""

    user: bool
    mount: bool
    pid: bool
    ipc: bool
    uts: bool
    cgroup: bool
    network: bool
    time: bool


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the clocks of a time namespace show more than the host's."""

    monotonic_ns: I64
    boottime_ns: I64


@dataclass(frozen=True, slots=True)
class Owners:
    """The ids of an id-mapped mount: inside is the disk."""

    users: tuple[IdRange, ...]
    groups: tuple[IdRange, ...]


@dataclass(frozen=True, slots=True)
class RootFolder:
    """A folder of the host that is a cell's root."""

    source: str
    writable: bool
    owners: Owners | None


@dataclass(frozen=True, slots=True)
class Bind:
    """A part of the host's file system, seen in the cell."""

    source: str
    destination: str
    writable: bool
    executable: bool
    optional: bool
    """Whether a missing source is passed over."""
    owners: Owners | None
    """Whose files appear as whose; as they are on the disk where there is none."""


@dataclass(frozen=True, slots=True)
class Temporary:
    """A private file system in memory."""

    path: str
    size_bytes: U64
    mode: U32
    executable: bool


@dataclass(frozen=True, slots=True)
class Text:
    """A file's content, as text."""

    TAG: ClassVar[Tag] = Tag("kind", "text")
    text: str


@dataclass(frozen=True, slots=True)
class FromDescriptor:
    """A file's content, read to its end from an inherited descriptor."""

    TAG: ClassVar[Tag] = Tag("kind", "descriptor")
    descriptor: I32
    """Its number in the launcher."""


Content = Text | FromDescriptor


@dataclass(frozen=True, slots=True)
class File:
    """A file made for the cell, owned by the application's user."""

    path: str
    mode: U32
    content: Content


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class HostName:
    """A name and what it stands for: hosts(5)."""

    address: str
    """In 127.0.0.0/8."""
    name: str


@dataclass(frozen=True, slots=True)
class Hosts:
    """Names that /etc/hosts has beside those of the file that is there, which is covered."""

    names: tuple[HostName, ...]
    otherwise: str
    """What follows them where no file is there."""


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A root, then binds, temporary file systems, names of hosts, files and links."""

    root: RootFolder | None
    """``None`` for an empty one in memory."""
    binds: tuple[Bind, ...]
    """Parents before what lies in them."""
    temporary: tuple[Temporary, ...]
    hosts: Hosts | None
    files: tuple[File, ...]
    links: tuple[Link, ...]
    proc: bool
    dev: bool


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An inherited listening socket, handed over as ``LISTEN_FDS``."""

    name: str
    descriptor: I32
    """Its number in the launcher."""


@dataclass(frozen=True, slots=True)
class Loopback:
    """A TCP port of the cell's loopback interface."""

    TAG: ClassVar[Tag] = Tag("kind", "loopback")
    host: str
    """In 127.0.0.0/8."""
    port: U16


@dataclass(frozen=True, slots=True)
class SocketFile:
    """A Unix socket that only the application's user may connect to."""

    TAG: ClassVar[Tag] = Tag("kind", "socket")
    path: str
    """In the cell."""


WayOut = Loopback | SocketFile


@dataclass(frozen=True, slots=True)
class Egress:
    """Sockets that listen in the cell and are given away."""

    descriptor: I32
    """Of a ``SOCK_SEQPACKET`` socket, in the launcher: they all come in one packet."""
    ways: tuple[WayOut, ...]


class Stdin(Enum):
    """The application's standard input."""

    NULL = "null"
    INHERIT = "inherit"
    TERMINAL = "terminal"
    """A terminal that nobody else uses: the cell's controlling terminal."""


@dataclass(frozen=True, slots=True)
class Protections:
    """Protections beside the namespaces."""

    drop_capabilities: bool
    no_new_privileges: bool
    new_session: bool
    new_keyring: bool
    no_core_dumps: bool
    close_descriptors: bool


@dataclass(frozen=True, slots=True)
class Equal:
    """The bits of ``mask`` in an argument must be those of ``value``."""

    TAG: ClassVar[Tag] = Tag("kind", "equal")
    argument: U8
    mask: U32
    value: U32


@dataclass(frozen=True, slots=True)
class Differs:
    """An argument must be anything but ``value``."""

    TAG: ClassVar[Tag] = Tag("kind", "differs")
    argument: U8
    value: U32


Condition = Equal | Differs


@dataclass(frozen=True, slots=True)
class ConditionalCall:
    """A system call that is allowed where all conditions hold."""

    name: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class SystemCalls:
    """An allow-list of system calls."""

    profile: str
    allowed: tuple[str, ...]
    conditional: tuple[ConditionalCall, ...]
    absent: tuple[str, ...]
    """Calls that fail with ENOSYS."""


@dataclass(frozen=True, slots=True)
class Landlock:
    """What landlock(7) restricts, as far as the kernel can."""

    required: bool
    files: bool
    signals: bool
    abstract_sockets: bool
    tcp_bind: tuple[U16, ...] | None
    tcp_connect: tuple[U16, ...] | None


class LimitedResource(Enum):
    """What a resource limit is for."""

    OPEN_FILES = "open-files"
    PROCESSES = "processes"
    LOCKED_MEMORY = "locked-memory"
    FILE_SIZE = "file-size"


@dataclass(frozen=True, slots=True)
class ResourceLimit:
    """A resource limit, soft and hard."""

    resource: LimitedResource
    value: U64


@dataclass(frozen=True, slots=True)
class SelinuxLabel:
    """The SELinux context of the executed program."""

    TAG: ClassVar[Tag] = Tag("kind", "selinux")
    context: str


@dataclass(frozen=True, slots=True)
class ApparmorLabel:
    """The AppArmor profile of the executed program."""

    TAG: ClassVar[Tag] = Tag("kind", "apparmor")
    profile: str


Label = SelinuxLabel | ApparmorLabel


@dataclass(frozen=True, slots=True)
class Fences:
    """What the application may ask of the kernel."""

    system_calls: SystemCalls | None
    landlock: Landlock | None
    limits: tuple[ResourceLimit, ...]
    proc: tuple[str, ...]
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything that makes one cell."""

    name: str
    command: tuple[str, ...]
    environment: tuple[Variable, ...]
    working_directory: str
    hostname: str
    identity: Identity
    host_groups: tuple[U32, ...]
    """Supplementary groups on the host, which the application keeps; never 0."""
    control_groups: ControlGroups
    init: bool
    """Whether process 1 of the cell is an init, and not the application itself."""
    namespaces: Namespaces
    clocks: Clocks
    filesystem: Filesystem
    descriptors: tuple[Descriptor, ...]
    egress: Egress | None
    stdin: Stdin
    protections: Protections
    fences: Fences


@dataclass(frozen=True, slots=True)
class Fence:
    """One fence around the application."""

    name: str
    active: bool
    """Whether it is in force, completely."""
    detail: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What is in force, said right before the application is executed."""

    fences: tuple[Fence, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a cell could not be made or the application not be executed."""

    step: str
    description: str
    errno: I32
    path: str | None
    hint: str | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of ``cloister-cell explain --json``."""

    step: str
    description: str


T = TypeVar("T")


def encode(message: Spec | Effect | Failure | Operation) -> bytes:
    """The message as compact JSON; raises :class:`cloister.wire.WireError` for text that is
    no Unicode.
    """
    return wire.encode(message)


def decode(kind: type[T], data: bytes) -> T:
    """A message of one dataclass.

    Raises :class:`cloister.wire.WireError` that names the place inside the message.
    """
    return wire.decode(kind, data)  # type: ignore[no-any-return]
