"""Directories that a socket may lie in: who else could replace it there, and how to make them.

A socket is only as safe as every directory above it: whoever may write to one of them can
put another socket in its place. So each must belong to root, to this process's user or to
the socket's owner, and must not be writable by others, unless it is sticky (``/tmp``).
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from cloister.model.errors import CloisterError, NotPermittedError
from cloister.sockets.numbers import PathPlan

_LINKS = 40
"""Symbolic links followed in one path, as in path_resolution(7)."""

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_made: dict[tuple[int, int], str] = {}
"""Directories that this process made, by device and inode. One may hold sockets of several
listeners, so it goes when the last of them is closed, whichever made it."""


def open_folder(plan: PathPlan) -> int:
    """The directory of ``plan`` as an ``O_PATH`` descriptor, which the caller closes.

    Missing directories are made. Each directory and each link on the way is checked.
    Raises :class:`NotPermittedError` for one that is not safe or not accessible,
    :class:`CloisterError` for what is no directory.
    """
    folder = os.open("/", _FOLDER)
    waiting = [part for part in plan.folder.split("/") if part not in ("", ".")]
    links = 0
    try:
        while True:
            _check(folder, plan)
            if not waiting:
                return folder
            part = waiting.pop(0)
            found = _look(folder, part, plan)
            if found is None:
                step = _make(folder, part, plan)
                if step is None:  # somebody else made it meanwhile
                    waiting.insert(0, part)
                    continue
            elif stat.S_ISLNK(found.st_mode):
                links += 1
                target = _follow(folder, part, found, plan, links)
                waiting[:0] = [part for part in target.split("/") if part not in ("", ".")]
                if not target.startswith("/"):
                    continue
                step = os.open("/", _FOLDER)
            else:
                step = _enter(folder, part, plan)
            os.close(folder)
            folder = step
    except BaseException:
        os.close(folder)
        raise


def remove_made(folder: int) -> None:
    """Removes the directory and those above it as far as this process made them and they
    are empty.
    """
    path = Path(place(folder))
    for directory in (path, *path.parents):
        try:
            found = directory.lstat()
        except OSError:
            return
        key = (found.st_dev, found.st_ino)
        if key not in _made:
            return
        try:
            directory.rmdir()
        except OSError:
            return
        del _made[key]


def place(folder: int, part: str = "") -> str:
    """The path of an open directory, or of a name in it, for messages and short names."""
    path = os.readlink(f"/proc/self/fd/{folder}")  # noqa: PTH115 - a descriptor, not a path
    return os.path.join(path, part) if part else path  # noqa: PTH118


def _check(folder: int, plan: PathPlan) -> None:
    """Raises :class:`NotPermittedError` where others could replace what lies in ``folder``."""
    found = os.fstat(folder)
    users, groups = _trusted(plan)
    reason = None
    if found.st_uid not in users:
        reason = f"it belongs to user {found.st_uid}"
    elif found.st_mode & stat.S_ISVTX:
        pass  # sticky: an entry is renamed or removed by its owner only
    elif found.st_mode & stat.S_IWOTH:
        reason = f"everybody may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    elif found.st_mode & stat.S_IWGRP and found.st_gid not in groups:
        reason = f"group {found.st_gid} may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    if reason is not None:
        path = place(folder)
        raise NotPermittedError(
            f"unix:{plan.path} cannot be bound: {path} is not safe",
            why=f"{reason}, so that others could put their own socket in the place of this one",
            hint=f"chown root:root {path} && chmod go-w {path}, or choose another directory",
        )


def _trusted(plan: PathPlan) -> tuple[set[int], set[int]]:
    # Whoever owns / can replace everything anyway; in a user namespace that may be an id
    # that is not mapped, and then it owns the system's directories too.
    users = {0, os.geteuid(), Path("/").stat().st_uid}
    groups = {0, os.getegid()}
    if plan.owner is not None:
        users.add(plan.owner)
    if plan.group is not None:
        groups.add(plan.group)
    return users, groups


def _look(folder: int, part: str, plan: PathPlan) -> os.stat_result | None:
    try:
        return os.stat(part, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(folder, part, plan, error) from error


def _follow(folder: int, part: str, link: os.stat_result, plan: PathPlan, links: int) -> str:
    path = place(folder, part)
    if link.st_uid not in _trusted(plan)[0]:
        raise NotPermittedError(
            f"unix:{plan.path} cannot be bound: the link {path} is not safe",
            why=f"it belongs to user {link.st_uid}, who can point it elsewhere",
            hint="name the directory itself, without this link",
        )
    if links > _LINKS:
        raise CloisterError(
            f"unix:{plan.path} cannot be bound: {path} leads into a circle of links",
            hint="correct the link, or name the directory itself",
        )
    return os.readlink(part, dir_fd=folder)


def _enter(folder: int, part: str, plan: PathPlan) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=folder)
    except NotADirectoryError:
        raise CloisterError(
            f"unix:{plan.path} cannot be bound: {place(folder, part)} is no directory",
            hint="choose another path, or remove what is in the way",
        ) from None
    except OSError as error:
        raise unusable(folder, part, plan, error) from error


def _make(folder: int, part: str, plan: PathPlan) -> int | None:
    """Makes a directory; ``None`` where one has appeared meanwhile.

    It gets its final name with its final group and mode, so that it is at no instant more
    open than asked for, and a crash leaves none that is half made. The umask, which
    belongs to the whole process, only ever narrows the 0700 of the private name.
    """
    private = f".cloister-{secrets.token_hex(6)}"
    try:
        os.mkdir(private, 0o700, dir_fd=folder)
        try:
            made = os.open(private, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
            try:
                os.fchown(made, -1, -1 if plan.group is None else plan.group)
                os.fchmod(made, plan.directory_mode)
                found = os.fstat(made)
            finally:
                os.close(made)
            os.rename(private, part, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.rmdir(private, dir_fd=folder)
            raise
    except (FileExistsError, NotADirectoryError):
        return None
    except OSError as error:
        raise unusable(folder, part, plan, error) from error
    _made[found.st_dev, found.st_ino] = place(folder, part)
    return _enter(folder, part, plan)


def unusable(folder: int, part: str, plan: PathPlan, error: OSError) -> CloisterError:
    """The error for a system call that failed at ``part`` in ``folder``."""
    what = f"unix:{plan.path} cannot be bound: {place(folder, part)} cannot be used"
    why = os.strerror(error.errno or 0)
    if isinstance(error, PermissionError):
        return NotPermittedError(
            what,
            why=f"{why} for user {os.geteuid()}",
            hint="run as root, or choose a directory of your own such as $XDG_RUNTIME_DIR",
        )
    return CloisterError(what, why=why, hint="choose another directory")
