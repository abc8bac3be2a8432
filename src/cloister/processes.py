"""What the drivers of both programs share: files in memory, pipes, a careful end."""

import asyncio
import contextlib
import fcntl
import os
import resource
import sys
from collections.abc import Iterable
from typing import Protocol, SupportsIndex

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
"""memfd_create(2): whoever gets the descriptor can only read the content."""

LINE_LIMIT = 256 * 1024
"""Bytes of one line read from a program. A connection record repeats what a client offered
in its ClientHello (16 KiB), and JSON may need six bytes for one."""


def memory_file(name: str, content: bytes) -> int:
    """A sealed, close-on-exec memfd that holds ``content``, at its start.

    The caller closes it. Does not block.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class TailReader(asyncio.StreamReader):
    """A stream that remembers its last bytes, whoever reads it."""

    KEPT = 4096

    def __init__(self) -> None:
        super().__init__(limit=LINE_LIMIT)
        self._tail = b""
        self.ended = asyncio.Event()
        """Set at the end of the file."""

    def feed_eof(self) -> None:
        """Called by the transport at the end of the file."""
        self.ended.set()
        super().feed_eof()

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Called by the transport for all that arrives."""
        data = bytes(data)
        self._tail = (self._tail + data)[-self.KEPT :]
        super().feed_data(data)

    def last_lines(self, count: int = 10) -> str:
        """The last lines that arrived, without the newline after them."""
        return "\n".join(self._tail.decode(errors="replace").splitlines()[-count:])


async def connect_reader(reader: asyncio.StreamReader, descriptor: int) -> asyncio.ReadTransport:
    """Feeds ``reader`` from the pipe ``descriptor``, which the returned transport owns.

    The transport closes itself at the end of the file.
    """
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
    except BaseException:
        pipe.close()
        raise
    return transport


class Endable(Protocol):
    """A process that can be killed and waited for."""

    @property
    def returncode(self) -> int | None:
        """Its exit status once it has ended."""

    def kill(self) -> None:
        """SIGKILL."""

    async def wait(self) -> int:
        """Its exit status."""


async def end(process: Endable) -> int:
    """Kills ``process`` where it still runs, and returns its status.

    Goes on when the caller is cancelled meanwhile, so that no zombie stays; the
    cancellation is raised afterwards.
    """
    if process.returncode is None:
        process.kill()
    waiting = asyncio.ensure_future(process.wait())
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        await waiting
        raise


def raise_descriptor_limit() -> int:
    """Takes as many descriptors as the system allows, which needs no privilege: most shells
    give 1024, for programs that use select(2). Returns how many that are by now.

    Children inherit it: whoever is to have fewer is to be given fewer (setrlimit(2)).
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
