"""The system's journal: its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

import os
import socket
import stat
import struct
from collections.abc import Mapping

from cloister.apps.logs import Level, LogEvent

SOCKET = "/run/systemd/journal/socket"

_PRIORITIES = {Level.DEBUG: 7, Level.INFO: 6, Level.WARNING: 4, Level.ERROR: 3}
"""syslog(3)."""
_PATIENCE = 2.0
"""Seconds for which a journal that is busy is waited for."""


def is_there(path: str = SOCKET) -> bool:
    """Whether a journal takes messages on this machine."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116 - a text
    except OSError:
        return False


def is_output(environment: Mapping[str, str], descriptor: int = 1) -> bool:
    """Whether this process's output goes to the journal (``JOURNAL_STREAM``, systemd.exec(5))."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Journal:
    """Keeps the events of one application. Owns a datagram socket."""

    def __init__(self, *, alone: bool, path: str = SOCKET) -> None:
        self.alone = alone
        self._path = path
        self._sender: socket.socket | None = None

    def keep(self, event: LogEvent) -> None:
        """Send an event; waits a little for a journal that is busy. Raises :class:`OSError`."""
        if self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._sender.settimeout(_PATIENCE)
        try:
            self._sender.sendto(message(event), self._path)
        except OSError:
            # A journal that was restarted has another socket at the same path; sendto(2)
            # finds it. What remains is a message too long, or no journal.
            self.close()
            raise

    def close(self) -> None:
        """May be called twice."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None


def message(event: LogEvent) -> bytes:
    """One datagram."""
    fields = {
        "MESSAGE": "\n".join((event.message, *(f"    {detail}" for detail in event.details))),
        "PRIORITY": str(_PRIORITIES[event.level]),
        "SYSLOG_IDENTIFIER": event.source,
        "CLOISTER_APP": event.source,
    }
    for name, value in event.fields.items():
        if value is not None:
            # Upper-case letters, digits and underscores; ours begin so that none is forged.
            fields[f"CLOISTER_{name.upper().replace('-', '_')}"] = str(value)
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    content = value.encode("utf-8", "replace")
    if b"\n" not in content:
        return b"%s=%s\n" % (name.encode(), content)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(content)), content)
