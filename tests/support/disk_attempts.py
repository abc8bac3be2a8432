"""Runs in a cell, whose /data has a bound on what may be there: tries to have more, and prints
as JSON what came of each attempt. Standard library only.

Attempts are named on the command line. An outcome is a number of bytes or files that it came to
before an error, and the error's name.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

FOLDER = Path("/data")
BLOCK = 1 << 18
MEGABYTE = 1 << 20
GET_ATTRIBUTES, SET_ATTRIBUTES = 0x801C581F, 0x401C5820
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602
INHERITED = 0x20000000
"""FS_PROJINHERIT_FL."""
FILE_SETATTR = 469
QUOTACTL_FD, SET_LIMIT = 443, 0x580402
MOST = 1 << 30
MOST_FILES = 1000

Outcome = tuple[int, str]


@contextlib.contextmanager
def unlinked(path: str) -> Iterator[BinaryIO]:
    """A file as long as the block runs."""
    with (FOLDER / path).open("wb", buffering=0) as file:
        try:
            yield file
        finally:
            (FOLDER / path).unlink()


def name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "?")


def until_refused(step: Callable[[int], int], most: int = MOST) -> Outcome:
    """Repeats a step, which says how much it has got."""
    count = 0
    while count < most:
        try:
            count += step(count)
        except OSError as error:
            return count, name(error)
    return count, "none"


def write(path: Path = FOLDER / "written") -> Outcome:
    """Leaves what it has got."""
    with path.open("wb", buffering=0) as file:
        # Written to the disk: what is only in memory may be refused later.
        return until_refused(lambda _: (file.write(os.urandom(BLOCK)), os.fsync(file.fileno()))[0])


def again() -> Outcome:
    """After an end of what was there there is room once more."""
    write()
    os.truncate(FOLDER / "written", 0)
    outcome = write(FOLDER / "again")
    (FOLDER / "again").unlink()
    return outcome


def allocate() -> Outcome:
    with unlinked("allocated") as file:

        def step(at: int) -> int:
            os.posix_fallocate(file.fileno(), at, MEGABYTE)
            return MEGABYTE

        return until_refused(step)


def sparse() -> Outcome:
    """What has no blocks costs nothing, until it has."""
    with unlinked("sparse") as file:
        file.truncate(MOST)

        def step(count: int) -> int:
            os.pwrite(file.fileno(), b"x" * BLOCK, count * 2)
            os.fsync(file.fileno())
            return BLOCK

        return until_refused(step)


def unnamed() -> Outcome:
    """A file that no folder has."""
    descriptor = os.open(FOLDER, os.O_TMPFILE | os.O_RDWR, 0o600)

    def step(_: int) -> int:
        count = os.write(descriptor, os.urandom(BLOCK))
        os.fsync(descriptor)
        return count

    try:
        return until_refused(step)
    finally:
        os.close(descriptor)


def empty() -> Outcome:
    """Files without anything in them."""

    def step(count: int) -> int:
        os.close(os.open(FOLDER / f"empty-{count}", os.O_CREAT | os.O_WRONLY, 0o600))
        return 1

    outcome = until_refused(step, MOST_FILES)
    for number in range(outcome[0]):
        (FOLDER / f"empty-{number}").unlink()
    return outcome


def links() -> Outcome:
    def step(count: int) -> int:
        (FOLDER / f"link-{count}").symlink_to("x" * 200)
        return 1

    outcome = until_refused(step, MOST_FILES)
    for number in range(outcome[0]):
        (FOLDER / f"link-{number}").unlink()
    return outcome


def inner() -> Outcome:
    """In what was there before there was a bound."""
    path = FOLDER / "old" / "deep" / "written"
    outcome = write(path)
    path.unlink()
    return outcome


def mounted() -> Outcome:
    """In what is mounted there."""
    return write(FOLDER / "mounted" / "written")


def attempt(call: Callable[[], object]) -> Outcome:
    try:
        call()
    except OSError as error:
        return 0, name(error)
    return 1, "none"


def own_file() -> int:
    return os.open(FOLDER / "own", os.O_CREAT | os.O_RDWR, 0o600)


def project() -> Outcome:
    """Takes a file of its own out of the project."""
    descriptor = own_file()

    def change() -> None:
        before = bytearray(28)
        fcntl.ioctl(descriptor, GET_ATTRIBUTES, before)
        flags, extent, extents, _, copy = struct.unpack_from("=5I", before)
        struct.pack_into("=5I", before, 0, flags, extent, extents, 0, copy)
        fcntl.ioctl(descriptor, SET_ATTRIBUTES, bytes(before))

    return attempt(change)


def flags() -> Outcome:
    """Has a folder of its own no longer hand the project on."""
    (FOLDER / "folder").mkdir(exist_ok=True)
    descriptor = os.open(FOLDER / "folder", os.O_RDONLY)

    def change() -> None:
        before = bytearray(8)
        fcntl.ioctl(descriptor, GET_FLAGS, before)
        (now,) = struct.unpack("=Q", before)
        fcntl.ioctl(descriptor, SET_FLAGS, struct.pack("=Q", now & ~INHERITED))

    return attempt(change)


def by_call(number: int, *arguments: object) -> Outcome:
    libc = ctypes.CDLL(None, use_errno=True)

    def call() -> None:
        if libc.syscall(number, *arguments) != 0:
            raise OSError(ctypes.get_errno(), "")

    return attempt(call)


def unopened() -> Outcome:
    """The same as ``project`` by the newer system call."""
    os.close(own_file())
    attributes = ctypes.create_string_buffer(24)
    path = os.fsencode(FOLDER / "own")
    return by_call(FILE_SETATTR, -100, path, attributes, ctypes.c_size_t(24), 0)


def limit() -> Outcome:
    """Takes the limit away."""
    return by_call(QUOTACTL_FD, own_file(), SET_LIMIT, 0, ctypes.create_string_buffer(112))


ATTEMPTS: dict[str, Callable[[], Outcome]] = {
    one.__name__: one
    for one in (
        *(again, allocate, sparse, unnamed, inner, empty, links),
        *(project, flags, unopened, limit, write),
    )
}
"""In any folder."""
ELSEWHERE = {"mounted": mounted}

if __name__ == "__main__":
    print(json.dumps({one: {**ATTEMPTS, **ELSEWHERE}[one]() for one in sys.argv[1:]}))
