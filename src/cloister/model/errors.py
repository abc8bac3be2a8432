"""Errors that a person reads: what, where, why, and what to do next.

Everything that Cloister raises on purpose is a :class:`CloisterError`. Only
``cloister.cli.main`` turns one into an exit code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a configuration file."""

    file: str
    """The path as the user gave it."""
    line: int | None
    """Counted from 1; ``None`` where the text has no single line to blame."""
    key: str
    """The dotted path of the key, for example ``apps.blog.limits.memory``; may be empty."""

    def __str__(self) -> str:
        """``file:line key``, leaving out what is not known."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place} {self.key}" if self.key else place


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration."""

    code: str
    """Stable and lower case, for example ``unknown-key``; the catalogue is pinned by a test."""
    what: str
    """What is wrong, as a sentence without its full stop."""
    where: Location
    why: str | None = None
    """The reason, where it is not plain from ``what``."""
    hint: str | None = None
    """What to do next."""


class CloisterError(Exception):
    """Something that the user can understand and act on."""

    def __init__(self, what: str, *, why: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint


class UsageError(CloisterError):
    """The command line asks for something impossible."""


class ConfigError(CloisterError):
    """A configuration cannot be used. Carries every problem that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the configuration")
        self.problems = tuple(_visible(problem) for problem in problems)


def _visible(problem: Problem) -> Problem:
    """The problem without line breaks and what a terminal obeys: messages quote the user's
    values, and a value may hold anything.
    """
    return replace(
        problem,
        what=printable(problem.what),
        where=replace(problem.where, key=printable(problem.where.key)),
        why=problem.why and printable(problem.why),
        hint=problem.hint and printable(problem.hint),
    )


def printable(text: str) -> str:
    """``text`` on one line, its control characters escaped: names come from anywhere, and a
    terminal obeys them."""
    if text.isprintable():
        return text
    escaped = (one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return "".join(escaped)


class NotPermittedError(CloisterError):
    """The kernel or a peer refuses for lack of rights."""


class DaemonUnreachableError(CloisterError):
    """No supervisor answers on the control socket."""


class HostnameError(CloisterError):
    """A text is no hostname."""


class DoorError(CloisterError):
    """``cloister-door`` could not be started, refused a request or broke the protocol."""


class CellError(CloisterError):
    """A cell could not be made or its application not be executed.

    ``step``, ``errno`` and ``path`` are as ``cloister-cell`` reported them.
    """

    def __init__(
        self,
        what: str,
        *,
        step: str,
        errno: int,
        path: str | None = None,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what, why=why, hint=hint)
        self.step = step
        self.errno = errno
        self.path = path
