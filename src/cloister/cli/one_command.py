"""One command in a default cell: what ``run`` does and ``explain`` shows."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from cloister.model.app import App, CommandProgram
from cloister.model.errors import UsageError
from cloister.model.isolation import Bind, HostIdentity
from cloister.model.snapshot import DEFAULT_IDS, default_paths

if TYPE_CHECKING:
    from cloister.cells.identity import IdentityStore
    from cloister.cells.plan import CellPlan

NAME = "run"
"""The cell's name and its host name inside."""


@dataclass(frozen=True, slots=True)
class OneCommand:
    """What the command line asks for."""

    command: tuple[str, ...]
    binds: tuple[Bind, ...]
    environment: tuple[tuple[str, str], ...]
    directory: str | None
    """An absolute path, seen read-only and worked in; ``None`` for an empty /tmp."""


def options(command: Callable[..., object]) -> Callable[..., object]:
    """Gives a command the parameters ``binds``, ``environment`` and ``directory``."""
    for option in (
        click.option(
            "--directory",
            type=click.Path(),
            metavar="DIR",
            help="Show DIR read-only at its own path and work in it. Default: an empty /tmp.",
        ),
        click.option(
            "--env",
            "environment",
            multiple=True,
            metavar="KEY=VALUE",
            help="Set an environment variable. Nothing is inherited.",
        ),
        click.option(
            "--bind",
            "binds",
            multiple=True,
            metavar="SRC[:DEST[:rw]]",
            help="Show SRC of the host at DEST (default: the same path), read-only unless rw.",
        ),
    ):
        command = option(command)
    return command


def parse(
    command: tuple[str, ...],
    binds: tuple[str, ...],
    environment: tuple[str, ...],
    directory: str | None,
) -> OneCommand:
    """Raises :class:`UsageError` for an option that has another form."""
    return OneCommand(
        command,
        tuple(_parse_bind(text) for text in binds),
        tuple(_parse_variable(text) for text in environment),
        None if directory is None else os.path.abspath(directory),  # noqa: PTH100 - keep links
    )


def build(wanted: OneCommand, identity: HostIdentity) -> "CellPlan":
    """The plan of the command's cell, to be closed by the caller."""
    from cloister.cells.plan import build_cell
    from cloister.cells.spec import Stdin

    program = CommandProgram(wanted.command)
    directory = wanted.directory or "/tmp"  # noqa: S108 - the cell's own
    app = App(NAME, program, directory, environment=wanted.environment, binds=wanted.binds)
    return build_cell(
        app,
        identity,
        None,
        command=_locate(wanted, directory),
        working_directory=None if wanted.directory is not None else directory,
        stdin=Stdin.INHERIT,
    )


def identity() -> AbstractContextManager[HostIdentity]:
    """Ids for as long as the command runs: from the range as root, else the caller's own."""
    return store().lease()


def store() -> "IdentityStore":
    """The identities of a supervisor whose configuration sets neither ids nor places."""
    from cloister.cells.identity import IdentityStore

    return IdentityStore(default_paths(os.getuid(), os.environ).identities, DEFAULT_IDS)


def _parse_bind(text: str) -> Bind:
    source, _, rest = text.partition(":")
    destination, _, mode = rest.partition(":")
    if not source or mode not in ("", "rw", "ro"):
        raise UsageError(
            f"--bind {text} cannot be understood",
            why="its form is SRC[:DEST[:rw]]",
            hint="for example --bind ./data:/data:rw",
        )
    source = os.path.abspath(source)  # noqa: PTH100 - a link is bound, not resolved
    if not os.path.lexists(source):
        raise UsageError(f"--bind {text}: {source} does not exist")
    if destination and not destination.startswith("/"):
        raise UsageError(f"--bind {text}: {destination} is not absolute")
    return Bind(source, destination or source, writable=mode == "rw")


def _parse_variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or "\0" in text:
        raise UsageError(f"--env {text} cannot be understood", why="its form is KEY=VALUE")
    return name, value


def _locate(wanted: OneCommand, directory: str) -> tuple[str, ...]:
    """The command with a relative path to its program made absolute. A name without a slash
    stays: ``cloister-cell`` looks for it in the cell's own PATH.
    """
    program, *arguments = wanted.command
    if "/" in program:
        program = os.path.normpath(os.path.join(directory, program))  # noqa: PTH118 - a text
    return (program, *arguments)
