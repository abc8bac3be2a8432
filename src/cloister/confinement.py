"""What a process of Cloister's own takes off itself before it meets hostile bytes."""

import ctypes
import os
import resource

CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
"""clone(2); ``os.unshare`` comes with Python 3.12."""
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
"""prctl(2)."""
_CAPABILITY_VERSION_3 = 0x20080522
"""capset(2)."""
MEMORY = 1024 * 1024 * 1024
"""Bytes of data; whoever makes it hold more is refused, not the host."""


def confine(
    uid: int | None,
    gid: int | None,
    groups: tuple[int, ...],
    *,
    secret: bool = False,
    file_size: int = 0,
) -> tuple[str, ...]:
    """Becomes ``uid``, where there is one, and gives up what it does not need.

    ``secret`` is for a process with keys in its memory: that is no other process's, one of the
    same user neither, and there is no network whoever calls, where the kernel lets an ordinary
    user have none. No file that it writes is longer than ``file_size`` bytes.

    Returns what is in force. Sockets that it has go on working; new ones lead nowhere beyond
    this machine's file system where it is root that calls. One thread only may run.
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
    elif secret and _leave_network(libc):
        taken.append("network")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        taken.append("no-new-privileges")
    if secret and libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0:
        taken.append("memory")  # ptrace(2), proc(5): its files there are root's
    # No other process comes from here, and no file but as said.
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_DATA, MEMORY)
    taken.append("limits")
    return tuple(taken)


def _leave_network(libc: ctypes.CDLL) -> bool:
    """An ordinary user's way: in a user namespace with the same ids, and without the
    capabilities that come with it (user_namespaces(7))."""
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) != 0:
        return False
    for file, text in (
        ("setgroups", "deny"),
        ("gid_map", f"{gid} {gid} 1"),
        ("uid_map", f"{uid} {uid} 1"),
    ):
        with open(f"/proc/self/{file}", "w", encoding="ascii") as opened:  # noqa: PTH123 - proc(5)
            opened.write(text)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    return True


def _lower(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (limit, limit))
