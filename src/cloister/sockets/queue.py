"""What the kernel knows of Unix sockets (unix_diag, Linux 3.3): queues, peers, connections."""

import errno
import os
import socket

from cloister import unix_diag

File = tuple[int, int]
"""A file's device, as the kernel numbers it inside, and inode."""


def pending(listening: socket.socket) -> int:
    """The number of connections to a listening Unix socket that nobody has accepted yet.

    Asks the kernel by the socket's inode; does not block, takes no connection, and works
    whoever else holds the socket. Raises :class:`OSError`, with ``ENOENT`` for a socket of
    another network namespace.
    """
    found = _ask(listening, unix_diag.SHOW_QUEUE).get(unix_diag.QUEUE)
    if found is None:
        raise OSError(errno.EPROTO, "the kernel told no queue length")
    waiting, _ = unix_diag.QUEUE_LENGTHS.unpack_from(found)
    return int(waiting)


def peer(connected: socket.socket) -> int:
    """The inode of the socket at the other end of a connection; 0 while nobody has accepted
    it, and again once that end is closed. Raises :class:`OSError`."""
    found = _ask(connected, unix_diag.SHOW_PEER).get(unix_diag.PEER)
    return 0 if found is None else int(unix_diag.INODE.unpack_from(found)[0])


def bound_file(listening: socket.socket) -> File:
    """The file that a socket is bound to, as :func:`accepted` names it. Raises
    :class:`OSError`, with ``EPROTO`` for a socket without a path."""
    found = _ask(listening, unix_diag.SHOW_VFS).get(unix_diag.VFS)
    if found is None:
        raise OSError(errno.EPROTO, "the socket is bound to no path")
    inode, device = unix_diag.VFS_PLACE.unpack_from(found)
    return device, inode


def accepted() -> dict[File, set[int]]:
    """The inodes of all accepted connections, by the file that their listener is bound to.

    Looks at every Unix socket of this network namespace: about 0.4 s for 100,000. Raises
    :class:`OSError`.
    """
    found: dict[File, set[int]] = {}
    for answer in unix_diag.dump(1 << unix_diag.ESTABLISHED, unix_diag.SHOW_VFS):
        # Bound to a path and connected: an accepted end has its listener's. Without an inode
        # it waits in the queue still.
        file = answer.attributes.get(unix_diag.VFS)
        if file is not None and answer.inode:
            number, device = unix_diag.VFS_PLACE.unpack_from(file)
            found.setdefault((device, number), set()).add(answer.inode)
    return found


def _ask(known: socket.socket, show: int) -> dict[int, bytes]:
    """Attributes of one socket by their types."""
    return unix_diag.ask(os.fstat(known.fileno()).st_ino, show).attributes
