"""Texts of Unit's configuration that stand for something. No I/O."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote

from cloister.config import forms
from cloister.config.forms import Form
from cloister.config.names import parse_path
from cloister.config.problems import Code, refusal
from cloister.config.unit_dialect import refusals
from cloister.config.values import unix_name
from cloister.model.listener import Address, TcpAddress, UnixAddress

_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_PYTHON = re.compile(r"python(?: ([0-9]+(?:\.[0-9]+){0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pass:
    """An application, or one target of it."""

    application: str
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """What runs an application."""

    python: bool
    version: str | None = None
    """Of Python, as far as it is given: ``3`` or ``3.11``."""


@dataclass(frozen=True, slots=True)
class ListenerKey:
    """A listener's address together with how it was written."""

    text: str
    address: Address


def parse_listener(text: str) -> ListenerKey:
    """``*:PORT``, ``ADDRESS:PORT``, ``[ADDRESS]:PORT``, ``unix:PATH`` or ``unix:@NAME``.

    ``*`` is every IPv4 address, as in Unit (src/nxt_sockaddr.c): whoever wants both writes
    ``[::]:PORT`` beside it.
    """
    if text.startswith("unix:"):
        path, abstract = unix_name(text, Code.BAD_ADDRESS)
        if not abstract and not path.startswith("/"):
            raise refusal(
                Code.BAD_ADDRESS,
                f'"{text}" is relative',
                why="it would depend on where the supervisor was started",
                hint=f'write the whole path, for example "unix:/run/{path}"',
            )
        return ListenerKey(text, UnixAddress(path, abstract=abstract))
    host, _, port = text.rpartition(":")
    if not host or _PORT.fullmatch(port) is None or not 0 < int(port) < 2**16:
        raise refusal(
            Code.BAD_ADDRESS,
            f'"{text}" is no address with a port between 1 and 65535',
            hint='for example "*:8080", "127.0.0.1:8080", "[::1]:8080", "unix:/run/blog.sock" or '
            '"unix:@blog"',
        )
    if host == "*":
        return ListenerKey(text, TcpAddress("0.0.0.0", int(port)))
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        address = None
    if address is None or bracketed != (address.version == 6) or "%" in host:
        raise refusal(
            Code.BAD_ADDRESS,
            f'"{host}" is no IP address',
            hint=f'for example "*:{port}", "127.0.0.1:{port}" or "[::1]:{port}"',
        )
    return ListenerKey(text, TcpAddress(str(address), int(port)))


def parse_pass(text: str) -> Pass:
    """``applications/NAME`` or ``applications/NAME/TARGET``, each part percent-encoded."""
    first, *rest = (unquote(part) for part in text.split("/"))
    if first in ("routes", "upstreams"):
        refused = refusals.ROOT[first]
        raise refusal(
            Code.UNSUPPORTED, f'"{text}" leads to {first}', why=refused.why, hint=refused.hint
        )
    if "$" in text:
        raise refusal(
            Code.UNSUPPORTED,
            f'"{text}" depends on a variable',
            why="variables are parts of HTTP requests, and the door reads none",
            hint="name one application; by TLS server name a native configuration tells "
            "applications apart (`hosts`)",
        )
    if first != "applications" or not 1 <= len(rest) <= 2 or not all(rest):
        raise refusal(
            Code.BAD_TARGET,
            f'"{text}" leads nowhere',
            why="a listener passes its connections to an application",
            hint='for example "applications/blog"',
        )
    return Pass(rest[0], rest[1] if len(rest) == 2 else None)


def parse_type(text: str) -> Kind:
    """``external``, ``python``, ``python 3`` or ``python 3.11``."""
    if text == "external":
        return Kind(python=False)
    match = _PYTHON.fullmatch(text)
    if match is not None:
        return Kind(python=True, version=match[1])
    instead = refusals.language(text)
    if instead is None:
        raise refusal(
            Code.UNKNOWN_VALUE,
            f'there is no application type "{text}"',
            hint='for example "external", "python" or "python 3.11"',
        )
    raise refusal(
        Code.UNSUPPORTED,
        f'applications of type "{text}" are not run',
        why="Cloister brings a server for Python only; every other program serves its own socket",
        hint=instead,
    )


def parse_module(text: str) -> str:
    """A module's import name."""
    if not all(part.isidentifier() for part in text.split(".")):
        raise refusal(
            Code.BAD_CALLABLE, f'"{text}" names no module', hint='for example "blog.wsgi"'
        )
    return text


def parse_attribute(text: str) -> str:
    """A callable's path inside its module."""
    if not all(part.isidentifier() for part in text.split(".")):
        raise refusal(
            Code.BAD_CALLABLE, f'"{text}" names nothing in a module', hint='for example "app"'
        )
    return text


def parse_root(text: str) -> str:
    """An absolute path other than ``/`` (src/nxt_isolation.c)."""
    parse_path(text)
    if not text.startswith("/") or not text.strip("/") or ".." in text.split("/"):
        raise refusal(
            Code.BAD_PATH,
            f'"{text}" cannot be a root',
            why="it is not absolute, is the host's own root, or goes through `..`",
            hint='for example "/srv/images/blog"',
        )
    return text


def parse_cgroup(text: str) -> str:
    """A control group's path: absolute, or below the supervisor's own."""
    parts = text.split("/")
    if not text.strip("/") or ".." in parts or "." in parts or "\0" in text or "\n" in text:
        raise refusal(
            Code.BAD_PATH,
            f'"{text}" cannot be a control group',
            why="it names none, or goes through `..`",
            hint='for example "production/blog" below the supervisor\'s own, or "/production/blog"',
        )
    return text


CgroupText = Annotated[str, Form("path"), forms.text(parse_cgroup)]
ListenerAddress = Annotated[ListenerKey, Form("address"), forms.text(parse_listener)]
PassText = Annotated[Pass, Form("text"), forms.text(parse_pass)]
TypeText = Annotated[Kind, Form("text"), forms.text(parse_type)]
ModuleText = Annotated[str, Form("text"), forms.text(parse_module)]
AttributeText = Annotated[str, Form("text"), forms.text(parse_attribute)]
RootText = Annotated[str, Form("absolute path"), forms.text(parse_root)]
