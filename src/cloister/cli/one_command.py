"""One command in a cell of its own: what ``run`` does and ``explain`` shows."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloister.cli.cell_options import CellOptions
from cloister.model.app import App
from cloister.model.isolation import HostIdentity, IdRange
from cloister.model.snapshot import DEFAULT_IDS, SYSTEM_FILE, Paths, default_paths

if TYPE_CHECKING:
    import socket

    from cloister.cells.cgroups.app_group import AppGroup
    from cloister.cells.identity import IdentityStore
    from cloister.cells.plan import CellPlan
    from cloister.cells.quotas.projects import ProjectStore
    from cloister.cells.spec import Stdin


@dataclass(frozen=True, slots=True)
class OneCommand:
    """What the command line asks for."""

    command: tuple[str, ...]
    cell: CellOptions

    @property
    def app(self) -> App:
        """The application that the command would be in a configuration."""
        return self.cell.app(self.command)


def build(
    wanted: OneCommand,
    identity: HostIdentity,
    *,
    stdin: "Stdin | None" = None,
    groups: "AppGroup | None" = None,
    egress: "socket.socket | None" = None,
) -> "CellPlan":
    """The plan of the command's cell, to be closed by the caller. ``stdin`` is the caller's
    own unless it says otherwise. ``egress`` is where its ways out go, where it has any.
    """
    from cloister.cells.plan import build_cell
    from cloister.cells.spec import Stdin
    from cloister.cells.users import app_identity

    app = wanted.app
    directory = app.directory or _folder(wanted.cell)
    return build_cell(
        app,
        app_identity(app, lambda _: identity),
        None,
        command=_locate(wanted, directory),
        working_directory=None if app.directory is not None else directory,
        stdin=Stdin.INHERIT if stdin is None else stdin,
        groups=groups,
        egress=egress,
    )


def _folder(cell: CellOptions) -> str:
    """Where the command works when nothing is said of it."""
    if not cell.isolation.namespaces.mount:
        return str(os.getcwd())  # noqa: PTH109 - a text
    return "/" if cell.isolation.rootfs is not None else "/tmp"  # noqa: S108 - the cell's own


def identity(config: str | None = None) -> AbstractContextManager[HostIdentity]:
    """Ids for as long as the command runs: from the range as root, else the caller's own."""
    return store(config).lease()


def door_identity(
    wanted: OneCommand, config: str | None = None
) -> AbstractContextManager[HostIdentity | None]:
    """Ids for the door of its ways out, as :func:`identity`; ``None`` where it needs none, or
    can have none but the caller's."""
    if not wanted.cell.egress or os.geteuid() != 0:
        return nullcontext()
    return store(config).lease()


def store(config: str | None = None) -> "IdentityStore":
    """The identities of the supervisor that ``config`` is for, else of the system's, else of
    one whose configuration sets neither ids nor places.
    """
    from cloister.cells.identity import IdentityStore

    paths, ids = _places(config)
    return IdentityStore(paths.identities, ids)


def projects(config: str | None = None) -> "ProjectStore":
    """The projects of the same supervisor."""
    from cloister.cells.quotas.projects import ProjectStore

    paths, ids = _places(config)
    return ProjectStore(paths.projects, ids)


def _places(config: str | None) -> tuple[Paths, IdRange]:
    # An ordinary user has no ids to give: nothing has to be read.
    if os.geteuid() == 0:
        if config is None and os.path.exists(SYSTEM_FILE):  # noqa: PTH110 - a text
            config = SYSTEM_FILE
        if config is not None:
            from cloister.config.load import load

            snapshot = load(config, check_files=False)
            return snapshot.paths, snapshot.ids
    return default_paths(os.getuid(), os.environ), DEFAULT_IDS


def _locate(wanted: OneCommand, directory: str) -> tuple[str, ...]:
    """The command with a relative path to its program made absolute. A name without a slash
    stays: ``cloister-cell`` looks for it in the cell's own PATH.
    """
    program, *arguments = wanted.command
    if "/" in program:
        program = os.path.normpath(os.path.join(directory, program))  # noqa: PTH118 - a text
    return (program, *arguments)
