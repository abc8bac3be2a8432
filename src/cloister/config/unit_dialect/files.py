"""Whether what Unit's configuration names is there. Changes nothing."""

import os
import stat
from pathlib import Path

from cloister.config.files import check_language, is_folder, look_at
from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.resolve import Report
from cloister.config.roots import in_root
from cloister.config.unit_dialect.resolve import parts
from cloister.config.unit_dialect.syntax import UnitFile
from cloister.model.app import CommandProgram, PythonProgram
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
