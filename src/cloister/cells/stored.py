"""A small file of state: one process at a time, exchanged as a whole."""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cloister.model.errors import CloisterError


class StoredFile:
    """A JSON object in a file, made with its folder when it is first written.

    All methods block for the time of a few small file operations. Several processes may use
    one file. Each raises :class:`CloisterError` where the file cannot be used.
    """

    def __init__(self, path: str, what: str, remedy: str) -> None:
        """``what`` the file is and what helps where it is damaged, both for messages."""
        self._path = Path(path)
        self._what = what
        self._remedy = remedy

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """For as long as the block runs no other process changes the file."""
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            lock = os.open(
                self._path.with_name(self._path.name + ".lock"),
                os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
                0o600,
            )
        except OSError as error:
            raise self.unusable("cannot be locked", error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def read(self) -> dict[str, object]:
        """What was written last; empty where nothing was."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise self.unusable("cannot be read", error) from error
        try:
            stored = json.loads(text)
        except ValueError as error:
            raise self.unusable("is damaged", error) from error
        if not isinstance(stored, dict):
            raise self.unusable("is damaged", "it holds no object")
        return stored

    def write(self, content: Mapping[str, object]) -> None:
        """Replaces the file atomically; a crash leaves the old one or the new one."""
        folder = self._path.parent
        temporary: str | None = None
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=folder)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1, sort_keys=True)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
            temporary = None
            directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise self.unusable("cannot be written", error) from error
        finally:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)

    def unusable(self, what: str, reason: Exception | str) -> CloisterError:
        """The error for a file that ``what`` is the matter with."""
        return CloisterError(
            f"the {self._what} {self._path} {what}", why=str(reason), hint=self._remedy
        )
