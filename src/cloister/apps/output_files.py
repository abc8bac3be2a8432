"""What an application writes, as plain lines in files that its configuration names.

The files may be in folders of the application's own user, while the supervisor is root: so
what is opened is looked at part by part, and is never what a link of somebody else's leads to.
"""

import errno
import os
import stat
from collections.abc import Callable

from cloister.apps.logs import Keeper, Level, LogEvent
from cloister.model.lifecycle import OutputFiles

MODE = 0o644
"""Of a file that is made, before the umask."""
_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_FILE = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
) | os.O_NOCTTY


class UnsafeFileError(OSError):
    """Something else than a file of the application's own is at the path."""


def open_appending(path: str, root: str | None = None) -> int:
    """A descriptor that appends to the file at ``path``, which is made where there is none.

    ``root`` is the folder of the host that is the application's root: the path is one in it.
    A link is followed only out of a folder that nobody but root and this process's user can
    write; below others, and in a root, there is none. The file is a regular one with one name.
    Blocks for the file system, never for a reader. Raises :class:`OSError`.
    """
    folder = os.open(root or "/", _FOLDER if root is None else _FOLDER & ~os.O_NOFOLLOW)
    try:
        trusted = root is None
        parts = [part for part in path.split("/") if part not in ("", ".")][::-1]
        links = 0
        while len(parts) > 1:
            part = parts.pop()
            trusted = trusted and _only_ours(folder)
            if part == ".." and not trusted:
                raise UnsafeFileError(errno.EINVAL, "a path through `..`", path)
            try:
                inner = os.open(part, _FOLDER, dir_fd=folder)
            except OSError as error:
                # A link is ENOTDIR with O_DIRECTORY, ELOOP without (open(2)).
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                target = _link(part, folder)
                links += 1
                if target is None or links > _LINKS:
                    raise
                if not trusted:
                    raise UnsafeFileError(
                        errno.ELOOP, f"{part} is a link in a folder that others can write", path
                    ) from error
                steps = [step for step in target.split("/") if step not in ("", ".")]
                parts += steps[::-1]
                if target.startswith("/"):
                    os.close(folder)
                    folder = os.open("/", _FOLDER)
                continue
            os.close(folder)
            folder = inner
        if not parts or parts[0] == ".." or path.endswith("/"):
            raise UnsafeFileError(errno.EISDIR, "no file", path)
        return _open_file(parts[0], folder, path)
    finally:
        os.close(folder)


def _open_file(name: str, folder: int, path: str) -> int:
    try:
        descriptor = os.open(name, _FILE, MODE, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFileError(errno.ELOOP, "a symbolic link", path) from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        what = "no regular file" if not stat.S_ISREG(found.st_mode) else "a file of two names"
        raise UnsafeFileError(errno.EINVAL, what, path)
    return descriptor


def _only_ours(folder: int) -> bool:
    found = os.fstat(folder)
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022


def _link(name: str, folder: int) -> str | None:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError:
        return None


class OutputKeeper:
    """Keeps events where another keeper does, and the lines of the application in its files.

    A file that was moved away or removed (logrotate(8)) is made anew by the next line.
    """

    def __init__(
        self,
        files: OutputFiles,
        inner: Keeper | None,
        say: Callable[[str, Level], None],
    ) -> None:
        """``inner`` belongs to this keeper from now on. ``say`` is told, once, that a file
        cannot be written, and that it can again."""
        self._inner = inner
        self._files = {
            stream: _OutputFile(path, files.root, say)
            for stream, path in (("stdout", files.stdout), ("stderr", files.stderr))
            if path is not None
        }
        self.alone = inner is not None and inner.alone

    def keep(self, event: LogEvent) -> None:
        """May block for the disk. Raises :class:`OSError` where the inner keeper does."""
        if event.fields.get("event") == "output":
            file = self._files.get(str(event.fields.get("stream")))
            if file is not None:
                file.write(event.message)
        if self._inner is not None:
            self._inner.keep(event)

    def close(self) -> None:
        """May be called twice."""
        for file in self._files.values():
            file.close()
        if self._inner is not None:
            self._inner.close()


class _OutputFile:
    def __init__(self, path: str, root: str | None, say: Callable[[str, Level], None]) -> None:
        self._path = path
        self._root = root
        self._say = say
        self._descriptor = -1
        self._failed = False

    def write(self, line: str) -> None:
        try:
            if self._descriptor >= 0 and not self._is_there():
                self.close()
            if self._descriptor < 0:
                self._descriptor = open_appending(self._path, self._root)
            content = line.encode("utf-8", "replace") + b"\n"
            if os.write(self._descriptor, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.close()
            if not self._failed:
                self._failed = True
                why = f"{error.strerror}: `cloister logs` has the lines"
                self._say(f"cannot write to {self._path}: {why}", Level.WARNING)
            return
        if self._failed:
            self._failed = False
            self._say(f"writes to {self._path} again", Level.INFO)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_there(self) -> bool:
        """Whether the path still leads to the open file. A link that does not is harmless: what
        is opened next is looked at again."""
        opened = os.fstat(self._descriptor)
        try:
            found = os.lstat((self._root or "") + self._path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)
