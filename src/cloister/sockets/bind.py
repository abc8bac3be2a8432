"""Listening sockets."""

import socket

from cloister.model.listener import Address, SocketOptions


class BoundSocket:
    """A listening socket that this process bound and owns."""

    def __init__(self, listening: socket.socket, address: Address) -> None:
        self.socket = listening
        self.address = address
        """With the port that the kernel chose, where 0 was asked for."""

    def close(self) -> None:
        """Closes it and unlinks its path, if that is still its own inode. Idempotent."""
        self.socket.close()


def bind_listener(address: Address, options: SocketOptions) -> BoundSocket:
    """A non-blocking, close-on-exec socket that listens on ``address``."""
    raise NotImplementedError
