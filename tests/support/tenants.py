"""Users of the host who share a hosts directory, and trust nobody."""

import contextlib
import os
from collections.abc import Iterator

ALICE = 61_001
MALLORY = 61_002


@contextlib.contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """The block runs with this user's rights, all threads of the tests with it; needs root.

    What it makes is the user's, and so is a socket that it listens on (unix(7)
    ``SO_PEERCRED``: the effective user at listen(2)).
    """
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


SWAP = """
import ctypes, os, sys
uid, folder, one, other = int(sys.argv[1]), *map(os.fsencode, sys.argv[2:])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
os.chdir(folder)
rename = ctypes.CDLL(None, use_errno=True).renameat2
print("ready", flush=True)
# AT_FDCWD; RENAME_EXCHANGE: both names change hands in one step.
for _ in range(20_000_000):
    if rename(-100, one, -100, other, 2):
        sys.exit(os.strerror(ctypes.get_errno()))
"""
"""A program: a user exchanges two names of a folder as fast as it can, for some minutes at
most. Arguments: the user id, the folder, the names."""
