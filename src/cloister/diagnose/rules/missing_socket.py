"""Rules ``no-socket`` and ``link-loop``."""

import difflib
import errno
import os
import re
from collections.abc import Iterator

from cloister.diagnose import cures
from cloister.diagnose.case import Case
from cloister.diagnose.facts import Kind, SocketType, Step, Walk
from cloister.diagnose.nginx import advice
from cloister.diagnose.views import divergence
from cloister.model.finding import Confidence, Finding

CODES = ("no-socket", "link-loop")

_SIMILAR = 0.8
"""Of difflib's ratio: a few letters differ."""
_NUMBERS = re.compile(r"[0-9]+")


def check(case: Case) -> Iterator[Finding]:
    """Nothing is at the path, for anybody.

    What it does: walks the path, links included, and where it ends looks for a listening
    socket with a path like it.

    Why bad: the server is not there, or makes its socket elsewhere. nginx's message adds
    ``:/`` to the path, which is not part of it.

    Example: ``connect() to unix:/run/ap/app.sock failed (2: No such file or directory) …
    upstream: "http://unix:/run/ap/app.sock:/"`` (gunicorn 1452).
    """
    walk = case.walk
    if case.path is None or walk.error not in (errno.ENOENT, errno.ELOOP):
        return
    if walk.error == errno.ELOOP:
        yield Finding(
            code="link-loop",
            seen=f"{walk.at} is a symbolic link in a circle of links",
            why="the kernel follows at most 40 links",
            cure=f"mv --no-clobber {cures.quote(walk.at)} {cures.quote(f'{walk.at}.away')}",
            lasting="then have the server make its socket, or the link lead to it",
        )
        return
    if divergence(case) is not None or case.socket_in_path is not None:
        return
    if case.unit is not None and case.unit.active in ("inactive", "failed"):
        return  # the rule unit-inactive
    near = _similar(case)
    link = _dangling(walk)
    seen = f"there is no {walk.at}"
    if link is not None:
        seen = f"{link.path} is a symbolic link to {link.link}, which is not there"
    if near is not None:
        seen += f"; {near} is there and somebody listens on it"
    yield Finding(
        code="no-socket",
        seen=seen,
        why="the server has not made the socket, or made it elsewhere. In nginx's log `:/` after "
        "the path is where the URI begins, and not part of the path",
        cure=_cure(case, near, link.path if link else None),
        confidence=Confidence.LIKELY if near else Confidence.CERTAIN,
        lasting=None if near else "start the server, and look into its log for where it listens",
    )


def _cure(case: Case, near: str | None, dangling: str | None) -> str | None:
    path = case.path or ""
    if case.unit is not None:
        return f"systemctl restart {cures.quote(case.unit.name)}"
    if near is None:
        return None
    if case.target.line is not None:
        return advice.change(case, path, near)
    if dangling is not None:
        return f"ln --symbolic --force --no-dereference {cures.quote(near)} {cures.quote(dangling)}"
    folder = cures.quote(path.rpartition("/")[0])
    return f"mkdir --parents {folder} && ln --symbolic {cures.quote(near)} {cures.quote(path)}"


def _dangling(walk: Walk) -> Step | None:
    """The last link, where what it names itself is not there, rather than something below."""
    links = [step for step in walk.steps if step.kind is Kind.LINK]
    if not links:
        return None
    folder = links[-1].path.rpartition("/")[0]
    target = os.path.normpath(os.path.join(folder, links[-1].link or ""))  # noqa: PTH118
    return links[-1] if f"{target}/".startswith(f"{walk.at}/") else None


def _similar(case: Case) -> str | None:
    """A listening socket whose path is this one but for a slip: other letters in the name, or
    in the folder. Another number is no slip: app1 and app2 are two."""
    listening = [
        one.name
        for one in case.probes.unix_sockets()
        if one.listening
        and one.type is SocketType.STREAM
        and one.name.startswith("/")
        and _NUMBERS.sub("", one.name) != _NUMBERS.sub("", case.path or "")
        and case.probes.walk(one.name).end is not None
    ]
    near = difflib.get_close_matches(case.path or "", listening, 1, _SIMILAR)
    return near[0] if near else None
