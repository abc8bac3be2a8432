"""Routes: where a listener's connections go."""

from dataclasses import dataclass
from enum import Enum


class SendProxy(Enum):
    """Which PROXY protocol header precedes the client's bytes."""

    NONE = "none"
    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class UnixPathTarget:
    """A Unix socket in the file system."""

    path: str
    """Absolute; any length."""

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class UnixAbstractTarget:
    """A Unix socket in the abstract namespace (unix(7))."""

    name: str
    """Without the leading NUL byte."""

    def __str__(self) -> str:
        return f"unix:@{self.name}"


Target = UnixPathTarget | UnixAbstractTarget


@dataclass(frozen=True, slots=True)
class TargetRoute:
    """Every connection goes to one target; its bytes are not looked at."""

    target: Target
    send_proxy: SendProxy = SendProxy.NONE


@dataclass(frozen=True, slots=True)
class ServerNameRoute:
    """By TLS server name: the applications' ``hosts`` first, then a hosts directory."""

    hosts_directory: str | None = None
    """An absolute path."""


Route = TargetRoute | ServerNameRoute
