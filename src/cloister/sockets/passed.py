"""Listening sockets that whoever started this process passes to it: sd_listen_fds(3)."""

import os
import socket
from collections.abc import Mapping

from cloister.model.listener import Address, TcpAddress, VsockAddress

FIRST = 3
"""The first descriptor of ``LISTEN_FDS``."""


class PassedSockets:
    """Those of a socket unit, and those that a service manager kept for us over a restart.

    Owns them until :meth:`take` gives one away.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Takes the descriptors of ``LISTEN_FDS`` where they are meant for this process; call
        it once, before anything else opens descriptors. What is no listening stream socket
        is closed.
        """
        self._left: list[tuple[str, socket.socket]] = []
        if environment.get("LISTEN_PID") != str(os.getpid()):
            return
        count = environment.get("LISTEN_FDS", "")
        names = environment.get("LISTEN_FDNAMES", "").split(":")
        for number in range(int(count) if count.isdecimal() else 0):
            name = names[number] if number < len(names) else ""
            try:
                passed = socket.socket(fileno=FIRST + number)
            except OSError:
                continue
            os.set_inheritable(passed.fileno(), False)
            if _listens(passed):
                self._left.append((name, passed))
            else:
                passed.close()

    def take(self, address: Address) -> socket.socket | None:
        """The one that is bound to ``address``, non-blocking; the caller's from now on."""
        for place, (_, passed) in enumerate(self._left):
            if _bound_to(passed, address):
                del self._left[place]
                passed.setblocking(False)
                return passed
        return None

    def close(self) -> tuple[str, ...]:
        """Closes those that nobody took; their names."""
        names = tuple(name for name, _ in self._left)
        while self._left:
            self._left.pop()[1].close()
        return names


def _listens(passed: socket.socket) -> bool:
    return passed.type == socket.SOCK_STREAM and bool(
        passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )


def _bound_to(passed: socket.socket, address: Address) -> bool:
    """Paths never match: their socket would have to be the one that the name leads to."""
    bound = passed.getsockname()
    if isinstance(address, TcpAddress):
        ip = passed.family in (socket.AF_INET, socket.AF_INET6)
        return ip and address.port != 0 and tuple(bound[:2]) == (address.host, address.port)
    if isinstance(address, VsockAddress):
        cid = socket.VMADDR_CID_ANY if address.cid is None else address.cid
        return passed.family == socket.AF_VSOCK and bound == (cid, address.port)
    unix = passed.family == socket.AF_UNIX
    return unix and address.abstract and bound == b"\0" + os.fsencode(address.path)
