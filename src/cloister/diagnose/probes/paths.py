"""Walking a path in somebody's view of the file system, entry by entry."""

import errno
import os
import stat
import struct

from cloister.diagnose.facts import AclEntry, Kind, Step, Walk

_LINKS = 40
"""As many as the kernel follows (path_resolution(7))."""

_ACL_HEADER = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_TAGS = {0x01: "user", 0x02: "user", 0x04: "group", 0x08: "group", 0x10: "mask", 0x20: "other"}
_ACL_QUALIFIED = {0x02, 0x08}
"""linux/posix_acl_xattr.h and linux/posix_acl.h: ACL_USER_OBJ and its like."""


def walk(root: str, path: str) -> Walk:
    """``path``, seen by whoever has ``root`` as root directory (``/`` or ``/proc/PID/root``).

    Opens directories with ``O_PATH`` only: nothing is read, no automount is started, and no
    device is opened. Blocks for the file system. Never raises.
    """
    steps: list[Step] = []
    try:
        start = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return Walk(path, (), error.errno or errno.EIO, "/")
    opened = [(start, "/")]
    try:
        steps.append(_step(start, "/"))
        _walk(opened, path, steps)
    except _EndError as end:
        return Walk(path, tuple(steps), end.errno, end.at)
    finally:
        for descriptor, _ in opened:
            os.close(descriptor)
    return Walk(path, tuple(steps))


class _EndError(Exception):
    """The path ends before its end."""

    def __init__(self, number: int, at: str) -> None:
        self.errno = number
        self.at = at


def _walk(opened: list[tuple[int, str]], path: str, steps: list[Step]) -> None:
    """``opened`` is the way from the root to where we are, so that ``..`` is one step back."""
    waiting = [part for part in path.split("/") if part not in ("", ".")]
    links = 0
    while waiting:
        part = waiting.pop(0)
        if part == "..":
            if len(opened) > 1:
                os.close(opened.pop()[0])
            continue
        folder, name = opened[-1]
        place = f"{name.rstrip('/')}/{part}"
        try:
            entry = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            raise _EndError(error.errno or errno.EIO, place) from None
        opened.append((entry, place))
        step = _step(entry, place)
        steps.append(step)
        if step.kind is Kind.LINK:
            os.close(opened.pop()[0])
            links += 1
            if links > _LINKS:
                raise _EndError(errno.ELOOP, place)
            target = step.link or ""
            waiting[:0] = [one for one in target.split("/") if one not in ("", ".")]
            if target.startswith("/"):
                while len(opened) > 1:
                    os.close(opened.pop()[0])
        elif waiting and step.kind is not Kind.DIRECTORY:
            raise _EndError(errno.ENOTDIR, place)


def _step(entry: int, place: str) -> Step:
    found = os.fstat(entry)
    kind = Kind.of(found.st_mode)
    return Step(
        path=place,
        kind=kind,
        device=found.st_dev,
        inode=found.st_ino,
        uid=found.st_uid,
        gid=found.st_gid,
        mode=stat.S_IMODE(found.st_mode),
        acl=() if kind is Kind.LINK else _acl(entry),
        link=os.readlink("", dir_fd=entry) if kind is Kind.LINK else None,
    )


def _acl(entry: int) -> tuple[AclEntry, ...]:
    try:
        raw = os.getxattr(f"/proc/self/fd/{entry}", "system.posix_acl_access")
    except OSError:
        return ()  # none, or a file system without lists
    entries = []
    for tag, permissions, qualifier in _ACL_ENTRY.iter_unpack(raw[_ACL_HEADER.size :]):
        if tag in _ACL_TAGS:
            known = qualifier if tag in _ACL_QUALIFIED else None
            entries.append(AclEntry(_ACL_TAGS[tag], known, permissions))
    return tuple(entries)
