"""Applications: what runs in a cell."""

from dataclasses import dataclass, field
from enum import Enum

from cloister.model.egress import Egress
from cloister.model.fences import Fences
from cloister.model.isolation import Bind, Isolation
from cloister.model.lifecycle import HttpProbe, LogOptions, Processes, RestartPolicy
from cloister.model.limits import NO_LIMITS, Limits
from cloister.model.metrics import AppMetrics
from cloister.model.route import SendProxy
from cloister.model.signing import Grant


@dataclass(frozen=True, slots=True)
class CommandProgram:
    """A program with its arguments; :class:`Endpoint` says how it takes its connections."""

    command: tuple[str, ...]
    """The program, as an absolute path inside the cell, and its arguments. ``{fd}``,
    ``{socket}`` and ``{port}`` in them stand for what the endpoint of that kind is given."""


class Interface(Enum):
    """What a Python callable speaks with its server."""

    ASGI = "asgi"
    WSGI = "wsgi"


@dataclass(frozen=True, slots=True)
class PythonProgram:
    """An ASGI or WSGI callable, served by ``cloister.apps.servers``."""

    module: str
    callable: str
    """A dotted attribute path inside the module."""
    factory: bool = False
    """Whether the callable, called without arguments, returns the application."""
    interface: Interface | None = None
    """``None``: told from what the callable takes."""
    threads: int | None = None
    """Requests that a WSGI application answers at once; ``None`` leaves it to the server."""
    interpreter: str | None = None
    """An absolute path on the host; ``None`` is the one that runs Cloister."""
    home: str | None = None
    """A virtual environment, whose interpreter runs the application; absolute, on the host."""
    path: tuple[str, ...] = ()
    """Folders of the host where modules are looked for first; absolute."""

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

    def __str__(self) -> str:
        """As the configuration writes it."""
        return self.value


Ready = Readiness | HttpProbe


class Endpoint(Enum):
    """How an application gets its connections."""

    INHERIT = "inherit"
    """It accepts them from the listening socket that it inherits; the door relays."""
    HANDOFF = "handoff"
    """It receives each client's own connection on the socket that it inherits, from the door
    (docs/handoff.md)."""
    BIND = "bind"
    """It binds a Unix socket of its own inside the cell, at ``$SOCKPATH``."""
    PORT = "port"
    """It listens on TCP inside the cell, at 127.0.0.1 and ``$PORT``."""
    STDIO = "stdio"
    """One process for each connection, which is its standard input and output (inetd)."""


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
    working directory there. With a root filesystem of its own it is a path in that.
    ``None``: it sees no folder, and its working directory is ``/``."""
    hosts: tuple[str, ...] = ()
    """Canonical names, ``*.parent`` or ``*``."""
    tls: Tls | None = None
    send_proxy: SendProxy = SendProxy.NONE
    endpoint: Endpoint = Endpoint.INHERIT
    environment: tuple[tuple[str, str], ...] = ()
    credentials: tuple[Credential, ...] = ()
    binds: tuple[Bind, ...] = ()
    port: int = 8080
    """Where it listens inside its cell, with :attr:`Endpoint.PORT`."""
    processes: Processes = field(default_factory=Processes)
    idle_stop: float | None = None
    """Without a connection for so long, no process runs; the next connection starts it."""
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    log: LogOptions = field(default_factory=LogOptions)
    ready: Ready = Readiness.ACCEPT
    ready_timeout: float = 30.0
    stop_timeout: float = 10.0
    user: str | None = None
    """As whom it runs on the host, by name or number; ``None`` for ids of its own."""
    group: str | None = None
    """``None`` for the user's own group; only with ``user``."""
    groups: tuple[str, ...] = ()
    """Further groups on the host, by name or number."""
    egress: tuple[Egress, ...] = ()
    """What it may dial outside its cell."""
    limits: Limits = NO_LIMITS
    control_group: str | None = None
    """The control group of the host in which the application's own is made: absolute, or
    below the supervisor's. ``None``: in the supervisor's."""
    tmp_size: int = 64 * 1024 * 1024
    """Bytes that /tmp in the cell may hold."""
    fences: Fences = field(default_factory=Fences)
    metrics: AppMetrics | None = None
    """How it is asked for its metrics, where it has any."""
    sign: tuple[Grant, ...] = ()
    """What the signer signs for it; one for each store."""
    isolation: Isolation = field(default_factory=Isolation)
