"""Texts that stand for something: durations, sizes, modes, id ranges, addresses.

Each parser takes the text as written and returns a value, or raises what
``problems.refusal`` makes. No I/O.
"""

import ipaddress
import re
from collections.abc import Callable

from cloister.config.problems import Code, refusal
from cloister.model.id_map import LARGEST_ID
from cloister.model.isolation import IdRange
from cloister.model.listener import (
    UNIX_NAME_MAX,
    Address,
    TcpAddress,
    UnixAddress,
    VsockAddress,
)

ADDRESS_EXAMPLES = '"0.0.0.0:443", "[::]:443", "*:443", "unix:/run/example.sock" or "unix:@example"'
SYSTEM_IDS = 1000
"""Debian policy 9.2.2: 0 to 99 belong to the distribution, 100 to 999 to system services."""
NOBODY = 65534
"""The kernel's overflow id: whatever has no id of its own in a namespace looks like this."""

LARGEST_PROCESSOR = 8191
"""NR_CPUS is at most 8192 (Linux, arch/x86/Kconfig)."""

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 24 * 3600.0
_SIZE = re.compile(r"([0-9]{1,15})([KMGT])", re.ASCII)
_FACTOR = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_PROCESSORS = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", re.ASCII)
_MODE = re.compile(r"[0-7]{3,4}", re.ASCII)
_ID_RANGE = re.compile(r"([0-9]{1,10})-([0-9]{1,10})", re.ASCII)
_VSOCK = re.compile(r"vsock:(?:any|([0-9]{1,10})):([0-9]{1,10})", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds, more than 0 and at most a day."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise refusal(
            Code.BAD_DURATION,
            f'"{text}" is no duration',
            hint='write a number and its unit (ms, s, m or h), for example "500ms", "10s" or "5m"',
        )
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not 0 < seconds <= _LONGEST:
        raise refusal(
            Code.BAD_DURATION,
            f'"{text}" is out of range',
            hint='take more than 0 and at most "24h"',
        )
    return seconds


def parse_duration_or_none(text: str) -> float:
    """As :func:`parse_duration`, or 0 for "no bound"."""
    match = _DURATION.fullmatch(text)
    return 0.0 if match is not None and float(match[1]) == 0 else parse_duration(text)


