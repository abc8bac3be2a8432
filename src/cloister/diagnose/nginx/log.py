"""What nginx's error log says about an upstream that it could not reach."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cloister.diagnose.facts import Place, TcpPlace, UnixPlace
from cloister.diagnose.target import Speech

_LEVEL = re.compile(r"\[(?:emerg|alert|crit|error|warn)\] (?P<pid>\d+)#\d+:")
_CONNECT = re.compile(r"connect\(\) to (?P<address>unix:.+?|\S+) failed \((?P<errno>\d+): ")
_UPSTREAM = re.compile(r'upstream: "(?:(?P<scheme>[a-z]+)://)?(?P<address>[^"]+)"')
_TOO_LONG = re.compile(r'too long path in the unix domain socket.*? "(?P<address>unix:/[^"]+)"')
_NOT_FOUND = re.compile(r'host not found in upstream "(?P<host>[^":]+)(?::(?P<port>\d+))?"')
_REFUSED = re.compile(
    r"\[emerg\] .*(?:invalid URL prefix|invalid host|no host|invalid port|too long path|"
    r"host not found).* in (?P<file>/.+):(?P<line>\d+)$"
)
"""What nginx says of its configuration, at a start or by ``nginx -t``."""
_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^/:]+):(?P<port>\d+)")


@dataclass(frozen=True, slots=True)
class Complaint:
    """One failure, as far as a line tells."""

    place: Place | None
    """``None`` where only the configuration's line is named."""
    pid: int | None
    """The worker that wrote it."""
    errno: int | None
    speech: Speech | None
    line: tuple[str, int] | None = None
    """The file and line of the configuration that it is about."""


def parse(line: str) -> Complaint | None:
    """One line; ``None`` where it does not speak of an upstream."""
    level = _LEVEL.search(line)
    pid = int(level["pid"]) if level else None
    upstream = _UPSTREAM.search(line)
    speech = _speech(upstream["scheme"]) if upstream else None
    connect = _CONNECT.search(line)
    if connect is not None:
        address = connect["address"]
        place = _place(address)
        if place is not None:
            return Complaint(place, pid, int(connect["errno"]), speech)
    if refused := _REFUSED.search(line.rstrip()):
        where = refused["file"], int(refused["line"])
        return Complaint(_refused_place(line), None, None, None, where)
    if upstream is not None:
        place = _place(_without_uri(upstream["address"]))
        if place is not None:
            failed = re.search(r"\((\d+): ", line)
            return Complaint(place, pid, int(failed[1]) if failed else None, speech)
    return None


def complaints(text: str) -> Iterator[Complaint]:
    """Of many lines: the newest for each upstream, the newest first."""
    seen: set[object] = set()
    for line in reversed(text.splitlines()):
        found = parse(line)
        if found is not None and (found.place, found.line) not in seen:
            seen.add((found.place, found.line))
            yield found


def _refused_place(line: str) -> Place | None:
    if too_long := _TOO_LONG.search(line):
        return _place(_without_uri(too_long["address"]))
    if unknown := _NOT_FOUND.search(line):
        return TcpPlace(unknown["host"], int(unknown["port"] or 80))
    return None


def _speech(scheme: str | None) -> Speech:
    return {"http": Speech.HTTP, "https": Speech.TLS}.get(scheme or "", Speech.OTHER)


def _without_uri(address: str) -> str:
    """nginx writes a Unix upstream as ``unix:PATH:URI``: the colon is no part of the path."""
    if address.startswith("unix:"):
        path, colon, _ = address[5:].partition(":/")
        return f"unix:{path}" if colon else address
    return address.partition("/")[0]


def _place(address: str) -> Place | None:
    if address.startswith("unix:"):
        return UnixPlace(address[5:])
    match = _PORT.match(address)
    return TcpPlace(match["host"].strip("[]"), int(match["port"])) if match else None
