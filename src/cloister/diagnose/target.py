"""What is to be reached: a socket, a URL or an application, as a place and what is said to it."""

import re
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import unquote, urlsplit

from cloister.diagnose.facts import AbstractPlace, Place, TcpPlace, UnixPlace
from cloister.model.errors import UsageError
from cloister.model.route import SendProxy
from cloister.sockets.plan import SocketPlan

_PORTS = {"http": 80, "https": 443}
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):([0-9]{1,5})")


class Speech(Enum):
    """What the one who asks says first on a connection."""

    HTTP = "http"
    TLS = "https"
    OTHER = "other"
    """Something that a diagnosis must not try: FastCGI and its like."""


@dataclass(frozen=True, slots=True)
class ConfigLine:
    """The line of a configuration that leads to a target."""

    file: str
    line: int
    text: str
    """As it stands there."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A value of a configuration that is refused, or understood otherwise than meant."""

    wrong: str
    right: str
    why: str


@dataclass(frozen=True, slots=True)
class Target:
    """One way to one socket."""

    place: Place
    speech: Speech | None = None
    """``None``: not known, and nothing is said."""
    proxy: SendProxy | None = None
    """The header that precedes it; ``None``: not known."""
    proxy_switch: str | None = None
    """The folder of a hosts directory whose files turn the header on and off."""
    plan: SocketPlan | None = None
    """How Cloister makes this socket, where it does."""
    maker: int | None = None
    """The user who is to make it, where that is Cloister's supervisor."""
    app: str | None = None
    listener: str | None = None
    """Which listener of the configuration it is."""
    source: str | None = None
    """The configuration that has this app or listener."""
    line: ConfigLine | None = None
    """The one that says where to connect."""
    mistake: Mistake | None = None
    """What is wrong with that line by its form alone; the place is what was meant."""

    def __str__(self) -> str:
        name = self.app or self.listener
        return f"{name} ({self.place})" if name else str(self.place)


def parse(text: str) -> Target:
    """A path, ``unix:PATH``, ``@NAME``, ``HOST:PORT`` or a URL, also those of nginx
    (``http://unix:PATH:/URI``) and of clients (``http+unix://%2Frun%2Fx.sock/``).

    Raises :class:`UsageError` for anything else.
    """
    scheme, separator, rest = text.partition("://")
    if separator:
        return _url(text, scheme.lower(), rest)
    plain = text.removeprefix("unix:")
    if plain.startswith("@") and len(plain) > 1:
        return Target(AbstractPlace(plain[1:]))
    if plain.startswith("/"):
        return Target(UnixPlace(plain))
    match = _HOST_PORT.fullmatch(text.removeprefix("tcp:"))
    if match and 0 < int(match[2]) < 65536:
        return Target(TcpPlace(match[1].strip("[]"), int(match[2])))
    raise UsageError(
        f"{text!r} is no socket and no URL",
        why="no application or listener of the configuration is called so either",
        hint="for example /run/app.sock, unix:/run/app.sock, @name, 127.0.0.1:8000, "
        "http://unix:/run/app.sock:/ or https://backend.example.org/",
    )


def _url(text: str, scheme: str, rest: str) -> Target:
    scheme, plus, _ = scheme.partition("+unix")
    if scheme not in _PORTS:
        raise UsageError(f"{text!r} is no URL of HTTP", hint="http://… or https://…")
    speech = Speech.TLS if scheme == "https" else Speech.HTTP
    if plus:
        return Target(UnixPlace(unquote(rest.partition("/")[0])), speech)
    if rest.startswith("unix:"):
        return replace(parse(f"unix:{rest[5:].partition(':')[0]}"), speech=speech)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{text!r} is no URL", why=str(error)) from error
    if not host:
        raise UsageError(f"{text!r} names no host", hint="for example http://backend.example.org/")
    return Target(TcpPlace(host, port or _PORTS[scheme]), speech)
