"""Unix sockets in the file system: made whole, replaced atomically, removed carefully."""

import errno
import fcntl
import hashlib
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cloister.model.errors import CloisterError, NotPermittedError
from cloister.model.listener import UNIX_NAME_MAX
from cloister.sockets import permissions
from cloister.sockets.holders import describe_process
from cloister.sockets.numbers import PathPlan
from cloister.sockets.peer import peer

_LOCK_PATIENCE = 5.0
"""Seconds to wait for another process that binds the same path."""

_ATTEMPTS = 3
"""How often to begin again after somebody removed the directory meanwhile."""


class BoundPath:
    """A socket's place in the file system, for as long as this process owns it."""

    def __init__(self, plan: PathPlan, folder: int, inode: tuple[int, int]) -> None:
        self._plan = plan
        self._folder = folder
        self._inode = inode

    @property
    def inode(self) -> tuple[int, int]:
        """Device and inode number of the socket's file."""
        return self._inode

    def release(self) -> None:
        """Gives it up; the socket's file stays. Closes the directory."""
        os.close(self._folder)

    def adjust(self, plan: PathPlan) -> None:
        """Gives the socket's file the owner, group and mode of ``plan``, for the same path.

        Raises :class:`CloisterError` where the file is another one by now, and
        :class:`NotPermittedError` for lack of rights and for an unsafe directory.
        """
        os.close(permissions.open_folder(plan))
        try:
            with _locked(self._folder, plan):
                self._adjust(plan)
        except OSError as error:
            raise permissions.unusable(self._folder, plan.name, plan, error) from error

    def _adjust(self, plan: PathPlan) -> None:
        """By the very file, not by its name: the socket's owner may be able to exchange it."""
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(plan.name, flags, dir_fd=self._folder)
        try:
            found = os.fstat(file)
            if (found.st_dev, found.st_ino) != self._inode:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            path = f"/proc/self/fd/{file}"
            # Nobody gets more before owner and group are right.
            os.chmod(path, plan.mode & found.st_mode & 0o777)  # noqa: PTH101 - a descriptor
            owner = os.geteuid() if plan.owner is None else plan.owner
            group = os.getegid() if plan.group is None else plan.group
            os.chown(path, owner, group)
            os.chmod(path, plan.mode)  # noqa: PTH101
        finally:
            os.close(file)

    def remove(self) -> None:
        """Unlinks the path if it is still the same socket, and the directories made for it
        if they are empty. To be called before the socket is closed, since its inode number
        could be given to another file afterwards. Closes the directory.
        """
        folder, name = self._folder, self._plan.name
        with suppress(CloisterError, OSError), _locked(folder, self._plan):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if (found.st_dev, found.st_ino) == self._inode:
                os.unlink(name, dir_fd=folder)
        permissions.remove_made(folder)
        os.close(folder)


def adopt_path(plan: PathPlan, inode: tuple[int, int]) -> BoundPath | None:
    """The place of a socket that another process has bound; ``None`` where the path does not
    lead to its file any more. Raises as :func:`bind_path`."""
    try:
        folder = permissions.open_folder(plan)
    except FileNotFoundError:
        return None
    try:
        found = os.stat(plan.name, dir_fd=folder, follow_symlinks=False)
        if (found.st_dev, found.st_ino) == inode and stat.S_ISSOCK(found.st_mode):
            return BoundPath(plan, folder, inode)
    except FileNotFoundError:
        pass
    os.close(folder)
    return None


def bind_path(plan: PathPlan, *, over: BoundPath | None = None) -> tuple[socket.socket, BoundPath]:
    """A listening socket at ``plan.path``, and its place.

    A dead socket there is replaced, and so is the one of ``over``. Raises
    :class:`CloisterError` for a live one and for anything else that is in the way,
    :class:`NotPermittedError` for lack of rights and for directories in which others could
    replace the socket.
    """
    for _ in range(_ATTEMPTS):
        folder = permissions.open_folder(plan)
        try:
            with _locked(folder, plan):
                _refuse_obstacle(folder, plan, over)
                listening, inode = _bind(folder, plan)
        except FileNotFoundError:
            os.close(folder)
        except OSError as error:
            failure = permissions.unusable(folder, plan.name, plan, error)
            os.close(folder)
            raise failure from error
        except BaseException:
            os.close(folder)
            raise
        else:
            return listening, BoundPath(plan, folder, inode)
    raise CloisterError(
        f"unix:{plan.path} cannot be bound: its directory vanishes again and again",
        hint="look for a program that cleans up there, or choose another directory",
    )


