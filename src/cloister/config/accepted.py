"""The running configuration on disk: always the last one that was accepted, and whole.

A generation is one file: a line with its checksum, a line of JSON, the text. Each is written
beside the one before, synced, and renamed over it, so that whatever ends the machine leaves
the old one or the new one. The one before stays as ``previous``.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

from cloister.model.configuration import Accepted, Configuration, Dialect
from cloister.model.errors import CloisterError

CURRENT = "current"
PREVIOUS = "previous"
RUNNING = "running"
"""There while a supervisor runs, and after one that did not stop."""
_MAGIC = "cloister-configuration-1"


class DamagedError(CloisterError):
    """A file is there and is not what was written."""


class AcceptedStore:
    """The folder with the accepted configuration. One supervisor at a time uses it.

    All methods block for a few small file operations.
    """

    def __init__(self, folder: str) -> None:
        """``folder`` is made with the first :meth:`write`."""
        self._folder = Path(folder)

    def read(self) -> Accepted | None:
        """The last accepted configuration, ``None`` where there never was one.

        Raises :class:`DamagedError` where it cannot be had; :meth:`previous` may then help.
        """
        return self._read(CURRENT)

    def previous(self) -> Accepted | None:
        """The one before. Raises as :meth:`read`."""
        return self._read(PREVIOUS)

    def write(self, accepted: Accepted) -> None:
        """Replace it. Returns when it is on the disk.

        Raises :class:`CloisterError`; the old one is in force then.
        """
        temporary: str | None = None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Its texts may hold secrets of applications.
            descriptor, temporary = tempfile.mkstemp(prefix=".new.", dir=self._folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_encode(accepted))
                file.flush()
                os.fsync(file.fileno())
            self._keep_previous()
            Path(temporary).replace(self._folder / CURRENT)
            temporary = None
            try:
                self._sync()
            except OSError:
                with contextlib.suppress(FileNotFoundError):
                    (self._folder / PREVIOUS).replace(self._folder / CURRENT)
                raise
        except OSError as error:
            raise CloisterError(
                f"the configuration cannot be kept in {self._folder}",
                why=os.strerror(error.errno or 0),
                hint="make room or give this user the folder, then try again",
            ) from error
        finally:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)

    @property
    def running(self) -> bool:
        """Whether a supervisor runs, or the last one ended without stopping."""
        return (self._folder / RUNNING).exists()

    def begin(self) -> None:
        """A supervisor runs. Raises :class:`OSError`."""
        (self._folder / RUNNING).touch()
        self._sync()

    def end(self) -> None:
        """It has stopped."""
        with contextlib.suppress(OSError):
            (self._folder / RUNNING).unlink()
            self._sync()

    def _keep_previous(self) -> None:
        """A second name for the current file, so that there never is a moment without one."""
        link = self._folder / ".previous"
        link.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):  # the first one
            os.link(self._folder / CURRENT, link)
            link.replace(self._folder / PREVIOUS)

    def _sync(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self, name: str) -> Accepted | None:
        path = self._folder / name
        try:
            return _decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedError(
                f"the accepted configuration {path} cannot be used",
                why=str(error),
                hint="restore it, or remove it: the configuration file counts then",
            ) from error


def _encode(accepted: Accepted) -> bytes:
    configuration = accepted.configuration
    head = {
        "version": accepted.version,
        "dialect": configuration.dialect.value,
        "source": configuration.source,
        "file": accepted.file,
        "time": accepted.time,
    }
    body = f"{json.dumps(head)}\n{configuration.text}".encode()
    return f"{_MAGIC} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def _decode(content: bytes) -> Accepted:
    first, _, body = content.partition(b"\n")
    if first.decode() != f"{_MAGIC} {hashlib.sha256(body).hexdigest()}":
        raise ValueError("its checksum does not fit its content")
    head, _, text = body.decode().partition("\n")
    fields = json.loads(head)
    return Accepted(
        version=fields["version"],
        configuration=Configuration(text, Dialect(fields["dialect"]), fields["source"]),
        file=fields["file"],
        time=fields["time"],
    )
