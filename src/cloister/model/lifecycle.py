"""How an application lives: how many processes, when they start and end, where they speak.

Durations in seconds.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Processes:
    """How many processes share an application's listening socket, each in its own cell."""

    most: int = 1
    """How many there are at most; without ``spare`` exactly so many."""
    spare: int | None = None
    """How many are kept idle beyond the busy ones; 0 has the first one started by the first
    connection. ``None``: the number does not depend on the load."""
    idle_timeout: float = 15.0
    """How long an idle one beyond ``spare`` is kept."""

    def __str__(self) -> str:
        """For people."""
        if self.spare is None:
            return str(self.most)
        return f"up to {self.most}, {self.spare} spare, idle ones end after {self.idle_timeout:g} s"


class RestartWhen(Enum):
    """After what ends a program is started again without being asked to."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    """Unless it ended with exit status 0."""
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """What follows when a process ends by itself, and how a restart goes that was asked for."""

    when: RestartWhen = RestartWhen.ALWAYS
    failures: int = 20
    """So many within ``window`` are a crash loop: no further start without a request."""
    window: float = 600.0
    rolling: bool = True
    """Whether a restart that was asked for has the next process ready before the one that
    runs is told to stop: for a while there are two. Otherwise connections wait."""
    after_requests: int | None = None
    """A process that has answered so many requests, or up to a tenth fewer, is followed by
    another, as in a restart that was asked for. Only where Cloister's own server counts them."""


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Ready once ``GET path`` over the application's own socket is answered by 2xx or 3xx."""

    path: str

    def __str__(self) -> str:
        """As the configuration writes it."""
        return f"http:{self.path}"


class LogTarget(Enum):
    """Where the lines of one application go, beside the supervisor's own output."""

    AUTO = "auto"
    """The journal where there is one, files otherwise."""
    JOURNAL = "journal"
    FILES = "files"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """Files for what an application writes, line by line, beside where its log is kept."""

    stdout: str | None = None
    """An absolute path."""
    stderr: str | None = None
    """An absolute path."""
    root: str | None = None
    """The folder of the host that both paths begin at; ``None`` for the host's own root."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Where the lines of one application are kept, and how many."""

    target: LogTarget = LogTarget.AUTO
    size: int = 10 * 1024 * 1024
    """Bytes of one file."""
    files: int = 4
    """How many there are at most, the one that is written included."""
    rate: int = 1000
    """Lines a second for long; ten times as many at once."""
    output: OutputFiles | None = None
