"""Reads PROXY headers, from haproxy's doc/proxy-protocol.txt and from nothing of ours."""

import ipaddress
import re
import struct
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ALPN, AUTHORITY = 0x01, 0x02

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says, and what follows it."""

    version: int
    family: str
    """``TCP4``, ``TCP6`` or ``UNKNOWN``; for version 2 also ``LOCAL``."""
    client: Endpoint | None
    server: Endpoint | None
    values: dict[int, bytes]
    rest: bytes


def read_header(data: bytes) -> ProxyHeader:
    """The header that ``data`` begins with. Raises AssertionError where it is malformed."""
    return _read_v2(data) if data.startswith(SIGNATURE) else _read_v1(data)


def _read_v1(data: bytes) -> ProxyHeader:
    line, separator, rest = data.partition(b"\r\n")
    assert separator, f"no line: {data[:120]!r}"
    assert len(line) <= 105, "section 2.1: at most 107 bytes with the line's end"
    words = line.decode("ascii").split(" ")
    assert words[0] == "PROXY"
    if words[1] == "UNKNOWN":
        return ProxyHeader(1, "UNKNOWN", None, None, {}, rest)
    _, family, client, server, client_port, server_port = words
    version = {"TCP4": 4, "TCP6": 6}[family]
    for host in (client, server):
        assert ipaddress.ip_address(host).version == version
    for port in (client_port, server_port):
        assert re.fullmatch(r"0|[1-9][0-9]{0,4}", port), f"no canonical port: {port!r}"
    return ProxyHeader(1, family, (client, int(client_port)), (server, int(server_port)), {}, rest)


def _read_v2(data: bytes) -> ProxyHeader:
    command, family, length = struct.unpack_from(">BBH", data, 12)
    assert command >> 4 == 2
    content, rest = data[16 : 16 + length], data[16 + length :]
    assert len(content) == length
    if command & 15 == 0:
        return ProxyHeader(2, "LOCAL", None, None, {}, rest)
    assert command & 15 == 1
    if family == 0:
        return ProxyHeader(2, "UNKNOWN", None, None, _values(content), rest)
    name, form = {0x11: ("TCP4", ">4s4sHH"), 0x21: ("TCP6", ">16s16sHH")}[family]
    client, server, client_port, server_port = struct.unpack_from(form, content)
    return ProxyHeader(
        2,
        name,
        (str(ipaddress.ip_address(client)), client_port),
        (str(ipaddress.ip_address(server)), server_port),
        _values(content[struct.calcsize(form) :]),
        rest,
    )


def _values(content: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while content:
        kind, length = struct.unpack_from(">BH", content)
        assert kind not in found, f"value {kind:#x} stands twice"
        assert len(content) >= 3 + length
        found[kind] = content[3 : 3 + length]
        content = content[3 + length :]
    return found
