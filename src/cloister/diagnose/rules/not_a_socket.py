"""Rule ``not-a-socket``."""

from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Kind
from cloister.model.finding import Finding

CODES = ("not-a-socket",)


def check(case: Case) -> Iterator[Finding]:
    """Something else has the socket's name.

    What it does: looks at what the path leads to.

    Why bad: connect(2) to a file fails with "Connection refused", which looks as if a
    server had died. The server in turn cannot bind the name.

    Example: a container was started with ``-v /run/app.sock:/run/app.sock`` before there
    was a socket, and made a directory.
    """
    end = case.end
    if end is None or end.kind is Kind.SOCKET or case.path is None:
        return
    away = f"mv --no-clobber {cures.quote(end.path)} {cures.quote(f'{end.path}.away')}"
    again = f" && systemctl restart {cures.quote(case.unit.name)}" if case.unit else ""
    yield Finding(
        code="not-a-socket",
        seen=f"{end.path} is a {end.kind.value}, not a socket",
        why="nobody can listen there, and the server cannot make its socket while the name is "
        "taken",
        cure=away + again,
        lasting=None if again else "then start the server: it can make its socket now",
    )
