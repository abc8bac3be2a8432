"""Rule ``other-network``."""

import errno
from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Process, UnixPlace
from cloister.model.finding import Confidence, Finding

CODES = ("other-network",)


def check(case: Case) -> Iterator[Finding]:
    """Asker and server are in different network namespaces.

    What it does: for ports and abstract names, looks in which networks something listens
    there when nothing does in the asker's.

    Why bad: ports, loopback's too, and abstract Unix sockets belong to a network
    namespace. Unix sockets with a path do not, and work across.

    Example: PrivateNetwork=yes of a service, and ``proxy_pass http://127.0.0.1:8000``.
    """
    attempt = case.attempt
    if isinstance(case.target.place, UnixPlace) or attempt is None:
        return
    if attempt.error not in (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EADDRNOTAVAIL):
        return
    own, process = case.probes.own, case.asker.process
    if process is not None and _elsewhere(process, own):
        if case.reach is not None and case.reach.error == 0:
            yield _finding(case, process, "the one who connects")
        return
    for other in case.probes.listening_elsewhere(case.target.place):
        yield _finding(case, other, "what listens there")
        return


def _elsewhere(one: Process, other: Process) -> bool:
    return one.namespaces.network not in (None, other.namespaces.network)


def _finding(case: Case, odd: Process, role: str) -> Finding:
    return Finding(
        code="other-network",
        seen=f"{role}, {odd}, is in network namespace {odd.namespaces.network}; nothing listens "
        f"on {case.target.place} in that of the other side",
        why="ports and abstract sockets exist in one network namespace only; a Unix socket with "
        "a path is reached across",
        cure=cures.drop_in(odd.unit, "Service", "PrivateNetwork=no")
        if odd.unit
        else cures.restart(odd, case.probes),
        confidence=Confidence.CERTAIN,
        lasting="a Unix socket with a path needs no shared network, and is guarded by its mode",
    )
