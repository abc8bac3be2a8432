"""How many connections wait in a listening socket's queue."""

import socket


def pending(listening: socket.socket) -> int:
    """The number of connections that nobody has accepted yet."""
    raise NotImplementedError
