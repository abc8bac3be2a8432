"""Targets as the configuration writes them: ``unix:``, ``tcp:``, ``vsock:``, ``srv:``.

The parser takes the text as written and returns a value, or raises what
``problems.refusal`` makes. No I/O: a name is looked up by the door, again and again.
"""

import ipaddress
import re

from cloister.config.problems import Code, refusal
from cloister.config.values import unix_name
from cloister.hosts.hostname import canonical_hostname
from cloister.model.errors import HostnameError
from cloister.model.route import (
    SrvTarget,
    Target,
    TcpTarget,
    UnixAbstractTarget,
    UnixPathTarget,
    VsockTarget,
)

EXAMPLES = (
    '"unix:/run/example.sock", "unix:@example", "tcp:backend.example.org:8080", '
    '"tcp:[2001:db8::1]:8080", "vsock:3:8080" or "srv:_http._tcp.example.org"'
)
MAX_NUMBER = 2**32 - 1
"""Of a context id or a port of vsock(7), which is the number for "any"."""

_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_SERVICE = re.compile(r"_[A-Za-z0-9](?:[A-Za-z0-9-]{0,61})\._(?:tcp|udp)\.(.+)", re.ASCII)


def parse_target(text: str) -> Target:
    """A place that takes connections. A Unix socket's path may still be relative."""
    kind, colon, rest = text.partition(":")
    if colon and kind == "unix":
        name, abstract = unix_name(text, Code.BAD_TARGET)
        return UnixAbstractTarget(name) if abstract else UnixPathTarget(name)
    if text.startswith(("/", "./", "../", "@")):
        raise refusal(
            Code.BAD_TARGET, f'"{text}" names no kind of target', hint=f'write "unix:{text}"'
        )
    if colon and kind == "vsock":
        return _vsock(text, rest)
    if colon and kind == "srv":
        return _srv(text, rest)
    if colon and kind == "tcp" and ":" in rest:
        return _tcp(text, rest)
    return _tcp(text, text)


def _tcp(text: str, address: str) -> TcpTarget:
    host, _, port = address.rpartition(":")
    if _NUMBER.fullmatch(port) is None or not 0 < int(port) < 2**16 or not host:
        raise refusal(
            Code.BAD_TARGET,
            f'"{text}" is no target',
            why="a TCP target is a host and a port between 1 and 65535",
            hint=f"for example {EXAMPLES}",
        )
    return TcpTarget(_host(text, host, int(port)), int(port))


def _host(text: str, host: str, port: int) -> str:
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        if bracketed or ":" in host:
            raise refusal(
                Code.BAD_TARGET,
                f'"{host}" is no IPv6 address',
                hint=f'for example "tcp:[2001:db8::1]:{port}"',
            ) from None
        return _name(text, host)
    if bracketed != (address.version == 6):
        right = f"[{address}]" if address.version == 6 else str(address)
        raise refusal(Code.BAD_TARGET, f'"{text}" is ambiguous', hint=f'write "tcp:{right}:{port}"')
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise refusal(
            Code.BAD_TARGET,
            f'"{text}" has a zone',
            why="link-local addresses with a zone are not supported",
            hint='take an address without "%"',
        )
    return str(address)


def _name(text: str, host: str) -> str:
    """A name in its canonical form; a trailing dot says that no search domain is added."""
    try:
        return canonical_hostname(host.removesuffix(".")) + ("." if host.endswith(".") else "")
    except HostnameError as error:
        raise refusal(
            Code.BAD_TARGET,
            f'"{text}" is no target: {error.what}',
            why=error.why,
            hint=error.hint or f"for example {EXAMPLES}",
        ) from None


def _vsock(text: str, rest: str) -> VsockTarget:
    cid, _, port = rest.partition(":")
    numbers = [int(part) for part in (cid, port) if _NUMBER.fullmatch(part)]
    if len(numbers) != 2 or max(numbers) >= MAX_NUMBER:
        raise refusal(
            Code.BAD_TARGET,
            f'"{text}" is no target',
            why="a virtual machine's port is its context id and a number",
            hint='for example "vsock:3:8080"; the host of a virtual machine is 2',
        )
    return VsockTarget(*numbers)


def _srv(text: str, name: str) -> SrvTarget:
    match = _SERVICE.fullmatch(name)
    if match is None:
        raise refusal(
            Code.BAD_TARGET,
            f'"{text}" is no service record',
            why="its name is _SERVICE._tcp. and a domain (RFC 2782)",
            hint='for example "srv:_http._tcp.example.org"',
        )
    _name(text, match[1])
    return SrvTarget(name)
