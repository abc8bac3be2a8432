"""How many connections wait in a listening socket's queue."""

import errno
import os
import socket
import struct

_SOCK_DIAG_BY_FAMILY = 20
"""linux/sock_diag.h."""
_NETLINK_SOCK_DIAG = 4
"""linux/netlink.h."""
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_UDIAG_SHOW_RQLEN = 0x10
"""linux/unix_diag.h."""
_UNIX_DIAG_RQLEN = 4

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port (netlink(7))."""
_REQUEST = struct.Struct("=BBHIIIII")
"""struct unix_diag_req: family, protocol, padding, states, inode, show, cookie (sock_diag(7))."""
_MESSAGE = struct.Struct("=BBBBIII")
"""struct unix_diag_msg: family, type, state, padding, inode, cookie."""
_ATTRIBUTE = struct.Struct("=HH")
"""struct rtattr: length, type."""
_LENGTHS = struct.Struct("=II")
"""struct unix_diag_rqlen. Of a listening socket: connections that wait, backlog."""

_NO_COOKIE = 0xFFFFFFFF


def pending(listening: socket.socket) -> int:
    """The number of connections to a listening Unix socket that nobody has accepted yet.

    Asks the kernel (unix_diag, Linux 3.3) by the socket's inode; does not block, takes no
    connection, and works whoever else holds the socket. Raises :class:`OSError`, with
    ``ENOENT`` for a socket of another network namespace.
    """
    inode = os.fstat(listening.fileno()).st_ino
    request = _REQUEST.pack(
        socket.AF_UNIX, 0, 0, 0, inode, _UDIAG_SHOW_RQLEN, _NO_COOKIE, _NO_COOKIE
    )
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as diagnosis:
        diagnosis.sendto(header + request, (0, 0))
        return _waiting(diagnosis.recv(4096))


def _waiting(answer: bytes) -> int:
    length, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        (negative,) = struct.unpack_from("=i", answer, _HEADER.size)
        raise OSError(-negative, os.strerror(-negative))
    position = _HEADER.size + _MESSAGE.size
    while position + _ATTRIBUTE.size <= length:
        size, attribute = _ATTRIBUTE.unpack_from(answer, position)
        if attribute == _UNIX_DIAG_RQLEN:
            waiting, _ = _LENGTHS.unpack_from(answer, position + _ATTRIBUTE.size)
            return int(waiting)
        # Attributes begin at multiples of four bytes (rtnetlink(7)).
        position += max(_ATTRIBUTE.size, (size + 3) & ~3)
    raise OSError(errno.EPROTO, "the kernel told no queue length")
