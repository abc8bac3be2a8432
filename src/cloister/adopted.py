"""A process that another supervisor has started, by its pidfd (pidfd_open(2), Linux 5.3).

A pidfd means one process for ever, whatever becomes of its number.
"""

import asyncio
import contextlib
import fcntl
import os
import select
import signal
import struct
from pathlib import Path

UNKNOWN_STATUS = 255
"""Of a process that ended unwatched: its status went to whoever reaped it."""

_GET_INFO = 0xC040FF0B
"""PIDFD_GET_INFO (linux/pidfd.h, Linux 6.13), for the structure's first 64 bytes."""
_INFO = struct.Struct("=QQ11Ii")
"""struct pidfd_info: what is filled in, cgroup id, ids, wait status."""
_INFO_EXIT = 1 << 3
"""PIDFD_INFO_EXIT (Linux 6.15): the wait status, once somebody has reaped it."""


class AdoptedProcess:
    """As ``asyncio.subprocess.Process``, as far as it is used. Owns the pidfd.

    Lives on one event loop.
    """

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self.pid = pid_of(pidfd)
        """Its number now; 0 where it has ended."""
        self.returncode: int | None = None
        # Its output is read by whoever has its pipes.
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._loop.add_reader(pidfd, self._end)

    def send_signal(self, signum: int) -> None:
        """Raises :class:`ProcessLookupError` where it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        signal.pidfd_send_signal(self._pidfd, signum)

    def kill(self) -> None:
        """SIGKILL. Raises as :meth:`send_signal`."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit status, negative for a signal, where the kernel still knows it; else
        :data:`UNKNOWN_STATUS`."""
        return await asyncio.shield(self._ended)

    def _end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self.returncode = _status(self._pidfd)
        os.close(self._pidfd)
        self._ended.set_result(self.returncode)


def pid_of(pidfd: int) -> int:
    """The number of the process of a pidfd (proc_pid_fdinfo(5)); 0 where it was reaped."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "Pid":
            return max(0, int(value))
    return 0


def is_alive(pidfd: int) -> bool:
    """Whether the process of a pidfd has not ended."""
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(pidfd, 0)
        return not _readable(pidfd)
    return False


def _readable(pidfd: int) -> bool:
    watch = select.poll()
    watch.register(pidfd, select.POLLIN)
    return bool(watch.poll(0))


def _status(pidfd: int) -> int:
    with contextlib.suppress(OSError):
        answer = fcntl.ioctl(pidfd, _GET_INFO, _INFO.pack(_INFO_EXIT, *[0] * 13))
        mask, *_, status = _INFO.unpack(answer)
        if mask & _INFO_EXIT:
            return os.waitstatus_to_exitcode(status)
    return UNKNOWN_STATUS
