"""Who is at the other end of a Unix socket."""

import socket
import struct
from dataclasses import dataclass

_UCRED = struct.Struct("=iII")
"""struct ucred (unix(7))."""

_SO_PEERGROUPS = 59
"""asm-generic/socket.h, Linux 4.13; Python does not name it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer as the kernel knows it from the time of connect(2), or of listen(2)."""

    pid: int
    """0 when the process is outside this pid namespace."""
    uid: int
    gid: int


def peer(connected: socket.socket) -> Peer:
    """``SO_PEERCRED`` of a connected Unix stream or packet socket."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(raw))


def peer_groups(connected: socket.socket) -> tuple[int, ...]:
    """``SO_PEERGROUPS``: the peer's supplementary groups, also from that time.

    Raises :class:`OSError` (``ERANGE``) for a peer with more than 256 groups, which is as
    much as Python's getsockopt takes.
    """
    raw = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    return tuple(number for (number,) in struct.iter_unpack("=I", raw))
