"""The running configuration on disk: always the last one that was accepted, and whole.

There are two files: each version is written over the one before the last, in place, and synced:
one wait for the disk, and one for the folder where a file is new. Whatever ends the machine then
leaves the last one whole, beside a version that nobody was told of or half of one, which its
checksum tells. A file is a line with its magic, the length of what follows and its checksum; a
line of JSON; the text; zeros up to the end.
"""

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cloister.model.configuration import Accepted, Configuration, Dialect
from cloister.model.errors import CloisterError

FILES = ("even", "odd")
"""By the version's last bit."""
RUNNING = "running"
"""There while a supervisor runs, and after one that did not stop."""
_MAGIC = "cloister-configuration-2"
_BLOCK = 4096
"""Bytes that files grow and shrink by: one of usual size keeps its size, and there is nothing
but its content to write."""


class DamagedError(CloisterError):
    """A file is there and is not what was written."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What there is."""

    last: Accepted | None
    """The last accepted one that is whole."""
    damaged: tuple[DamagedError, ...]
    """What else should be one: it was, or somebody was never told that it had been accepted."""


class AcceptedStore:
    """The folder with the accepted configuration. One supervisor at a time uses it.

    All methods block for a few small file operations.
    """

    def __init__(self, folder: str) -> None:
        """``folder`` is made with the first :meth:`write`."""
        self._folder = Path(folder)

    def read(self) -> Stored:
        """What was written."""
        whole: list[Accepted] = []
        damaged: list[DamagedError] = []
        for name in FILES:
            path = self._folder / name
            try:
                if content := path.read_bytes():
                    whole.append(_decode(content))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                damaged.append(
                    DamagedError(
                        f"the accepted configuration {path} cannot be used",
                        why=str(error),
                        hint="restore it, or remove it",
                    )
                )
        last = max(whole, key=lambda one: one.version, default=None)
        return Stored(last, tuple(damaged))

    def write(self, accepted: Accepted) -> None:
        """Make it the last one; its version follows the one before. Returns when it is on the
        disk.

        Raises :class:`CloisterError`; the one before is in force then.
        """
        path = self._folder / FILES[accepted.version % 2]
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = not path.exists()
            # Its texts may hold secrets of applications.
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o600)
            try:
                try:
                    _fill(descriptor, _encode(accepted))
                    if new:
                        self._sync()
                except OSError:
                    _spoil(descriptor)
                    raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CloisterError(
                f"the configuration cannot be kept in {self._folder}",
                why=os.strerror(error.errno or 0),
                hint="make room or give this user the folder, then try again",
            ) from error

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

    def _sync(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _fill(descriptor: int, content: bytes) -> None:
    """Has a file hold ``content`` and zeros, on the disk."""
    size = -(-len(content) // _BLOCK) * _BLOCK
    if os.fstat(descriptor).st_size > size:
        os.ftruncate(descriptor, size)
    view = memoryview(content.ljust(size, b"\0"))
    while view:
        view = view[os.write(descriptor, view) :]
    os.fdatasync(descriptor)


def _spoil(descriptor: int) -> None:
    """What could not be written whole may be whole all the same, and was refused."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.fsync(descriptor)


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
    return f"{_MAGIC} {len(body)} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def _decode(content: bytes) -> Accepted:
    first, _, rest = content.partition(b"\n")
    magic, length, checksum = first.decode().split(" ")
    body = rest[: int(length)]
    if magic != _MAGIC or checksum != hashlib.sha256(body).hexdigest():
        raise ValueError("its checksum does not fit its content")
    head, _, text = body.decode().partition("\n")
    fields = json.loads(head)
    return Accepted(
        version=fields["version"],
        configuration=Configuration(text, Dialect(fields["dialect"]), fields["source"]),
        file=fields["file"],
        time=fields["time"],
    )
