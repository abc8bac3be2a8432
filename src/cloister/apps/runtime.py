"""The supervisor's runtime directory, held by one supervisor at a time."""

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from cloister.model.errors import CloisterError, NotPermittedError
from cloister.sockets.plan import RUNTIME_MODE


class RuntimeDirectory:
    """Makes the directory where it is missing, locks it, and gives back what it made.

    Blocks for a few file operations. Nobody but this process's user may be able to write
    to it: whoever can could put another socket in an application's place.
    """

    def __init__(self, path: str) -> None:
        """Raises :class:`CloisterError` where another supervisor holds it, and
        :class:`NotPermittedError` where this user may not make or use it.
        """
        self._path = Path(path)
        self._made: list[Path] = []
        self._lock = -1
        try:
            self._make(self._path, RUNTIME_MODE)
            _check(self._path)
            self._lock = self._acquire(self._path / "lock")
        except PermissionError as error:
            self._remove_made()
            raise NotPermittedError(
                f"the runtime directory {path} cannot be used",
                why=str(error),
                hint="run as root, or set `runtime-directory` in [cloister] to a folder of yours",
            ) from error
        except OSError as error:
            self._remove_made()
            raise CloisterError(
                f"the runtime directory {path} cannot be used", why=str(error)
            ) from error
        except BaseException:
            self._remove_made()
            raise

    def close(self) -> None:
        """Unlock it, and remove it where it was made here and is empty. Idempotent."""
        if self._lock < 0:
            return
        # Unlinked while locked: whoever waits for this very file finds out and starts over.
        (self._path / "lock").unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1
        self._remove_made()

    def _make(self, path: Path, mode: int = 0o755) -> None:
        if path.exists():
            return
        self._make(path.parent)
        path.mkdir(mode=mode)
        path.chmod(mode)  # whatever the umask is: the door has to pass it
        self._made.append(path)

    def _remove_made(self) -> None:
        while self._made:
            with contextlib.suppress(OSError):  # not empty: somebody else uses it too
                self._made.pop().rmdir()

    def _acquire(self, path: Path) -> int:
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The last holder may have unlinked it between our open and our lock.
                if _same_file(descriptor, path):
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    return descriptor
            except BlockingIOError:
                holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise CloisterError(
                    f"another supervisor runs in {self._path}",
                    why=f"process {holder} holds its lock" if holder else None,
                    hint="stop it first, or set another `runtime-directory` in [cloister]",
                ) from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def _check(path: Path) -> None:
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise CloisterError(f"the runtime directory {path} is no directory")
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise CloisterError(
            f"the runtime directory {path} is not safe",
            why=f"its owner is user {found.st_uid}, its mode {stat.S_IMODE(found.st_mode):04o}:"
            " somebody else could put sockets into it",
            hint=f"use a folder that only this user can write: chown {os.geteuid()} and"
            " chmod go-w, or set another `runtime-directory` in [cloister]",
        )


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
