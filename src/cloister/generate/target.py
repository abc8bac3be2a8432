"""What a relay's target needs of the network: as much as its text tells."""

import ipaddress
import re
from dataclasses import dataclass
from enum import Enum

from cloister.generate import checks
from cloister.model.errors import UsageError


class Reach(Enum):
    """Where a target is, as the fences around a relay see it."""

    UNIX_PATH = "a socket in the file system"
    UNIX_ABSTRACT = "a socket of this network namespace"
    ADDRESS = "one address, written out"
    NAME = "whatever addresses a name has"
    VSOCK = "another machine on this host"


@dataclass(frozen=True, slots=True)
class RelayTarget:
    """A target as ``cloister-door relay`` takes it."""

    text: str
    reach: Reach
    path: str | None = None
    """Of a Unix socket in the file system."""
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    """Where it is written out."""


_NAME = re.compile(r"(?=.{1,254}$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+")
_PORT = re.compile(r"[0-9]{1,5}")
_VSOCK = re.compile(r"vsock:[0-9]{1,10}:[0-9]{1,10}")


def parse(text: str) -> RelayTarget:
    """``unix:PATH``, ``unix:@NAME``, ``[tcp:]HOST:PORT``, ``srv:NAME`` or ``vsock:CID:PORT``.

    Raises :class:`UsageError`.
    """
    checks.line(text, "a target")
    if text.startswith("unix:@") and len(text) > len("unix:@"):
        return RelayTarget(text, Reach.UNIX_ABSTRACT)
    if text.startswith("unix:"):
        path = checks.path(text.removeprefix("unix:"), "a target's path")
        return RelayTarget(text, Reach.UNIX_PATH, path=path)
    if text.startswith("srv:") and _NAME.fullmatch(text.removeprefix("srv:")):
        return RelayTarget(text, Reach.NAME)
    if _VSOCK.fullmatch(text):
        return RelayTarget(text, Reach.VSOCK)
    host, _, port = text.removeprefix("tcp:").rpartition(":")
    if _PORT.fullmatch(port) and 0 < int(port) < 65536:
        bracketed = host.startswith("[") and host.endswith("]")
        try:
            address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        except ValueError:
            if _NAME.fullmatch(host):
                return RelayTarget(text, Reach.NAME)
        else:
            if bracketed == (address.version == 6):
                return RelayTarget(text, Reach.ADDRESS, address=address)
    raise UsageError(
        f"{text!r} is no target",
        hint="for example `php.backend.example.:9000`, `192.0.2.7:9000`, `unix:/run/php.sock`, "
        "`srv:_http._tcp.example` or `vsock:3:8080`",
    )
