"""Whether what Unit's configuration names is there. Changes nothing."""

import os
import stat
from pathlib import Path, PurePosixPath

from cloister.config.files import check_language, is_folder, look_at
from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.roots import in_root
from cloister.config.surroundings import Report
from cloister.config.unit_dialect.resolve import parts
from cloister.config.unit_dialect.syntax import UnitFile
from cloister.model.app import App, CommandProgram, PythonProgram
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
            is_folder(_seen(root, app.directory), (*path, "working_directory"), report)
        _output(app, root, path, report)
        if isinstance(app.program, CommandProgram):
            if part.application.executable is not None:
                _program(_seen(root, app.program.command[0]), (*path, "executable"), report)
        else:
            if root and not app.isolation.automount.language_dependencies:
                deps: KeyPath = (*path, "isolation", "automount", "language_deps")
                check_language(app.program, root, deps, "language_deps", report)
            _python(app.program, root, path, report)


def _seen(root: str, path: str) -> str:
    """The host's path of what an application with this root, or none, sees at ``path``."""
    if not root:
        return path
    try:
        return in_root(root, path) or root + path
    except OSError:
        return root + path  # whoever looks there says what is in the way


def _output(app: App, root: str, path: KeyPath, report: Report) -> None:
    """Whether the files for output can be opened: they are when there is something to write."""
    files = app.log.output
    for key, file in (("stdout", files and files.stdout), ("stderr", files and files.stderr)):
        if not file:
            continue
        place, where = PurePosixPath(root + file), (*path, key)
        if not is_folder(str(place.parent), where, report):
            continue
        try:
            found = os.lstat(place)
        except OSError:
            continue  # it is made
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            kind = "a link" if stat.S_ISLNK(found.st_mode) else "no regular file of one name"
            report.add(
                Code.WRONG_FILE_TYPE,
                f"{place} cannot take output",
                where,
                why=f"it is {kind}",
                hint="name a file that is a regular one, or is not there yet",
            )


def _python(program: PythonProgram, root: str, path: KeyPath, report: Report) -> None:
    for index, folder in enumerate(program.path):
        is_folder(_seen(root, folder), (*path, "path", index), report)
    home = program.home
    if home is None or not is_folder(_seen(root, home), (*path, "home"), report):
        return
    interpreter = f"{_seen(root, home)}/bin/python"
    if not root or not Path(interpreter).is_symlink():
        # A link in a root may lead to what is shown there of the host.
        _program(_seen(root, f"{home}/bin/python"), (*path, "home"), report)


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
