"""Which keys were signed for: a file that is appended to before a signature is given.

One line for each: when, for whom, in which store, and a digest of the object. A line counts
once it is on the disk with its line break; what a crash has cut off is taken away. For each
asker and store the newest :data:`KEPT` are remembered, of all :data:`KEPT_IN_ALL`. When one is
forgotten its signature has expired long since, and what was uploaded by it is not replaced either
(``If-None-Match``).
"""

import contextlib
import fcntl
import hashlib
import os
import re
from collections import OrderedDict

KEPT = 10_000
"""Keys of each asker and store."""
KEPT_IN_ALL = 500_000
"""They take some 250 MiB of memory."""
DAY = 24 * 3600
_FILE = "issued"
_LINE = re.compile(r"([0-9]{1,12}) (\S{1,200}) (\S{1,200}) ([0-9a-f]{64})", re.ASCII)
_SLACK = 1000
"""Lines that are of no use any more before the file is written anew."""


class LedgerError(Exception):
    """The file cannot be used. ``str()`` says why."""


def digest(endpoint: str, bucket: str, key: str) -> str:
    """Of an object, whatever the store is called."""
    return hashlib.sha256("\0".join((endpoint, bucket, key)).encode()).hexdigest()


class Ledger:
    """The file, and what it says. One process at a time; all methods block for the disk."""

    def __init__(self, folder: int) -> None:
        """``folder`` is the descriptor of a directory that only this process's user may write,
        and stays the caller's. Waits for another process that has the file. Raises
        :class:`LedgerError`, and :class:`OSError`.
        """
        self._folder = folder
        self._known: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._times: dict[tuple[str, str], OrderedDict[str, int]] = {}
        self._lines = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._lock = os.open("lock", flags, 0o600, dir_fd=folder)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._file = os.open(_FILE, flags | os.O_APPEND, 0o600, dir_fd=folder)
        self._length = self._read()

    def close(self) -> None:
        """Give the file up."""
        os.close(self._file)
        os.close(self._lock)

    def issued(self, object_digest: str) -> bool:
        """Whether an object was signed for, by whomever."""
        return object_digest in self._known

    def count(self, asker: str, store: str, now: float) -> int:
        """How many objects ``asker`` had signed within the last 24 hours."""
        times = self._times.get((asker, store), OrderedDict[str, int]())
        found = 0
        for time in reversed(times.values()):
            if time <= now - DAY:
                break
            found += 1
        return found

    def enter(self, asker: str, store: str, object_digest: str, now: float) -> None:
        """Remember an object from now on, on the disk as well when this returns. Raises
        :class:`OSError`; the object counts as issued then, until the process ends."""
        self._remember(asker, store, object_digest, int(now))
        try:
            line = f"{int(now)} {asker} {store} {object_digest}\n".encode()
            if os.write(self._file, line) != len(line):
                raise OSError("the line was cut off")
            os.fdatasync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._length)
            raise
        self._length += len(line)
        self._lines += 1
        if self._lines > len(self._known) + _SLACK:
            self._rewrite()

    def _remember(self, asker: str, store: str, object_digest: str, time: int) -> None:
        times = self._times.setdefault((asker, store), OrderedDict())
        times[object_digest] = time
        self._known[object_digest] = (asker, store)
        while len(times) > KEPT:
            oldest, _ = times.popitem(last=False)
            del self._known[oldest]
        while len(self._known) > KEPT_IN_ALL:
            oldest, whose = self._known.popitem(last=False)
            del self._times[whose][oldest]

    def _read(self) -> int:
        """Takes in what is there; its length."""
        with open(os.dup(self._file), "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(0)
            content = file.read()
        whole, ended, cut = content.rpartition(b"\n")
        for line in whole.decode("ascii", "replace").split("\n") if ended else ():
            match = _LINE.fullmatch(line)
            if match is None:
                raise LedgerError("it is damaged: restore it, or remove it with all it remembers")
            self._remember(match[2], match[3], match[4], int(match[1]))
            self._lines += 1
        length = len(content) - len(cut)
        if cut:
            os.ftruncate(self._file, length)
        return length

    def _rewrite(self) -> None:
        """Leaves out what is forgotten. A crash leaves the old file or the new one."""
        lines = [
            f"{time} {asker} {store} {object_digest}\n"
            for (asker, store), times in self._times.items()
            for object_digest, time in times.items()
        ]
        content = "".join(lines).encode()
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        new = os.open(f".{_FILE}", flags, 0o600, dir_fd=self._folder)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(new, view) :]
            os.fsync(new)
            os.rename(f".{_FILE}", _FILE, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)
        except OSError:
            os.close(new)  # the old one goes on
            return
        os.close(self._file)
        self._file, self._length, self._lines = new, len(content), len(lines)
