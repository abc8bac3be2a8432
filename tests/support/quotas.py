"""File systems with quotas of projects, in files, for tests."""

import contextlib
import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_SIZES = {"ext4": "96M", "xfs": "320M"}
_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-O", "project,quota"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
}
PLAIN = {"ext4": ("mkfs.ext4", "-q"), "xfs": _MAKE["xfs"]}
"""How file systems are made that have none."""
FILE_GETATTR = 468


@contextlib.contextmanager
def disk(
    kind: str, folder: Path, *, options: str = "prjquota", make: tuple[str, ...] | None = None
) -> Iterator[Path]:
    """A mounted file system, which everybody can pass; skips, with the reason, where this
    machine cannot have it."""
    command = make or _MAKE[kind]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    image, point = folder / f"{kind}.image", folder / kind
    subprocess.run(["truncate", "-s", _SIZES[kind], image], check=True)
    subprocess.run([*command, image], check=True, capture_output=True)
    point.mkdir()
    words = ",".join(word for word in ("loop", options) if word)
    done = subprocess.run(
        ["mount", "-t", kind, "-o", words, image, point],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        pytest.skip(f"{kind} with {words} cannot be mounted here")
    try:
        point.chmod(0o755)
        yield point
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)


def membership(path: Path) -> tuple[int, bool]:
    """The project of a file or folder, and whether it hands it on."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        found = bytearray(28)
        fcntl.ioctl(descriptor, 0x801C581F, found)
    finally:
        os.close(descriptor)
    flags, _, _, project = struct.unpack_from("=4I", found)
    return project, bool(flags & 0x200)


def project_of_unopened(path: Path) -> int:
    """Of a link, pipe or device; skips before Linux 6.17."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = ctypes.create_string_buffer(24)
    size, nofollow = ctypes.c_size_t(24), 0x100
    if libc.syscall(FILE_GETATTR, -100, os.fsencode(path), found, size, nofollow) != 0:
        pytest.skip("the kernel has no file_getattr(2) (Linux 6.17)")
    return int(struct.unpack_from("=QIII", found.raw)[3])