def _bind(folder: int, plan: PathPlan) -> tuple[socket.socket, tuple[int, int]]:
    """Binds in a private directory, where nobody can connect, and renames the socket into
    place when its owner, its mode and its queue are right.
    """
    private = f".cloister-{secrets.token_hex(6)}"
    os.mkdir(private, 0o700, dir_fd=folder)
    kind = socket.SOCK_SEQPACKET if plan.sequenced else socket.SOCK_STREAM
    listening = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
    inside = -1
    try:
        inside = os.open(private, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        name, address = _address(inside, plan)
        listening.bind(address)
        try:
            os.chown(
                name,
                -1 if plan.owner is None else plan.owner,
                -1 if plan.group is None else plan.group,
                dir_fd=inside,
                follow_symlinks=False,
            )
            os.chmod(name, plan.mode, dir_fd=inside)
            listening.listen(plan.backlog)
            found = os.stat(name, dir_fd=inside, follow_symlinks=False)
            os.rename(name, plan.name, src_dir_fd=inside, dst_dir_fd=folder)
        except BaseException:
            os.unlink(name, dir_fd=inside)
            raise
    except BaseException:
        listening.close()
        raise
    finally:
        if inside >= 0:
            os.close(inside)
        os.rmdir(private, dir_fd=folder)
    return listening, (found.st_dev, found.st_ino)


def _address(inside: int, plan: PathPlan) -> tuple[str, str]:
    """The socket's name in the private directory and the address to bind it by.

    The kernel shows that address for ever (ss(8), getsockname(2)), so it is the readable
    one where it fits, and a way through this process's descriptor where it does not.
    """
    readable = permissions.place(inside, plan.name)
    if len(os.fsencode(readable)) <= UNIX_NAME_MAX:
        return plan.name, readable
    return "socket", f"/proc/self/fd/{inside}/socket"


def _refuse_obstacle(folder: int, plan: PathPlan, over: BoundPath | None) -> None:
    """Returns when nothing, a dead socket or that of ``over`` is at the path."""
    try:
        found = os.open(plan.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return
    try:
        seen = os.fstat(found)
        if over is not None and (seen.st_dev, seen.st_ino) == over.inode:
            return
        if not stat.S_ISSOCK(seen.st_mode):
            raise CloisterError(
                f"unix:{plan.path} cannot be bound: something else has this name",
                why=f"{permissions.place(found)} is no socket, and is not taken away",
                hint="remove it, or choose another path",
            )
        _refuse_live(found, plan)
    finally:
        os.close(found)


def _refuse_live(found: int, plan: PathPlan) -> None:
    """Connects to the very inode: no length limit, and no other socket by mistake."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        who = "a process whose queue is full"
        try:
            probe.connect(f"/proc/self/fd/{found}")
            who = describe_process(peer(probe).pid)
        except ConnectionRefusedError:
            return
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
            who = "a process with a socket of another type"
    raise CloisterError(
        f"unix:{plan.path} is in use",
        why=f"{who} listens there",
        hint="stop that process, or choose another path",
    )


@contextmanager
def _locked(folder: int, plan: PathPlan) -> Iterator[None]:
    """One process at a time between looking at the path and replacing it.

    The lock file is this user's alone (others could hold a lock on the directory itself
    for ever), and it is removed by whoever holds it.
    """
    digest = hashlib.sha256(os.fsencode(plan.name)).hexdigest()[:16]
    name = f".cloister-{digest}.lock"
    lock = _acquire(folder, name, plan)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        os.close(lock)


def _acquire(folder: int, name: str, plan: PathPlan) -> int:
    deadline = time.monotonic() + _LOCK_PATIENCE
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        lock = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if os.path.samestat(found, os.fstat(lock)):
                return lock
        except (BlockingIOError, FileNotFoundError):
            pass  # held by another process, or removed by the one that held it
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
        if time.monotonic() > deadline:
            raise NotPermittedError(
                f"unix:{plan.path} cannot be bound: another process is at it",
                why=f"{permissions.place(folder, name)} is locked",
                hint="look for another cloister that starts or stops",
            )
        time.sleep(0.01)
