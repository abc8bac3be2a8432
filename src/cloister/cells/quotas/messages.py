"""What travels between the supervisor and ``cloister-cell disk``.

The same schema as ``crates/proto/src/messages/disk.rs``, which explains it; the messages in
``tests/contract/disk`` hold both sides to it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from cloister.wire import I32, U32, U64, Tag


@dataclass(frozen=True, slots=True)
class Projects:
    """A run of project numbers, both ends included."""

    first: U32
    last: U32


@dataclass(frozen=True, slots=True)
class Look:
    """Looks at a place and at what a project has there; answered by :class:`Seen`."""

    TAG: ClassVar[Tag] = Tag("action", "look")
    path: str
    project: U32


@dataclass(frozen=True, slots=True)
class Mark:
    """Has a place and all below it belong to a project; answered by :class:`Marked`."""

    TAG: ClassVar[Tag] = Tag("action", "mark")
    path: str
    project: U32
    replaceable: Projects
    """Files of other projects than these, and than 0, are refused."""


@dataclass(frozen=True, slots=True)
class Unmark:
    """Has all of a project belong to nobody; answered by :class:`Marked`."""

    TAG: ClassVar[Tag] = Tag("action", "unmark")
    path: str
    project: U32


@dataclass(frozen=True, slots=True)
class Bound:
    """Bounds a project on the file system of a place; answered by :class:`Bounded`."""

    TAG: ClassVar[Tag] = Tag("action", "bound")
    path: str
    project: U32
    bytes: U64
    """0 for no bound."""
    files: U64
    """Of every kind; 0 for no bound."""


Action = Look | Mark | Unmark | Bound


@dataclass(frozen=True, slots=True)
class DiskOrder:
    """What is to be done, one after the other."""

    actions: tuple[Action, ...]


class Kind(Enum):
    """What a place is."""

    FOLDER = "folder"
    FILE = "file"
    OTHER = "other"
    """It takes no room: a device, a pipe, a socket."""


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What a project has on a file system, and may have; a limit of 0 is none."""

    bytes: U64
    files: U64
    bytes_limit: U64
    files_limit: U64


@dataclass(frozen=True, slots=True)
class Seen:
    """What is at a place."""

    TAG: ClassVar[Tag] = Tag("answer", "seen")
    kind: Kind
    device: U64
    inode: U64
    file_system: U64
    """statfs(2)'s ``f_type``."""
    project: U32
    """That the place belongs to."""
    inherited: bool
    accounted: bool
    enforced: bool
    refusal: I32
    """Why it was not told whether limits are kept, or what is used; 0 where it was."""
    usage: DiskUse
    """Of the project that was asked for."""


@dataclass(frozen=True, slots=True)
class Marked:
    """How many files and folders were looked at, and changed."""

    TAG: ClassVar[Tag] = Tag("answer", "marked")
    entries: U64
    changed: U64


@dataclass(frozen=True, slots=True)
class Bounded:
    """The bound is in force."""

    TAG: ClassVar[Tag] = Tag("answer", "bounded")


@dataclass(frozen=True, slots=True)
class Failed:
    """An action did not work; what was done before stays done."""

    TAG: ClassVar[Tag] = Tag("answer", "failed")
    description: str
    errno: I32
    path: str
    foreign: U32 | None
    """The project that the path belongs to, where that is the reason."""


Answer = Seen | Marked | Bounded | Failed
