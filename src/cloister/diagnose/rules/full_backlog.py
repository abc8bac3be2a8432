"""Rule ``full-backlog``."""

import errno
from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Process
from cloister.model.finding import Confidence, Finding

CODES = ("full-backlog",)

_STOPPED = "T"
_SMALL = 128
"""A backlog below this is a server's choice that a burst fills."""


def check(case: Case) -> Iterator[Finding]:
    """The queue of connections that wait is full.

    What it does: asks the kernel how many wait and how many may, and in which state the
    process is that should accept them.

    Why bad: a Unix socket refuses when its queue is full, with "Resource temporarily
    unavailable", where TCP would have the client try again.

    Example: ``connect() to unix:/run/php.sock failed (11: Resource temporarily
    unavailable)`` with a backlog of 5, or with a server that hangs or is stopped.
    """
    attempt = case.reach or case.attempt
    socket = case.socket
    full = socket is not None and socket.listening and socket.waiting > socket.backlog
    if attempt is not None and attempt.error != errno.EAGAIN:
        return
    if attempt is None and not full:
        return
    server = case.server
    if server is not None and (limit := case.probes.open_files(server.pid)) and limit.reached():
        return  # the rule open-files: it cannot accept
    queue = f"{socket.waiting} wait, {socket.backlog} may" if socket else "its length is not shown"
    state = "is stopped" if server is not None and server.state == _STOPPED else "does not accept"
    yield Finding(
        code="full-backlog",
        seen=f"the queue of {case.target.place} is full ({queue}), and {server or 'its server'} "
        f"{state} (state {server.state if server else 'unknown'})",
        why="connect(2) to a Unix socket fails as long as the queue has no room",
        cure=_cure(case, server),
        confidence=Confidence.CERTAIN,
        lasting=_lasting(case, socket.backlog if socket else None),
    )


def _cure(case: Case, server: Process | None) -> str | None:
    if server is None:
        return None
    if server.state == _STOPPED:
        return f"kill -CONT {server.pid}"
    return cures.restart(server, case.probes)


def _lasting(case: Case, backlog: int | None) -> str | None:
    bound = case.probes.setting("net/core/somaxconn")
    if backlog is not None and bound is not None and backlog >= int(bound) and int(bound) < 512:
        return f"the system allows {bound} at most: sysctl -w net.core.somaxconn=4096"
    if backlog is not None and backlog < _SMALL:
        return (
            f"a backlog of {backlog} is small: Backlog= of a socket unit, --backlog of gunicorn "
            "and uvicorn, listen.backlog of php-fpm; Cloister's own is 4096"
        )
    return "find out why the server does not accept: its workers are busy, or wait for something"