def parse_size(text: str) -> int:
    """Bytes, at least one page."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise refusal(
            Code.BAD_SIZE,
            f'"{text}" is no size',
            hint="write a number and its unit (K, M, G or T, each 1024 times the one before), "
            'for example "64M" or "1G"',
        )
    size = int(match[1]) * _FACTOR[match[2]]
    if not 4096 <= size < 2**63:
        raise refusal(
            Code.BAD_SIZE, f'"{text}" is out of range', hint='take "4K" or more, for example "64M"'
        )
    return size


def parse_size_or_none(text: str) -> int:
    """As :func:`parse_size`, or 0 for ``0``."""
    return 0 if text == "0" else parse_size(text)


def parse_processors(text: str) -> tuple[int, ...]:
    """Numbers and ranges, ``0-3,6``, ascending and each once."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PROCESSORS.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last > LARGEST_PROCESSOR:
            raise refusal(
                Code.BAD_PROCESSORS,
                f'"{text}" is no list of processors',
                hint='write numbers and ranges, for example "0-3,6"',
            )
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def mode_parser(largest: int) -> Callable[[object], object]:
    """A parser of permission bits up to ``largest``; what is no text passes unless a number."""

    def parse(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            raise refusal(
                Code.BAD_MODE,
                f"the number {value} is no mode",
                why="permission bits are octal, and a bare number would be read as decimal: "
                "660 is 0o1224",
                hint='write the octal digits as text, for example "0660"',
            )
        if not isinstance(value, str):
            return value
        if _MODE.fullmatch(value) is None:
            raise refusal(
                Code.BAD_MODE,
                f'"{value}" is no mode',
                hint='write three or four octal digits as text, for example "0660"',
            )
        mode = int(value, 8)
        if mode & ~largest:
            raise refusal(
                Code.BAD_MODE,
                f'"{value}" has bits that mean nothing here',
                why=f'the most that counts is "{largest:04o}"',
                hint='for example "0660"',
            )
        return mode

    return parse


def parse_id_range(text: str) -> IdRange:
    """``FIRST-LAST``, both included."""
    match = _ID_RANGE.fullmatch(text)
    if match is None:
        raise refusal(
            Code.BAD_ID_RANGE,
            f'"{text}" is no range of ids',
            hint='write the first and the last id, for example "500000-565535"',
        )
    first, last = int(match[1]), int(match[2])
    hint = 'take a range that nobody uses, for example "500000-565535"'
    if first > last:
        raise refusal(Code.BAD_ID_RANGE, f'"{text}" ends before it begins', hint=hint)
    if last > LARGEST_ID:
        raise refusal(
            Code.BAD_ID_RANGE, f'"{text}" goes beyond the largest id, {LARGEST_ID}', hint=hint
        )
    if first < SYSTEM_IDS:
        raise refusal(
            Code.BAD_ID_RANGE,
            f'"{text}" contains ids below {SYSTEM_IDS}',
            why="0 is root and the others belong to the system's own services; an application "
            "with such an id could read and signal what is theirs",
            hint=hint,
        )
    if first <= NOBODY <= last:
        raise refusal(
            Code.BAD_ID_RANGE,
            f'"{text}" contains {NOBODY}',
            why="that is nobody, whom unrelated programs share",
            hint=hint,
        )
    return IdRange(first, last)


def parse_address(text: str) -> tuple[Address, ...]:
    """One address, or both wildcards for ``*:PORT``. Unix paths may still be relative."""
    if text.startswith("unix:"):
        path, abstract = unix_name(text, Code.BAD_ADDRESS)
        return (UnixAddress(path, abstract=abstract),)
    if text.startswith("vsock:"):
        return (_vsock_address(text),)
    if text.startswith(("/", "./", "../", "@")):
        raise refusal(
            Code.BAD_ADDRESS, f'"{text}" names no kind of address', hint=f'write "unix:{text}"'
        )
    host, colon, port_text = text.rpartition(":")
    if not colon and _PORT.fullmatch(text):
        host, port_text = "", text
    if _PORT.fullmatch(port_text) is None or int(port_text) > 65535:
        raise refusal(
            Code.BAD_ADDRESS,
            f'"{text}" is no address with a port between 0 and 65535',
            hint=f"for example {ADDRESS_EXAMPLES}",
        )
    port = int(port_text)
    if host == "*":
        return (TcpAddress("0.0.0.0", port), TcpAddress("::", port))
    return (TcpAddress(_ip_address(text, host, port), port),)


def _vsock_address(text: str) -> VsockAddress:
    match = _VSOCK.fullmatch(text)
    if match is None or int(match[2]) >= 2**32 - 1 or int(match[1] or 0) >= 2**32 - 1:
        raise refusal(
            Code.BAD_ADDRESS,
            f'"{text}" is no address for virtual machines',
            hint='for example "vsock:any:443", or "vsock:2:443" on the host of virtual machines',
        )
    return VsockAddress(None if match[1] is None else int(match[1]), int(match[2]))


def _ip_address(text: str, host: str, port: int) -> str:
    if host == "":
        raise refusal(
            Code.BAD_ADDRESS,
            f'"{text}" does not say on which address',
            hint=f'write "*:{port}" for every address, or "127.0.0.1:{port}" for this machine only',
        )
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise refusal(
            Code.BAD_ADDRESS,
            f'"{host}" is no IP address',
            why="a name may stand for many addresses, and for others tomorrow",
            hint=f'write the address itself, for example "127.0.0.1:{port}" or "[::1]:{port}"',
        ) from None
    if bracketed != (address.version == 6):
        right = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        raise refusal(
            Code.BAD_ADDRESS,
            f'"{text}" is ambiguous'
            if address.version == 6
            else f'"{text}" has brackets around an IPv4 address',
            hint=f'write "{right}"',
        )
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            raise refusal(
                Code.BAD_ADDRESS,
                f'"{text}" is an IPv4 address in disguise',
                why="IPv6 listeners take IPv6 only, so that they and IPv4 ones can share a port",
                hint=f'write "{address.ipv4_mapped}:{port}"',
            )
        if address.scope_id is not None:
            raise refusal(
                Code.BAD_ADDRESS,
                f'"{text}" has a zone',
                why="link-local addresses with a zone are not supported",
                hint=f'listen on "[::]:{port}" or on an address without "%"',
            )
    return str(address)


def parse_proxy_peer(text: str) -> str:
    """``ADDRESS/PREFIX`` or ``ADDRESS`` in canonical form, ``unix``, or ``unix:UID``."""
    if text == "unix":
        return text
    if text.startswith("unix:"):
        uid = text.removeprefix("unix:")
        if not (uid.isascii() and uid.isdigit()) or int(uid) > LARGEST_ID:
            raise refusal(
                Code.BAD_PROXY_PEER,
                f'"{text}" names no user id',
                hint='write for example "unix:33", or "unix" for every process that may connect',
            )
        return f"unix:{int(uid)}"
    example = 'for example "10.0.0.0/8", "2001:db8::7", "unix" or "unix:33"'
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise refusal(
            Code.BAD_PROXY_PEER, f'"{text}" is neither a network nor a user', hint=example
        ) from None
    _, slash, prefix = text.partition("/")
    if slash and not (prefix.isascii() and prefix.isdigit()):
        hint = f'write "{network}"'
        raise refusal(Code.BAD_PROXY_PEER, f'"{text}" has no prefix length', hint=hint)
    base = ipaddress.ip_address(text.partition("/")[0])
    if isinstance(base, ipaddress.IPv6Address):
        if base.scope_id is not None:
            raise refusal(Code.BAD_PROXY_PEER, f'"{text}" has a zone', hint=example)
        if base.ipv4_mapped is not None:
            raise refusal(
                Code.BAD_PROXY_PEER,
                f'"{text}" is an IPv4 address in disguise',
                why="clients with one are compared as IPv4",
                hint="write it as IPv4",
            )
    if base != network.network_address:
        raise refusal(
            Code.BAD_PROXY_PEER,
            f'"{text}" has bits behind its prefix',
            why="either the address or the prefix length is a mistake",
            hint=f'write "{network}"',
        )
    return str(network)


def unix_name(text: str, code: Code) -> tuple[str, bool]:
    """The path or abstract name after ``unix:``, and whether it is abstract."""
    name = text.removeprefix("unix:")
    abstract = name.startswith("@")
    if name.startswith("//"):
        raise refusal(
            code,
            f'"{text}" begins with more than one slash',
            hint=f'write "unix:/{name.lstrip("/")}"',
        )
    if abstract:
        name = name[1:]
        size = len(name.encode(errors="surrogatepass"))
        if size > UNIX_NAME_MAX:
            raise refusal(
                code,
                f'"{text}" is {size} bytes long after its "@"',
                why=f"the kernel keeps at most {UNIX_NAME_MAX} bytes of an abstract name",
                hint="take a shorter name, or a path, which may be of any length",
            )
    if not name or name.endswith("/") or "\0" in name:
        raise refusal(
            code,
            f'"{text}" names no socket',
            hint='for example "unix:/run/example.sock" or "unix:@example"',
        )
    return name, abstract


def format_duration(seconds: float) -> str:
    """As ``parse_duration_or_none`` reads it, in TOML."""
    if seconds == 0:
        return '"0s"'
    for unit in ("h", "m", "s"):
        count = seconds / _SECONDS[unit]
        if count >= 1 and count.is_integer():
            return f'"{count:.0f}{unit}"'
    return f'"{seconds * 1000:.0f}ms"'


def format_size(size: int) -> str:
    """As ``parse_size`` reads it, in TOML; ``size`` is a multiple of 1024."""
    for unit in ("T", "G", "M"):
        if size % _FACTOR[unit] == 0:
            return f'"{size // _FACTOR[unit]}{unit}"'
    return f'"{size // 1024}K"'
