"""Who may ask for metrics, where, and how applications are asked for theirs."""

from dataclasses import dataclass, field

from cloister.model.listener import Address, SocketOptions


@dataclass(frozen=True, slots=True)
class AppMetrics:
    """``metrics`` of one application. The gateway asks for them by HTTP on its socket."""

    path: str = "/metrics"
    """As in a request's first line; begins with a slash."""
    tls: bool = False
    """Whether the application's socket speaks TLS."""
    timeout: float = 5.0
    """Seconds for the whole answer, connecting included."""
    max_size: int = 16 * 1024 * 1024
    """Bytes of an answer."""
    listen: tuple[Address, ...] = ()
    """Addresses that offer the metrics of this application alone."""


@dataclass(frozen=True, slots=True)
class MetricsOptions:
    """``[metrics]``: the gateway between the applications' sockets and Prometheus."""

    listen: tuple[Address, ...] = ()
    """Addresses that offer everything; none where there is no such table."""
    socket: SocketOptions = field(default_factory=SocketOptions)
    """How all of the gateway's sockets are made."""
    token: str | None = None
    """The absolute path of a file with the token that clients must know."""
