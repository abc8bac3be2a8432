"""Which processes an audit is about."""

from collections.abc import Sequence

from cloister.audit.facts import Host, Process
from cloister.model.errors import CloisterError


def choose(host: Host, what: str | None) -> Sequence[Process]:
    """All processes, or those of an application, a process id or a unit.

    Raises :class:`CloisterError` where there is none.
    """
    if what is None:
        return host.processes
    if what.isdecimal():
        found = [one for one in host.processes if one.pid == int(what)]
    elif what.endswith(".service"):
        found = [one for one in host.processes if one.unit == what]
    else:
        found = [one for one in host.processes if what in (one.app, one.unit, f"{one.name}")]
        found = found or [one for one in host.processes if one.unit == f"{what}.service"]
    if found:
        return found
    apps = sorted({one.app for one in host.processes if one.app is not None})
    raise CloisterError(
        f"nothing that runs is called {what!r}",
        why="there is no application, unit, program or process id like it",
        hint="see `cloister audit --all`" + (f"; applications: {', '.join(apps)}" if apps else ""),
    )
