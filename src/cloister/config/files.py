"""Whether what the settings name is there: folders, files, programs. Changes nothing."""

import os
import stat
import sys
from pathlib import Path

from cloister.config.checks import is_broad
from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.roots import in_root
from cloister.config.surroundings import Report
from cloister.model.app import App, CommandProgram, FileTls, PythonProgram
from cloister.model.isolation import Bind, IdRange
from cloister.model.route import ServerNameRoute
from cloister.model.secret_file import exposure
from cloister.model.snapshot import Snapshot

CREDENTIAL_MAX = 1024 * 1024
"""Bytes that ``cloister-cell`` reads of one credential."""
SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""What every cell sees of the host."""


def check(snapshot: Snapshot, report: Report, *, uid: int, home: str | None) -> None:
    """Reports what is missing or may not be used. Blocks for the file system, briefly.

    ``uid`` is the supervisor's user, ``home`` their home folder, where that is known.
    """
    for listener in snapshot.listeners:
        if isinstance(listener.route, ServerNameRoute) and listener.route.hosts_directory:
            path: KeyPath = ("listeners", listener.name, "route", "hosts")
            is_folder(listener.route.hosts_directory, path, report)
    if snapshot.metrics.token is not None:
        _secret(snapshot.metrics.token, ("metrics", "token"), report, "make another one")
    for store in snapshot.stores:
        _keys(store.credentials, ("signer", store.name, "credentials"), report, uid)
    for app in snapshot.apps:
        _app(app, report, home)
        if uid == 0:
            _readable_in_cell(app, snapshot.ids, report)


def _app(app: App, report: Report, home: str | None) -> None:
    path: KeyPath = ("apps", app.name)
    root = app.isolation.rootfs
    if root is not None:
        where = (*path, "isolation", "rootfs")
        if not is_folder(root.path, where, report):
            return
        _not_broad_by_link(app, root.path, where, report, home)
        if app.directory is None or _folder_of(app, app.directory, (*path, "directory"), report):
            _program_or_python(app, path, report)
    elif app.directory is None or is_folder(app.directory, (*path, "directory"), report):
        if app.directory is not None:
            _not_broad_by_link(app, app.directory, (*path, "directory"), report, home)
        _program_or_python(app, path, report)
    for credential in app.credentials:
        place = (*path, "credentials", credential.name)
        status = _file(credential.source, place, report)
        if status is not None and status.st_size > CREDENTIAL_MAX:
            report.add(
                Code.WRONG_FILE_TYPE,
                f"{credential.source} is larger than {CREDENTIAL_MAX // 1024} KiB",
                place,
                why="a credential is held in memory",
                hint="hand it over as one of `binds`",
            )
    for index, bind in enumerate(app.binds):
        if look_at(bind.source, (*path, "binds", index, "source"), report) is not None:
            _place(app, bind, (*path, "binds", index), report)
    if isinstance(app.tls, FileTls):
        _file(app.tls.certificate, (*path, "tls", "certificate"), report)
        _secret(app.tls.key, (*path, "tls", "key"), report, "get a new certificate")


def _program_or_python(app: App, path: KeyPath, report: Report) -> None:
    if isinstance(app.program, CommandProgram):
        _program(app, app.program, (*path, "command"), report)
    else:
        _python(app, app.program, (*path, "python"), report)


def _folder_of(app: App, inside: str, where: KeyPath, report: Report) -> bool:
    """Whether the cell sees a folder at ``inside``; anything else is reported."""
    place = _on_host(app, inside)
    if place is None:
        _unseen(app, inside, where, report)
        return False
    return is_folder(place, where, report)


def _unseen(app: App, inside: str, where: KeyPath, report: Report) -> None:
    root = app.isolation.rootfs
    report.add(
        Code.MISSING_FILE,
        f"the cell does not see {inside}",
        where,
        why="it sees the system's programs, the application's `directory` and its `binds`"
        if root is None
        else f"there is none in its root, {root.path}, and no bind leads there",
        hint="put the program into `directory`, or add its folder to `binds`"
        if root is None
        else f"put it into the root, at {root.path}{inside}",
    )


def _secret(path: str, where: KeyPath, report: Report, remedy: str) -> None:
    """A file that not everybody may read; ``remedy`` is for one that somebody has read."""
    status = _file(path, where, report)
    if status is not None and status.st_mode & 0o007:
        report.add(
            Code.EXPOSED_KEY,
            f"everybody on this machine may use {path}",
            where,
            why=f"its mode is {stat.S_IMODE(status.st_mode):04o}",
            hint=f"chmod o= {path}; if others may have read it, {remedy}",
        )


def _keys(path: str, where: KeyPath, report: Report, uid: int) -> None:
    """A file that nobody else may have anything to do with."""
    status = _file(path, where, report)
    why = None if status is None else exposure(status.st_uid, status.st_mode, uid)
    if why is not None:
        report.add(
            Code.EXPOSED_KEY,
            f"{path} is no place for keys",
            where,
            why=f"{why}; it has to be root's or the supervisor's, with mode 0600",
            hint=f"chmod 0600 {path}; if others may have read it, make new keys",
        )


def _not_broad_by_link(
    app: App, folder: str, path: KeyPath, report: Report, home: str | None
) -> None:
    real = os.path.realpath(folder)
    if real != folder and is_broad(real, home):
        report.add(
            Code.BROAD_DIRECTORY,
            f"{folder} is a link to {real}, too much for the application {app.name}",
            path,
            why="the whole folder becomes readable in its cell",
            hint="give it a folder of its own",
        )


def _readable_in_cell(app: App, ids: IdRange, report: Report) -> None:
    """An application of root's supervisor is a user of its own, to whom its folder is foreign."""
    if app.directory is None or app.isolation.rootfs is not None:
        return
    try:
        status = Path(app.directory).stat()
    except OSError:
        return  # reported already
    readable = status.st_mode & 0o005 == 0o005
    own = any(ids.first <= owner <= ids.last for owner in (status.st_uid, status.st_gid))
    if not stat.S_ISDIR(status.st_mode) or readable or own or _has_acl(app.directory):
        return
    report.add(
        Code.UNREADABLE_FILE,
        f"the application {app.name} cannot read {app.directory}",
        ("apps", app.name, "directory"),
        why=f"its mode is {stat.S_IMODE(status.st_mode):04o}, and a cell has a user of its own",
        hint=f"chmod -R o+rX {app.directory}; hand over what is secret by `credentials`",
    )


