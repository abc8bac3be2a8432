"""What project quotas bound, asked of the kernel about any folder, whoever has set the bound."""

import asyncio
import errno
import os
import struct
from collections.abc import Awaitable, Callable, Sequence
from fcntl import ioctl

from cloister.cells.quotas import helper
from cloister.cells.quotas.messages import Action, Answer, Look, Seen
from cloister.model.errors import CloisterError
from cloister.mounts import of_process

Ask = Callable[[Sequence[Action]], Awaitable[tuple[Answer, ...]]]

_GET_ATTRIBUTES = 0x801C581F
"""``FS_IOC_FSGETXATTR`` (linux/fs.h, ioctl_xfs_fsgetxattr(2))."""
_ATTRIBUTES = struct.Struct("=IIIII8x")
"""``struct fsxattr``: flags, two numbers, the project, another number."""
_INHERITED = 0x200
"""``FS_XFLAG_PROJINHERIT``: what is made in the folder belongs to its project."""
_NO_PROJECTS = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_NOT_TOLD = frozenset({errno.EPERM, errno.EACCES})
_AS_ROOT = "run it as root of the machine"


class Disks:
    """Answers, kept for as long as this object lives. Blocks for the time of a few system calls,
    and of a program that is started for each project with a folder that can be written to."""

    def __init__(self, ask: Ask = helper.ask) -> None:
        """``ask`` is for tests."""
        self._ask = ask
        self._unseen: dict[str, None] = {}
        self._limits: dict[tuple[int, int], int | None] = {}
        """Of each device's projects."""

    @property
    def unseen(self) -> tuple[str, ...]:
        """What could not be asked so far: there may be bounds that are not known."""
        return tuple(self._unseen)

    def bound(self, folder: str, shown: str) -> tuple[int, int] | None:
        """The project that whatever is made in a folder belongs to, and how many bytes that may
        have on its disk; ``None`` where nothing bounds it.

        ``folder`` is opened and not read; ``shown`` is how it is called in :attr:`unseen`.
        """
        try:
            found = _project(folder)
        except OSError as error:
            if error.errno in _NOT_TOLD:
                self._miss(shown, os.strerror(error.errno), _AS_ROOT)
            return None
        if found is None:
            return None
        if found not in self._limits:
            self._limits[found] = self._look(*found, shown)
        limit = self._limits[found]
        return None if limit is None else (found[1], limit)

    def _look(self, device: int, project: int, shown: str) -> int | None:
        point = _mounted(device)
        if point is None:
            self._miss(
                shown, "its disk is not mounted here", "run it in the host's mount namespace"
            )
            return None
        try:
            (seen,) = asyncio.run(_asked(self._ask, Look(point, project)))
        except CloisterError as error:
            self._miss(shown, error.why or error.what, error.hint or _AS_ROOT)
            return None
        assert isinstance(seen, Seen)  # noqa: S101 - the answer to a look
        if seen.refusal in _NOT_TOLD:
            self._miss(shown, os.strerror(seen.refusal), _AS_ROOT)
        return seen.usage.bytes_limit if seen.enforced and seen.usage.bytes_limit else None

    def _miss(self, shown: str, why: str, cure: str) -> None:
        self._unseen[f"whether a quota bounds what is in {shown}: {why}; next: {cure}"] = None


async def _asked(ask: Ask, look: Look) -> tuple[Answer, ...]:
    return await ask([look])


def _project(folder: str) -> tuple[int, int] | None:
    """The folder's device and project, where what is made in it belongs to one. Raises
    :class:`OSError` where it may not be looked at."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(folder, flags)
    try:
        answer = ioctl(descriptor, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size))
        device = os.fstat(descriptor).st_dev
    except OSError as error:
        if error.errno in _NO_PROJECTS:
            return None
        raise
    finally:
        os.close(descriptor)
    attributes, _, _, project, _ = _ATTRIBUTES.unpack(answer)
    return (device, project) if project and attributes & _INHERITED else None


def _mounted(device: int) -> str | None:
    """Where this process has a device's file system mounted, and nothing over it."""
    for mount in of_process(os.getpid()):
        try:
            # Another one may be over it.
            if mount.device == device and os.stat(mount.point).st_dev == device:  # noqa: PTH116
                return mount.point
        except OSError:
            continue
    return None
