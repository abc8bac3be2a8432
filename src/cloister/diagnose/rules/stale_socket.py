"""Rules ``stale-socket`` and ``not-listening``."""

import errno
from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Kind, SocketType
from cloister.model.finding import Confidence, Finding

CODES = ("stale-socket", "not-listening")


def check(case: Case) -> Iterator[Finding]:
    """A socket's file that no process listens behind.

    What it does: connects, and where that is refused or cannot be tried asks the kernel
    whether a listening socket has this file.

    Why bad: the file stays when its server dies, and a next server that finds it fails with
    "Address already in use" unless it removes it.

    Example: ``connect() to unix:/run/app.sock failed (111: Connection refused)`` after a
    crash; ``AddrInUse`` when the service is started again.
    """
    end, socket = case.end, case.socket
    if end is None or end.kind is not Kind.SOCKET or case.path is None:
        return
    if socket is not None and (socket.listening or socket.type is SocketType.DATAGRAM):
        return
    if case.reach is not None and case.reach.error != errno.ECONNREFUSED:
        return
    confidence = Confidence.LIKELY if case.reach is None else Confidence.CERTAIN
    if socket is not None:
        yield _not_listening(case, confidence)
        return
    remove = f"rm {cures.quote(end.path)}"
    unit = case.unit
    yield Finding(
        code="stale-socket",
        seen=f"{end.path} is a socket, and no process listens behind it",
        why="its server has ended and left the file; a server that does not remove it first "
        "cannot bind the name again",
        cure=f"{remove} && systemctl restart {cures.quote(unit.name)}" if unit else remove,
        confidence=confidence,
        lasting=None if unit else "then start the server: it can make its socket now",
    )


def _not_listening(case: Case, confidence: Confidence) -> Finding:
    server = case.server
    return Finding(
        code="not-listening",
        seen=f"{server or 'a process'} has bound {case.path} and does not listen on it",
        why="connections are refused until it calls listen(2): it hangs before that, or it has "
        "bound the socket to send from it",
        cure=cures.restart(server, case.probes) if server else None,
        confidence=confidence,
    )
