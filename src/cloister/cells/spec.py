"""What travels between the supervisor and ``cloister-cell``.

The same schema as ``crates/proto/src/messages/cell.rs``, which explains it; the messages
in ``tests/contract/cell`` hold both sides to it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, TypeVar

from cloister import wire
from cloister.wire import I32, U32, U64, Tag


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The application's user and group, inside the cell and on the host; never host id 0."""

    uid: U32
    gid: U32
    host_uid: U32
    host_gid: U32


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


@dataclass(frozen=True, slots=True)
class Bind:
    """A part of the host's file system, seen in the cell."""

    source: str
    destination: str
    writable: bool
    executable: bool
    optional: bool
    """Whether a missing source is passed over."""


@dataclass(frozen=True, slots=True)
class Temporary:
    """A private file system in memory."""

    path: str
    size_bytes: U64
    mode: U32


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
class Filesystem:
    """An empty root, then binds, temporary file systems, files and links."""

    binds: tuple[Bind, ...]
    """Parents before what lies in them."""
    temporary: tuple[Temporary, ...]
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


class Stdin(Enum):
    """The application's standard input."""

    NULL = "null"
    INHERIT = "inherit"


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
class Spec:
    """Everything that makes one cell."""

    name: str
    command: tuple[str, ...]
    environment: tuple[Variable, ...]
    working_directory: str
    hostname: str
    identity: Identity
    namespaces: Namespaces
    filesystem: Filesystem
    descriptors: tuple[Descriptor, ...]
    stdin: Stdin
    protections: Protections


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


def encode(message: Spec | Failure | Operation) -> bytes:
    """The message as compact JSON; raises :class:`cloister.wire.WireError` for text that is
    no Unicode.
    """
    return wire.encode(message)


def decode(kind: type[T], data: bytes) -> T:
    """A message of one dataclass.

    Raises :class:`cloister.wire.WireError` that names the place inside the message.
    """
    return wire.decode(kind, data)  # type: ignore[no-any-return]
