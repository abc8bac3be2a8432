"""What separates a cell from the host."""

from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """The ids on the host under which something runs; never 0 for a cell."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class IdRange:
    """Host ids that Cloister gives out, first and last included."""

    first: int
    last: int
