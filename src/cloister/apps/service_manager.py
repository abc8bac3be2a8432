"""What the supervisor tells its own supervisor: sd_notify(3)."""

import contextlib
import os
import socket
import time
from collections.abc import Mapping, Sequence

_PATIENCE = 1.0
"""Seconds for which a full queue of the service manager is waited for."""


class ServiceManager:
    """The way to a service manager, or to nobody. Owns one datagram socket.

    Best effort: to serve matters more than to have said so.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Reads ``NOTIFY_SOCKET``, ``WATCHDOG_USEC``, ``WATCHDOG_PID`` and ``FDSTORE``."""
        self._socket: socket.socket | None = None
        self.stores = 0
        """How many descriptors it keeps while the service restarts; 0 where it does not say,
        as before systemd 254."""
        self.watchdog: float | None = None
        """How often, in seconds, :meth:`alive` is expected: half the time after which the
        supervisor is given up (sd_watchdog_enabled(3))."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return
        if address.startswith("@"):
            address = "\0" + address[1:]
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            sender.settimeout(_PATIENCE)
            sender.connect(address)
        except OSError:
            sender.close()
            return
        self._socket = sender
        with contextlib.suppress(ValueError):
            self.stores = int(environment.get("FDSTORE", "0"))
        owner = environment.get("WATCHDOG_PID", str(os.getpid()))
        with contextlib.suppress(ValueError):
            microseconds = int(environment.get("WATCHDOG_USEC", "0"))
            if microseconds > 0 and int(owner) == os.getpid():
                self.watchdog = microseconds / 2_000_000

    def ready(self, status: str) -> None:
        """Everything had its first chance, or a reload is over."""
        self._say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A change begins; :meth:`ready` ends it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._say("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self, seconds: float, status: str) -> None:
        """It ends, and takes so many seconds at most, whatever the unit allows."""
        self._say("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}", f"STATUS={status}")

    def alive(self) -> None:
        """All is well."""
        self._say("WATCHDOG=1")

    def store(self, name: str, listening: socket.socket) -> None:
        """Have a listening socket kept while the service restarts, under this name, if it
        offers to: it comes back through ``LISTEN_FDS``."""
        if self.stores > 0:
            self._say("FDSTORE=1", f"FDNAME={name}", descriptors=[listening.fileno()])

    def forget(self, name: str) -> None:
        """Have what was stored under this name closed."""
        if self.stores > 0:
            self._say("FDSTOREREMOVE=1", f"FDNAME={name}")

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, *lines: str, descriptors: Sequence[int] = ()) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                socket.send_fds(self._socket, ["\n".join(lines).encode()], list(descriptors))
