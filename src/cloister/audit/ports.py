"""Who listens on which TCP port, in every network of this machine (proc_pid_net(5))."""

import os
import socket
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

from cloister.audit.facts import Listening, Process

_LISTEN = "0A"
"""TCP_LISTEN in ``/proc/net/tcp``."""


def listening(processes: Iterable[Process]) -> dict[int, tuple[Listening, ...]]:
    """By network namespace. Looks at every descriptor that this process may see."""
    representatives: dict[int, int] = {}
    members: dict[int, list[int]] = defaultdict(list)
    for process in processes:
        if process.network is not None:
            representatives.setdefault(process.network, process.pid)
            members[process.network].append(process.pid)
    found = {}
    for network, pid in representatives.items():
        sockets = dict(_sockets(pid))
        if not sockets:
            continue
        holders = _holders(members[network], sockets)
        found[network] = tuple(
            Listening(address, port, frozenset(holders[inode]))
            for inode, (address, port) in sockets.items()
        )
    return found


def _sockets(pid: int) -> Iterable[tuple[str, tuple[str, int]]]:
    """Inodes, as text, with their addresses and ports."""
    for name in ("tcp", "tcp6"):
        with (
            suppress(OSError),
            open(f"/proc/{pid}/net/{name}", encoding="ascii") as file,  # noqa: PTH123
        ):
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    yield fields[9], _address(fields[1])


def _address(text: str) -> tuple[str, int]:
    """From ``0100007F:1F90``: words of 32 bits in the machine's order."""
    host, port = text.split(":")
    words = bytes.fromhex(host)
    packed = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)


def _holders(pids: Iterable[int], sockets: Iterable[str]) -> dict[str, set[int]]:
    wanted = {f"socket:[{inode}]": inode for inode in sockets}
    found: dict[str, set[int]] = defaultdict(set)
    for pid in pids:
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
                with suppress(OSError):
                    inode = wanted.get(os.readlink(f"/proc/{pid}/fd/{descriptor}"))  # noqa: PTH115
                    if inode is not None:
                        found[inode].add(pid)
    return found
