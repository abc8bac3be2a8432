"""Listeners: where connections come in."""

from dataclasses import dataclass

from cloister.model.route import Route

UNIX_NAME_MAX = 107
"""Bytes of a Unix socket's path, or of its abstract name: ``sun_path`` of unix(7) has 108, and a
path ends, an abstract name begins with a NUL."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An IP address and a port to listen on."""

    host: str
    """An IPv4 or IPv6 address in its canonical text form, without brackets."""
    port: int
    """0 to 65535; 0 lets the kernel choose."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket's path, or a name in the abstract namespace (unix(7))."""

    path: str
    """An absolute path, or the abstract name without its leading NUL byte."""
    abstract: bool = False

    def __str__(self) -> str:
        return f"unix:@{self.path}" if self.abstract else f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class VsockAddress:
    """A port for virtual machines or for the host of one (vsock(7))."""

    cid: int | None
    """The context id that is to be connected to; ``None`` for every one of this machine."""
    port: int

    def __str__(self) -> str:
        return f"vsock:{'any' if self.cid is None else self.cid}:{self.port}"


Address = TcpAddress | UnixAddress | VsockAddress


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """How a listening socket is made. Owner, group and modes concern Unix paths only."""

    owner: str | None = None
    """A user's name or number; ``None`` leaves the supervisor's own."""
    group: str | None = None
    mode: int = 0o660
    directory_mode: int = 0o755
    """For directories that have to be made above the socket."""
    backlog: int = 4096
    sequenced: bool = False
    """``SOCK_SEQPACKET`` instead of ``SOCK_STREAM``; for Unix paths only."""


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Bounds of one listener; durations in seconds."""

    connections: int = 10_000
    """Connections at once; 0 means no bound."""
    hello_timeout: float = 10.0
    connect_timeout: float = 5.0
    connections_per_client: int = 0
    """Connections at once of one client; 0 means no bound."""
    connections_per_host: int = 0
    """Connections at once to one host; 0 means no bound."""
    idle_timeout: float = 0.0
    """0 means none."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When the kernel probes a silent TCP peer (tcp(7)); durations in whole seconds."""

    idle: int = 7200
    interval: int = 75
    probes: int = 9


@dataclass(frozen=True, slots=True)
class Listener:
    """One ``[listeners.NAME]`` of the configuration."""

    name: str
    addresses: tuple[Address, ...]
    """At least one."""
    route: Route
    socket: SocketOptions = SocketOptions()
    limits: ListenerLimits = ListenerLimits()
    accept_proxy: tuple[str, ...] = ()
    """Whose connections begin with a PROXY header: networks in canonical form, ``unix`` for
    every process of this machine, ``unix:UID`` for those of one user."""
    keepalive: Keepalive | None = None
    """Of TCP clients and of a TCP target; ``None`` leaves it to the system."""
