"""Which Unix sockets of the file system somebody listens on, asked without connecting."""

import socket
import struct

_SOCK_DIAG_BY_FAMILY = 20
"""linux/sock_diag.h."""
_NETLINK_SOCK_DIAG = 4
"""linux/netlink.h, as the following."""
_NLM_F_REQUEST = 1
_NLM_F_DUMP = 0x300
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_UDIAG_SHOW_VFS = 2
"""linux/unix_diag.h, as the following."""
_UNIX_DIAG_VFS = 1
_LISTEN = 1 << 10
"""TCP_LISTEN (include/net/tcp_states.h), which unix sockets use too, as a set."""

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBHIIIII")
_MESSAGE = struct.Struct("=BBBBIII")
_ATTRIBUTE = struct.Struct("=HH")
_FILE = struct.Struct("=II")
"""struct unix_diag_vfs: inode and device of the socket's file."""

FileId = tuple[int, int]
"""The lower 32 bits of a file's inode, and its device as ``st_dev``'s major and minor in the
kernel's own form."""


def file_id(inode: int, major: int, minor: int) -> FileId:
    """Names a file as the kernel names it here."""
    return inode & 0xFFFFFFFF, (major << 20 | minor) & 0xFFFFFFFF


def listening_files() -> frozenset[FileId]:
    """The files of all listening Unix sockets of this network namespace.

    Asks the kernel once (unix_diag, Linux 3.3); needs no right. Raises :class:`OSError`.
    """
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, _LISTEN, 0, _UDIAG_SHOW_VFS, 0, 0)
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, flags, 1, 0)
    found: set[FileId] = set()
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as diagnosis:
        diagnosis.sendto(header + request, (0, 0))
        while _take(diagnosis.recv(1 << 16), found):
            pass
    return frozenset(found)


def _take(answer: bytes, found: set[FileId]) -> bool:
    """Adds what one packet says; whether more packets follow."""
    at = 0
    while at + _HEADER.size <= len(answer):
        length, kind, _, _, _ = _HEADER.unpack_from(answer, at)
        if kind == _NLMSG_DONE:
            return False
        if kind == _NLMSG_ERROR:
            (negative,) = struct.unpack_from("=i", answer, at + _HEADER.size)
            raise OSError(-negative, "the kernel does not say which sockets listen")
        position, end = at + _HEADER.size + _MESSAGE.size, at + length
        while position + _ATTRIBUTE.size <= end:
            size, attribute = _ATTRIBUTE.unpack_from(answer, position)
            if attribute == _UNIX_DIAG_VFS:
                found.add(_FILE.unpack_from(answer, position + _ATTRIBUTE.size))
            position += (size + 3) & ~3
        at += (length + 3) & ~3
    return True