def _has_acl(path: str) -> bool:
    """Whether acl(5) says more than the mode does."""
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except OSError:
        return False


def _place(app: App, bind: Bind, where: KeyPath, report: Report) -> None:
    """A bind in what the cell sees of the host needs something there to be bound onto."""
    if app.isolation.rootfs is not None:
        return  # what a root lacks is made in memory
    place = _on_host(app, bind.destination, leave_out=bind)
    if place is not None and not Path(place).exists():
        report.add(
            Code.MISSING_FILE,
            f"there is no {place} for the bind at {bind.destination}",
            (*where, "destination"),
            why="the cell sees the host's folder there, and cannot make anything in it",
            hint=f"make an empty {place}, or choose another `destination`",
        )


def _program(app: App, program: CommandProgram, path: KeyPath, report: Report) -> None:
    inside = program.command[0]
    source = _on_host(app, inside)
    if source is None:
        _unseen(app, inside, path, report)
        return
    status = look_at(source, path, report)
    if status is None:
        return
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o111:
        report.add(
            Code.WRONG_FILE_TYPE,
            f"{source} is no program",
            path,
            why="it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not executable",
            hint="name the program itself"
            if stat.S_ISDIR(status.st_mode)
            else f"chmod +x {source}, or name its interpreter first",
        )


