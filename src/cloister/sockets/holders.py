"""Which process listens on an address already: for error messages."""

import ipaddress
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cloister.model.listener import TcpAddress

LISTEN = "0A"
"""TCPLISTEN (include/net/tcp_states.h) as /proc/net/tcp writes it."""


def describe_process(pid: int) -> str:
    """``process 812 (nginx)``, or without the name where that cannot be read."""
    with suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace")
        return f"process {pid} ({name.strip()})"
    return f"process {pid}"


def tcp_holder(address: TcpAddress) -> str | None:
    """Who listens on ``address``; ``None`` where that cannot be seen.

    Reads proc_pid_net(5) and, of every process that this one may look into, the
    descriptors. Takes milliseconds on a busy host.
    """
    inodes = set(_listening(address))
    if not inodes:
        return None
    names = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        with suppress(OSError):  # gone, or not ours to look into
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor) in names:  # noqa: PTH115 - no Path wanted
                        return describe_process(int(process.name))
    return "a process that this user may not look into"


def _listening(address: TcpAddress) -> Iterator[str]:
    """The inodes of listening sockets whose address overlaps ``address``."""
    wanted = ipaddress.ip_address(address.host.partition("%")[0])
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            # sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
            columns = line.split()
            local, port = columns[1].split(":")
            if columns[3] != LISTEN or int(port, 16) != address.port:
                continue
            if _overlap(wanted, parse_address(local)):
                yield columns[9]


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as /proc/net/tcp writes it: each 32-bit word in the machine's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    found = ipaddress.ip_address(packed)
    # ::ffff:a.b.c.d: an IPv6 socket that serves IPv4.
    return getattr(found, "ipv4_mapped", None) or found


def _overlap(
    wanted: ipaddress.IPv4Address | ipaddress.IPv6Address,
    found: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> bool:
    """Whether the kernel lets only one of them listen. ``[::]`` may serve IPv4 as well."""
    if found.is_unspecified and (found.version == 6 or wanted.version == 4):
        return True
    return wanted == found or (wanted.is_unspecified and wanted.version == found.version)
