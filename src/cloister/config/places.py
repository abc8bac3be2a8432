"""The supervisor's and the door's own settings, which every dialect writes alike."""

import os.path
from collections.abc import Mapping
from pathlib import PurePosixPath

from cloister.config.supervisor_tables import CloisterTable, ControlTable, DoorTable
from cloister.model.snapshot import ControlOptions, DoorOptions, Paths, default_paths


def paths(
    table: CloisterTable, folder: PurePosixPath, uid: int, environment: Mapping[str, str]
) -> Paths:
    """Where things are kept; what is relative begins in ``folder``, which is absolute."""
    default = default_paths(uid, environment)
    return Paths(
        runtime=absolute(folder, table.runtime_directory or default.runtime),
        state=absolute(folder, table.state_directory or default.state),
    )


def door(table: DoorTable) -> DoorOptions:
    """How the door runs."""
    return DoorOptions(
        workers=table.workers, user=table.user, log_connections=table.log_connections
    )


def control(table: ControlTable) -> ControlOptions:
    """Who may ask the supervisor."""
    return ControlOptions(owner=table.owner, group=table.group, mode=table.mode)


def absolute(folder: PurePosixPath, path: str) -> str:
    """``path``, which may begin in ``folder``, without ``.``, ``..`` and doubled slashes."""
    # POSIX gives exactly two leading slashes a meaning of their own; Linux does not.
    return "/" + os.path.normpath(folder / path).lstrip("/")