def _python(app: App, program: PythonProgram, path: KeyPath, report: Report) -> None:
    root = app.isolation.rootfs
    rooted = root is not None
    if root is not None and not app.isolation.automount.language_dependencies:
        deps: KeyPath = (*path[:-1], "isolation", "automount", "language-deps")
        check_language(program, root.path, deps, "language-deps", report)
    for index, folder in enumerate(program.path):
        where = (*path, "path", index)
        _ = _folder_of(app, folder, where, report) if rooted else is_folder(folder, where, report)
    if program.home is None:
        return
    where = (*path, "home")
    if rooted:
        # Its interpreter may be one that is shown of the host.
        _folder_of(app, program.home, where, report)
        return
    if not is_folder(program.home, where, report):
        return
    interpreter = f"{program.home}/bin/python"
    if not os.access(interpreter, os.X_OK):
        report.add(
            Code.WRONG_FILE_TYPE,
            f"{program.home} is no virtual environment",
            (*path, "home"),
            why=f"there is no program {interpreter}",
            hint=f"make one: python3 -m venv {program.home}",
        )


def check_language(
    program: PythonProgram, root: str, where: KeyPath, setting: str, report: Report
) -> None:
    """For a root into which nothing of the host is shown: whether it has by itself what runs a
    Python application. ``setting``, at ``where``, is what would show it."""
    server = str(Path(__file__).parents[1] / "apps" / "servers.py")
    interpreter = program.interpreter or sys.executable
    if program.home is not None:
        interpreter = f"{program.home}/bin/python"
    for needed in (interpreter, server):
        if _in_root(root, needed) is None:
            report.add(
                Code.MISSING_FILE,
                f"there is no {needed} in the root {root}",
                where,
                why=f"without `{setting}` the cell sees no interpreter of the host's, and no "
                "server for Python",
                hint=f"leave `{setting}` out, or install both in the root at these paths",
            )
            return


def _on_host(app: App, inside: str, *, leave_out: Bind | None = None) -> str | None:
    """The host's path of what the cell sees at ``inside``; the innermost mount counts."""
    root = app.isolation.rootfs
    views = [] if root is not None else [(folder, folder) for folder in SYSTEM_FOLDERS]
    if app.directory is not None and root is None:
        views.append((app.directory, app.directory))
    views += [(bind.destination, bind.source) for bind in app.binds if bind != leave_out]
    for destination, source in sorted(views, key=lambda view: -len(view[0])):
        if inside == destination or inside.startswith(destination + "/"):
            return source + inside[len(destination) :]
    return None if root is None else _in_root(root.path, inside)


def _in_root(root: str, inside: str) -> str | None:
    try:
        return in_root(root, inside)
    except OSError:
        return root + inside  # whoever looks there says what is in the way


def look_at(path: str, where: KeyPath, report: Report) -> os.stat_result | None:
    """What is at ``path``; where nothing can be found there, that is reported."""
    try:
        return Path(path).stat()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        report.add(
            Code.MISSING_FILE if missing else Code.UNREADABLE_FILE,
            f"{path} is not there" if missing else f"{path} cannot be looked at",
            where,
            why=None if missing else os.strerror(error.errno or 0),
            hint="make it, or correct the path" if missing else "check the rights above it",
        )
        return None


def is_folder(path: str, where: KeyPath, report: Report) -> bool:
    """Whether a folder is at ``path``; anything else is reported."""
    status = look_at(path, where, report)
    if status is None:
        return False
    if not stat.S_ISDIR(status.st_mode):
        report.add(Code.WRONG_FILE_TYPE, f"{path} is no folder", where, hint="name a folder")
        return False
    return True


def _file(path: str, where: KeyPath, report: Report) -> os.stat_result | None:
    status = look_at(path, where, report)
    if status is None:
        return None
    if not stat.S_ISREG(status.st_mode):
        report.add(Code.WRONG_FILE_TYPE, f"{path} is no file", where, hint="name a file")
        return None
    if not os.access(path, os.R_OK, effective_ids=True):
        report.add(
            Code.UNREADABLE_FILE,
            f"{path} cannot be read",
            where,
            why="the supervisor has no right to",
            hint="run as a user who may read it, or change its mode",
        )
        return None
    return status
