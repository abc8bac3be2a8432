"""What a process of Cloister's own takes off itself before it meets hostile bytes."""

import ctypes
import os
import resource

CLONE_NEWIPC = 0x08000000
CLONE_NEWNET = 0x40000000
"""clone(2); ``os.unshare`` comes with Python 3.12."""
PR_SET_NO_NEW_PRIVS = 38
"""prctl(2)."""
MEMORY = 1024 * 1024 * 1024
"""Bytes of data; whoever makes it hold more is refused, not the host."""


def confine(uid: int | None, gid: int | None, groups: tuple[int, ...]) -> tuple[str, ...]:
    """Becomes ``uid``, where there is one, and gives up what it does not need.

    Returns what is in force. Sockets that it has go on working; new ones lead nowhere beyond
    this machine's file system where it is root that calls.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    taken = []
    if uid is not None and gid is not None:
        if libc.unshare(CLONE_NEWNET | CLONE_NEWIPC) == 0:
            taken.append("network")
        os.setgroups(list(groups))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)  # with it go all capabilities (capabilities(7))
        taken.append("user")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        taken.append("no-new-privileges")
    # No file and no other process comes from here.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_DATA, MEMORY)
    taken.append("limits")
    return tuple(taken)


def _lower(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (limit, limit))
