"""What the policies for SELinux and AppArmor are about: the door, and where it may reach.

Both are made from the same request, so that what one allows the other allows too, as far as
each can say it.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from cloister.generate import checks
from cloister.model.errors import UsageError
from cloister.sockets.plan import RELAY_DIRECTORY, SUPERVISOR_DIRECTORY

PROGRAMS = ("/usr/bin/cloister-door", "/usr/local/bin/cloister-door")
"""Where packages and pip put the door."""

RUNTIME_DIRECTORIES = (SUPERVISOR_DIRECTORY, RELAY_DIRECTORY)
"""The supervisor's, and that of the generated units."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PLAIN = re.compile(r"[A-Za-z0-9/_.+:@-]+")


class Reach(Enum):
    """What the door's targets are, beyond the sockets of the hosts directories."""

    UNIX = "unix"
    """Unix sockets by path or abstract name, and nothing else."""
    TCP = "tcp"
    """Addresses and names too, so also the resolver."""
    VSOCK = "vsock"
    """Virtual machines too."""


@dataclass(frozen=True, slots=True)
class MandatoryAccessRequest:
    """One door's confinement."""

    name: str = "cloister"
    """The module's name, and what all its types, booleans and the profile begin with."""
    programs: tuple[str, ...] = PROGRAMS
    """Every path under which the door is installed."""
    runtime_directories: tuple[str, ...] = RUNTIME_DIRECTORIES
    """The folders of the sockets on which it listens."""
    hosts_directories: tuple[str, ...] = ("/srv/hosts",)
    """Folders with one folder per hostname."""
    reaches: frozenset[Reach] = frozenset(Reach)
    """For AppArmor, whose rules name address families: SELinux has booleans instead."""
    changes_user: bool = False
    """Whether it is started as root and told ``--user``, and not by a unit with ``User=``. For
    AppArmor: SELinux has a boolean."""

    @classmethod
    def with_defaults(cls, **fields: Any) -> Self:
        """A request in which an empty field stands for its default."""
        return cls(**{name: value for name, value in fields.items() if value})

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} cannot be the name of a policy",
                why="it becomes a part of types, booleans and file names",
                hint="take up to 32 small letters, digits and underscores, a letter first",
            )
        if not self.programs:
            raise UsageError(
                "a policy needs the door's program",
                hint=f"name its path, such as {PROGRAMS[0]}",
            )
        for program in self.programs:
            _plain(program, "the door's program")
        for directory in self.runtime_directories:
            _plain(directory, "a runtime directory")
        for directory in self.hosts_directories:
            _plain(directory, "a hosts directory")
        folders = (*self.runtime_directories, *self.hosts_directories)
        for folder in folders:
            if folder.count("/") < 2:
                raise UsageError(
                    f"{folder!r} cannot be labelled for the door",
                    why="it is a folder of the whole system",
                    hint="give it a folder of its own below it",
                )
        if len(set(folders)) < len(folders):
            raise UsageError(
                "a folder is named twice for the policy",
                why=", ".join(folders),
                hint="each folder has one label: name it once",
            )


def _plain(text: str, what: str) -> None:
    """Refuses what would need an escape: a wrong one would widen a policy without a word."""
    checks.path(text, what)
    if not _PLAIN.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot be {what} in a policy",
            why="m4 and AppArmor read quotes, blanks, brackets and wildcards as their own",
            hint="take a path of letters, digits and the marks / _ . + : @ -",
        )
