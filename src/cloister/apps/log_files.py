"""Log files of one application: written, rotated, read, followed.

One JSON object a line. ``NAME.log`` is written; ``NAME.log.1`` is the one before it, and so
on. Folder and files are the supervisor's user's alone.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cloister.apps.logs import LogEvent, as_json

_BLOCK = 64 * 1024
_INTERVAL = 0.2
"""Seconds between two looks for more."""


class LogFiles:
    """Keeps events in files. May block for the disk."""

    alone = False

    def __init__(self, path: str, *, size: int, files: int) -> None:
        """``path`` is that of the file that is written; ``size`` is in bytes. Nothing is
        opened before the first event."""
        self._path = Path(path)
        self._size = size
        self._files = files
        self._descriptor = -1
        self._written = 0

    def keep(self, event: LogEvent) -> None:
        """Append an event. Raises :class:`OSError`."""
        line = as_json(event).encode()
        if self._descriptor < 0:
            self._open()
        if self._written and self._written + len(line) > self._size:
            self._rotate()
        try:
            written = os.write(self._descriptor, line)
        except OSError:
            # What is wrong may be of this file alone: the next line opens it anew.
            self.close()
            raise
        self._written += written
        if written < len(line):  # a full disk: no half line is left behind the next one
            os.ftruncate(self._descriptor, self._written - written)
            self._written -= written
            raise OSError("the disk is full")

    def close(self) -> None:
        """May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Another number of files may have been configured before.
        for old in self._path.parent.glob(f"{self._path.name}.*"):
            number = old.name.rpartition(".")[2]
            if number.isdecimal() and int(number) >= self._files:
                old.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        self._written = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        self.close()
        for number in range(self._files - 1, 0, -1):
            newer = _numbered(self._path, number - 1)
            if newer.exists():
                newer.replace(_numbered(self._path, number))
        if self._files == 1:
            self._path.unlink(missing_ok=True)
        self._open()


class LogReader:
    """Reads what was kept up to the moment that it is made, and then what follows."""

    def __init__(self, path: str) -> None:
        """Opens the file that is written now, if there is one. Raises :class:`OSError`."""
        self._path = Path(path)
        self._descriptor = _open_or_none(path)
        self._begin = 0 if self._descriptor < 0 else os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def newest(self, count: int) -> list[str]:
        """The newest ``count`` lines of all files, oldest first. Raises :class:`OSError`, with
        ``FileNotFoundError`` where there is none."""
        found: list[str] = []
        if self._descriptor >= 0:
            found = _last_lines(self._descriptor, self._begin, count)
        for number in itertools.count(1):
            if len(found) >= count:
                break
            try:
                with _numbered(self._path, number).open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    found = [*_last_lines(file.fileno(), size, count - len(found)), *found]
            except FileNotFoundError:
                if number == 1 and self._descriptor < 0:
                    raise
                break
        return found

    def follow(self, *, pause: Callable[[float], None] = time.sleep) -> Iterator[str]:
        """The lines that were written since this was made, for ever; goes on with the next
        file after a rotation. Raises :class:`OSError`."""
        rest = b""
        following = str(self._path)
        if self._descriptor >= 0:
            os.lseek(self._descriptor, self._begin, os.SEEK_SET)
        while True:
            if self._descriptor < 0:
                self._descriptor = _open_or_none(following)
            if self._descriptor < 0:
                pause(_INTERVAL)
                continue
            received = os.read(self._descriptor, _BLOCK)
            newer = None if received else _after(self._descriptor, self._path)
            if newer is not None:
                # Nobody writes to it any more; what was written between the two looks is left.
                received = os.read(self._descriptor, _BLOCK)
                if not received:
                    self.close()
                    following, rest = newer, b""
                    continue
            if not received:
                pause(_INTERVAL)
                continue
            *lines, rest = (rest + received).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in lines)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def _last_lines(descriptor: int, position: int, count: int) -> list[str]:
    """Of what is before ``position``. Read from there backwards: a file may be large."""
    if not count:
        return []
    text = b""
    while position and text.count(b"\n") <= count:
        size = min(_BLOCK, position)
        position -= size
        text = os.pread(descriptor, size, position) + text
    lines = text.decode("utf-8", "replace").splitlines()
    return lines[-count:]


def _open_or_none(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1


def _after(descriptor: int, path: Path) -> str | None:
    """The file that follows the open one; ``None`` while that is the newest."""
    read = os.fstat(descriptor)
    newer: str | None = None
    for number in itertools.count():
        name = str(_numbered(path, number))
        try:
            found = os.stat(name)  # noqa: PTH116 - a text
        except FileNotFoundError:
            if number:  # else between two steps of a rotation
                return str(path)  # it is gone, and all between it and the newest may be
            return None
        if (found.st_dev, found.st_ino) == (read.st_dev, read.st_ino):
            return newer
        newer = name
    return None
