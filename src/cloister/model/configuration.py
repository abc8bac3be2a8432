"""A configuration as its text, before it is checked and after it was accepted."""

import hashlib
from dataclasses import dataclass
from enum import Enum

from cloister.model.snapshot import Snapshot

MAX_BYTES = 1024 * 1024
"""Of a configuration's text in UTF-8: far beyond any that people write, and programs too."""


class Dialect(Enum):
    """The languages of configurations."""

    TOML = "toml"
    """Cloister's own (docs/configuration.md)."""
    JSON = "json"
    """The same as JSON, or NGINX Unit's (docs/unit.md)."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole configuration, as somebody wrote it."""

    text: str
    dialect: Dialect
    source: str
    """The absolute path of the file that it came from, or that the supervisor was started
    with: messages name it, and relative paths in the text begin in its folder."""

    @property
    def digest(self) -> str:
        """The SHA-256 of its text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A configuration that runs, or that ran last."""

    version: int
    """Counted from 1; each accepted change has the next one."""
    configuration: Configuration
    file: str
    """The digest of the source file's text when it was last read: whether somebody has edited
    the file since."""
    time: float
    """When it was accepted, in seconds since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a supervisor starts with."""

    accepted: Accepted
    snapshot: Snapshot
    stored: bool
    """Whether it is the accepted one from the disk; else it has to be kept there."""
    remarks: tuple[str, ...] = ()
    """What an administrator should know about the choice."""
