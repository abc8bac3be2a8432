"""Rule ``second-listener``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Process
from cloister.model.finding import Confidence, Finding

CODES = ("second-listener",)


def check(case: Case) -> Iterator[Finding]:
    """Two servers bound the same path, and one of them is not reached any more.

    What it does: looks for listening sockets that were bound by this name and whose file is
    no longer the one at the path.

    Why bad: servers remove the file before they bind. The first one goes on, with its
    memory, its jobs and its old code, and never gets a connection again; which one answers
    depends on who started last.

    Example: a service started by hand while systemd's instance runs.
    """
    end = case.end
    if end is None or case.socket is None or not case.socket.listening:
        return
    for one in case.bound:
        if not one.listening or one.name != case.path or case.is_at(one, end):
            continue
        for holder in case.probes.holders(one.inode):
            if _same_service(holder, case.server) or _is_the_maker(case, holder):
                continue
            yield Finding(
                code="second-listener",
                seen=f"{holder} listens on a socket that was {case.path} before {case.server} "
                "took the name",
                why="only the last one is reached by this path; the other one runs on unseen",
                cure=cures.end(holder),
                confidence=Confidence.LIKELY,
                lasting="run one instance, and let its service manager or Cloister make the "
                "socket: they never take a live one's name",
            )


def _same_service(one: Process, other: Process | None) -> bool:
    """A graceful restart has two for a while."""
    if other is None:
        return False
    return one.pid == other.pid or (one.unit is not None and one.unit == other.unit)


def _is_the_maker(case: Case, one: Process) -> bool:
    """The service itself was displaced: the rule foreign-listener."""
    return any(unit.name == one.unit for unit in case.probes.units() if case.listens(unit))
