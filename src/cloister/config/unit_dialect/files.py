"""Whether what Unit's configuration names is there. Changes nothing."""

import os
import stat

from cloister.config.files import is_folder, look_at
from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.resolve import Report
from cloister.config.unit_dialect.resolve import parts
from cloister.config.unit_dialect.syntax import UnitFile
from cloister.model.app import App, CommandProgram
from cloister.model.snapshot import Snapshot


def check(file: UnitFile, snapshot: Snapshot, report: Report) -> None:
    """Reports what is missing or is something else. Blocks for the file system, briefly."""
    for part, app in zip(parts(file), snapshot.apps, strict=True):
        path: KeyPath = part.path
        rootfs = part.application.isolation.rootfs
        root = "" if rootfs is None else rootfs.rstrip("/")
        if rootfs is not None and not is_folder(root, (*path, "isolation", "rootfs"), report):
            continue
        if app.directory is not None:
            is_folder(root + app.directory, (*path, "working_directory"), report)
        if isinstance(app.program, CommandProgram):
            if part.application.executable is not None:
                _program(root + app.program.command[0], (*path, "executable"), report)
        else:
            _python(app, root, path, report)


def _python(app: App, root: str, path: KeyPath, report: Report) -> None:
    assert not isinstance(app.program, CommandProgram)  # noqa: S101 - the caller has looked
    for index, folder in enumerate(app.program.path):
        is_folder(root + folder, (*path, "path", index), report)
    home = app.program.home
    if home is not None and is_folder(root + home, (*path, "home"), report):
        _program(f"{root}{home}/bin/python", (*path, "home"), report)


def _program(path: str, where: KeyPath, report: Report) -> None:
    found = look_at(path, where, report)
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode):
        hint = "name the program itself"
        report.add(Code.WRONG_FILE_TYPE, f"{path} is no program", where, hint=hint)
    elif not os.access(path, os.X_OK):
        report.add(
            Code.WRONG_FILE_TYPE,
            f"{path} is no program",
            where,
            why="it is not executable",
            hint=f"chmod +x {path}",
        )
