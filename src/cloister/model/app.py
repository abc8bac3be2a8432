"""Applications: what runs in a cell."""

from dataclasses import dataclass
from enum import Enum

from cloister.model.isolation import Bind
from cloister.model.route import SendProxy


@dataclass(frozen=True, slots=True)
class CommandProgram:
    """A program with its arguments; takes its socket by ``LISTEN_FDS``."""

    command: tuple[str, ...]
    """The program, as an absolute path inside the cell, and its arguments."""


@dataclass(frozen=True, slots=True)
class PythonProgram:
    """An ASGI or WSGI callable, served by ``cloister.apps.servers``."""

    module: str
    callable: str
    """A dotted attribute path inside the module."""

    def __str__(self) -> str:
        return f"{self.module}:{self.callable}"


Program = CommandProgram | PythonProgram


@dataclass(frozen=True, slots=True)
class SelfSignedTls:
    """A certificate made on the spot, signed by the supervisor's own local authority."""


@dataclass(frozen=True, slots=True)
class FileTls:
    """A certificate chain and its private key, PEM, read by the supervisor at each start."""

    certificate: str
    """An absolute path on the host."""
    key: str
    """An absolute path on the host; never visible in the cell under this path."""


Tls = SelfSignedTls | FileTls


class Readiness(Enum):
    """How an application shows that it serves."""

    NOTIFY = "notify"
    """It sends ``READY=1`` (sd_notify(3))."""
    ACCEPT = "accept"
    """It takes a connection from its listening socket."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret file handed to the application, in ``$CREDENTIALS_DIRECTORY/name``."""

    name: str
    source: str
    """An absolute path on the host."""


@dataclass(frozen=True, slots=True)
class App:
    """One ``[apps.NAME]`` of the configuration. Durations in seconds."""

    name: str
    """Lower-case letters, digits and inner hyphens, at most 63: it is a host name too."""
    program: Program
    directory: str | None
    """The application's folder on the host: read-only in the cell at the same path, and its
    working directory there. ``None``: it sees no folder, and its working directory is ``/``."""
    hosts: tuple[str, ...] = ()
    """Canonical names, ``*.parent`` or ``*``."""
    tls: Tls | None = None
    send_proxy: SendProxy = SendProxy.NONE
    environment: tuple[tuple[str, str], ...] = ()
    credentials: tuple[Credential, ...] = ()
    binds: tuple[Bind, ...] = ()
    ready: Readiness = Readiness.ACCEPT
    ready_timeout: float = 30.0
    stop_timeout: float = 10.0
    tmp_size: int = 64 * 1024 * 1024
    """Bytes that /tmp in the cell may hold."""
