"""Asks the kernel about Unix sockets: the netlink family of sock_diag(7), Linux 3.3."""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

SHOW_NAME, SHOW_VFS, SHOW_PEER, SHOW_QUEUE = 0x01, 0x02, 0x04, 0x10
"""linux/unix_diag.h, UDIAG_SHOW_…: what an answer holds."""
NAME, VFS, PEER, QUEUE = 0, 1, 2, 4
"""UNIX_DIAG_…: the attributes that these are answered by."""
ESTABLISHED, LISTEN = 1, 10
"""TCP_ESTABLISHED and TCP_LISTEN (include/net/tcp_states.h), which Unix sockets use as well."""
ANY_STATE = 0xFFFFFFFF

QUEUE_LENGTHS = struct.Struct("=II")
"""struct unix_diag_rqlen. Of a listening socket: connections that wait, backlog."""
INODE = struct.Struct("=I")
"""Of a peer."""
VFS_PLACE = struct.Struct("=II")
"""struct unix_diag_vfs: inode number, its lower 32 bits, and the kernel's own device number."""

_SOCK_DIAG_BY_FAMILY = 20
"""linux/sock_diag.h."""
_NETLINK_SOCK_DIAG = 4
"""linux/netlink.h, as all that follows."""
_NLM_F_REQUEST = 0x001
_NLM_F_DUMP = 0x300
_NLMSG_ERROR = 2
_NLMSG_DONE = 3

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port (netlink(7))."""
_REQUEST = struct.Struct("=BBHIIIII")
"""struct unix_diag_req: family, protocol, padding, states, inode, show, cookie (sock_diag(7))."""
_MESSAGE = struct.Struct("=BBBBIII")
"""struct unix_diag_msg: family, type, state, padding, inode, cookie."""
_ATTRIBUTE = struct.Struct("=HH")
"""struct rtattr: length, type."""

_NO_COOKIE = 0xFFFFFFFF
_ANSWER = 256 * 1024
"""Bytes read at once: a dump comes in messages of at most 32 KiB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One socket."""

    type: int
    """As in socket(2)."""
    state: int
    inode: int
    attributes: dict[int, bytes]


def ask(inode: int, show: int) -> Answer:
    """One socket of this network namespace, by the inode that ``/proc/PID/fd`` shows.

    Does not block. Raises :class:`OSError`, ``ENOENT`` for one that is not there.
    """
    for answer in _exchange(inode, 0, show, 0):
        return answer
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def dump(states: int, show: int) -> tuple[Answer, ...]:
    """Every Unix socket of this network namespace in one of ``states``, a bit each.

    The kernel makes a dump in parts, and goes on in a bucket of its table by counting from the
    bucket's beginning (``unix_diag_dump``, net/unix/diag.c): where a socket before that place
    was closed meanwhile, the next one is left out, without a word. While sockets come and go
    that was measured once in 2,500 dumps. So it is asked twice, and what the second one lacks
    counts unless a third one lacks it as well: that has been closed. A socket that nobody has
    opened yet has the inode 0, and such are taken from the second as they are.

    Does not block. Raises :class:`OSError`.
    """
    former = {answer.inode: answer for answer in _exchange(0, states, show, _NLM_F_DUMP)}
    latter = tuple(_exchange(0, states, show, _NLM_F_DUMP))
    missing = former.keys() - {answer.inode for answer in latter}
    if not missing:
        return latter
    last = _exchange(0, states, show, _NLM_F_DUMP)
    return (*latter, *(answer for answer in last if answer.inode in missing))


def _exchange(inode: int, states: int, show: int, flags: int) -> Iterator[Answer]:
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, states, inode, show, _NO_COOKIE, _NO_COOKIE)
    length = _HEADER.size + len(request)
    header = _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | flags, 1, 0)
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as diagnosis:
        diagnosis.sendto(header + request, (0, 0))
        while True:
            received = diagnosis.recv(_ANSWER)
            position = 0
            while position + _HEADER.size <= len(received):
                length, kind, _, _, _ = _HEADER.unpack_from(received, position)
                body = received[position + _HEADER.size : position + length]
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    (negative,) = struct.unpack_from("=i", body)
                    raise OSError(-negative, os.strerror(-negative))
                yield _answer(body)
                position += _aligned(length)
            if not flags & _NLM_F_DUMP:
                return


def _answer(body: bytes) -> Answer:
    _, kind, state, _, inode, _, _ = _MESSAGE.unpack_from(body)
    attributes = {}
    position = _MESSAGE.size
    while position + _ATTRIBUTE.size <= len(body):
        size, attribute = _ATTRIBUTE.unpack_from(body, position)
        attributes[attribute] = body[position + _ATTRIBUTE.size : position + size]
        position += max(_ATTRIBUTE.size, _aligned(size))
    return Answer(kind, state, inode, attributes)


def _aligned(size: int) -> int:
    """Messages and attributes begin at multiples of four bytes (rtnetlink(7))."""
    return (size + 3) & ~3
