"""What a configuration is resolved in: the machine as far as it matters, and who is told what is
wrong. No I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.source import Source
from cloister.model.errors import Problem


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the host as passwd(5) and group(5) have it."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplementary ones."""


def _nobody_knows(_name: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a snapshot depends on beside the file's text."""

    folder: PurePosixPath
    """The configuration file's folder, absolute."""
    uid: int
    """The supervisor's effective user id."""
    environment: Mapping[str, str]
    find_program: Callable[[str], str | None]
    """The absolute path of a program of the system, by its name."""
    find_user: Callable[[str], Account | None] = _nobody_knows
    """A user of the host, by name or number."""
    find_group: Callable[[str], int | None] = _nobody_knows
    """The number of a group of the host, by name or number."""


class Report:
    """Collects problems, each with its place in the source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.problems: list[Problem] = []

    def add(
        self,
        code: Code,
        what: str,
        path: KeyPath,
        *,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Adds a problem with what stands, or should stand, at ``path``."""
        self.problems.append(Problem(code, what, self._source.locate(path), why, hint))

    def place(self, path: KeyPath) -> str:
        """For a sentence: where else something stands."""
        where = self._source.locate(path)
        return f"{where.key} in line {where.line}" if where.line is not None else where.key
