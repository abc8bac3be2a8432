"""Routes: where a listener's connections go."""

import ipaddress
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


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """A TCP port of an address, or of a name whose addresses may change."""

    host: str
    """An IP address without brackets, or a name; with a trailing dot it is complete."""
    port: int

    @property
    def is_literal(self) -> bool:
        """Whether no name has to be looked up."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        return (
            f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"
        )


@dataclass(frozen=True, slots=True)
class VsockTarget:
    """A port of a virtual machine or of its host (vsock(7))."""

    cid: int
    """The context id; 2 is the host."""
    port: int

    def __str__(self) -> str:
        return f"vsock:{self.cid}:{self.port}"


@dataclass(frozen=True, slots=True)
class SrvTarget:
    """The TCP ports that a DNS service record names (RFC 2782)."""

    name: str
    """``_service._tcp.example.org``."""

    def __str__(self) -> str:
        return f"srv:{self.name}"


Target = UnixPathTarget | UnixAbstractTarget | TcpTarget | VsockTarget | SrvTarget


class Balance(Enum):
    """Which address of a target with several comes first for the next connection."""

    ROUND_ROBIN = "round-robin"
    LEAST_CONNECTIONS = "least-connections"


@dataclass(frozen=True, slots=True)
class TargetRoute:
    """Every connection goes to one target; its bytes are not looked at."""

    target: Target
    send_proxy: SendProxy = SendProxy.NONE
    balance: Balance = Balance.ROUND_ROBIN


@dataclass(frozen=True, slots=True)
class ServerNameRoute:
    """By TLS server name: the applications' ``hosts`` first, then a hosts directory."""

    hosts_directory: str | None = None
    """An absolute path."""
    hashed: bool = False
    """Whether the directory's folders are called by the hashes of the hostnames."""


Route = TargetRoute | ServerNameRoute
