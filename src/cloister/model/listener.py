"""Listeners: where connections come in."""

from dataclasses import dataclass

from cloister.model.route import Route


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


Address = TcpAddress | UnixAddress


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


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Bounds of one listener; durations in seconds."""

    connections: int = 10_000
    """Connections at once; 0 means no bound."""
    hello_timeout: float = 10.0
    connect_timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class Listener:
    """One ``[listeners.NAME]`` of the configuration."""

    name: str
    addresses: tuple[Address, ...]
    """At least one."""
    route: Route
    socket: SocketOptions = SocketOptions()
    limits: ListenerLimits = ListenerLimits()
