"""Rule ``nginx-path``."""

from collections.abc import Iterator

from cloister.diagnose.case import Case
from cloister.diagnose.nginx import advice
from cloister.model.finding import Finding

CODES = ("nginx-path",)


def check(case: Case) -> Iterator[Finding]:
    """A URI is taken for a part of the socket's path.

    What it does: looks whether a socket lies at a beginning of the path.

    Why bad: ``server unix:PATH;`` takes a path and no URI; ``proxy_pass`` ends the path at
    a second colon only. Without it everything is the path, and there is no such file.

    Example: ``proxy_pass http://unix:/run/app.sock/api;``, or ``server
    unix:/run/app.sock:/;`` in an upstream.
    """
    path, socket = case.path, case.socket_in_path
    if path is None or socket is None:
        return
    uri = path[len(socket) :].lstrip(":")
    line = case.target.line
    passes = line is not None and line.text.startswith("proxy_pass")
    right = f"{socket}:{uri}" if passes else socket
    yield Finding(
        code="nginx-path",
        seen=f"{socket} is a socket, and {path[len(socket) :]!r} after it is taken for a part of "
        "its path" + (f" in {line}" if line else ""),
        why="`server` in an upstream takes a path and no URI; in `proxy_pass` a colon separates "
        "the two: http://unix:PATH:URI",
        cure=advice.change(case, path, right),
        lasting=None if line else f"write {right}",
    )
