"""Rule ``foreign-listener``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Unit
from cloister.model.finding import Finding

CODES = ("foreign-listener",)


def check(case: Case) -> Iterator[Finding]:
    """Somebody else listens where a service should.

    What it does: compares who listens with who is to: the supervisor for what Cloister
    makes, the unit for what a unit says that it makes.

    Why bad: the connection works and reaches the wrong program, which gets whatever is sent.

    Example: a developer's server on port 8000, which the service was to have.
    """
    server = case.server
    if server is None or case.reach is None or case.reach.error:
        return
    unit = _maker(case)
    if unit is not None:
        if server.pid == 1 or server.unit in _names(unit):
            return
        yield Finding(
            code="foreign-listener",
            seen=f"{server} listens on {case.target.place}, which {unit.name} is to make",
            why="whoever connects reaches that process instead of the service",
            cure=f"{cures.end(server)}; systemctl restart {cures.quote(unit.name)}",
        )
        return
    owner = None if case.tcp is not None else case.target.maker
    if owner is None or server.credentials.uid == owner or _holds(case, owner):
        return
    yield Finding(
        code="foreign-listener",
        seen=f"{server} of user {cures.name_of(server.credentials.uid, case.probes)} listens on "
        f"{case.target.place}, which the supervisor of user {cures.name_of(owner, case.probes)} "
        "is to make",
        why="whoever connects reaches that process instead of what Cloister serves there",
        cure=cures.end(server),
        lasting="restart the supervisor: it makes the socket anew",
    )


def _holds(case: Case, owner: int) -> bool:
    """Whether the supervisor has this socket open. A server that inherits one often calls
    listen(2) again, and then it is the one that the kernel names (unix(7), SO_PEERCRED)."""
    if case.socket is None:
        return False
    holders = case.probes.holders(case.socket.inode)
    return not holders or any(one.credentials.uid == owner for one in holders)


def _maker(case: Case) -> Unit | None:
    """The running unit whose socket this is to be; a socket unit before the service. One that
    does not run claims nothing: ssh.socket is on every Debian, and ssh.service listens."""
    units = case.probes.units()
    makers = [unit for unit in units if unit.active == "active" and case.listens(unit)]
    return makers[0] if makers else None


def _names(unit: Unit) -> set[str]:
    related = f"{unit.settings.get('Triggers', '')} {unit.settings.get('TriggeredBy', '')}"
    return {unit.name, *related.split()}
