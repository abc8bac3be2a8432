"""Rules ``unit-failed`` and ``unit-inactive``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.model.finding import Finding

CODES = ("unit-failed", "unit-inactive")


def check(case: Case) -> Iterator[Finding]:
    """The unit that makes the socket does not run.

    What it does: finds the socket or service unit whose ListenStream=, command line or
    runtime directory names this socket, when nothing answers there.

    Why bad: nobody listens, and a socket left by the last run may hide that.

    Example: ``app.service: failed (Result: start-limit-hit)``.
    """
    if case.reach is not None and case.reach.error == 0:
        return
    unit = case.unit
    if unit is None or unit.active not in ("failed", "inactive"):
        return
    name = cures.quote(unit.name)
    failed = unit.active == "failed"
    yield Finding(
        code="unit-failed" if failed else "unit-inactive",
        seen=f"{unit.name}, which makes {case.target.place}, is {unit.active}"
        + (f" ({unit.result})" if failed else ""),
        why="nobody listens as long as it does not run",
        cure=f"systemctl reset-failed {name}; systemctl restart {name}"
        if failed
        else f"systemctl start {name}",
        lasting=f"journalctl --unit {name} --lines 50 says why it failed"
        if failed
        else f"systemctl enable {name} starts it at boot as well",
    )
