"""Both ends of a relayed connection, driven step by step by a test.

Every step has a deadline: a socket that stays silent fails the test and does not hang it.
"""

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from tests.support.waiting import wait_until

STEP = 10.0
"""Seconds that one step may take."""


class Peer:
    """A connected stream socket, which it owns."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(STEP)

    def send(self, data: bytes | memoryview) -> None:
        """All of it."""
        self.socket.sendall(data)

    def is_refused(self, data: bytes) -> bool:
        """Whether sending fails because the other side is gone."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False

    def receive(self, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        received = bytearray(length)
        view = memoryview(received)
        filled = 0
        while filled < length:
            count = self.socket.recv_into(view[filled:])
            assert count, f"the end came after {filled} of {length} bytes: {received[:64]!r}"
            filled += count
        return bytes(received)

    def receive_rest(self) -> bytes:
        """All until the orderly end."""
        received = bytearray()
        while chunk := self.socket.recv(1 << 16):
            received += chunk
        return bytes(received)

    def finish(self) -> None:
        """Ends the own direction; the other one goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def receive_pending(self) -> bytes | None:
        """What has arrived already, at most 64 KiB; empty at the end, ``None`` for nothing."""
        self.socket.settimeout(0)
        try:
            return self.socket.recv(1 << 16)
        except BlockingIOError:
            return None
        finally:
            self.socket.settimeout(STEP)

    def receive_rest_unless_reset(self) -> bytes:
        """All until the end, whichever it is."""
        received = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while chunk := self.socket.recv(1 << 16):
                received += chunk
        return bytes(received)

    def expect_end(self) -> None:
        """The other side has ended its direction, without a further byte."""
        rest = self.receive_rest()
        assert rest == b"", f"{len(rest)} bytes before the end: {rest[:64]!r}"

    def expect_reset(self) -> None:
        """The other side has aborted the connection."""
        try:
            received = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return
        raise AssertionError(f"no reset, but {received[:64]!r}")

    def expect_silence(self, seconds: float = 0.1) -> None:
        """Nothing arrives for a while: neither bytes nor an end."""
        self.socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            received = self.socket.recv(1)
            raise AssertionError("an end" if received == b"" else f"bytes: {received!r}")
        self.socket.settimeout(STEP)

    def abort(self) -> None:
        """Resets a TCP connection: what was not sent is thrown away."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    @property
    def address(self) -> tuple[str, int]:
        """The own IP address and port."""
        host, port = self.socket.getsockname()[:2]
        return str(host), int(port)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class UnixListener:
    """A target: a listening Unix socket at a path of any length, taken by hand.

    It owns the connections that it accepts: a test that fails half-way leaves none open.
    """

    def __init__(self, path: Path, *, backlog: int = 128, mode: int = 0o666) -> None:
        self.path = path
        self._accepted: list[Peer] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_path(path) as short:
                self.socket.bind(short)
            path.chmod(mode)
            self.socket.listen(backlog)
        except BaseException:
            self.socket.close()
            raise
        self.socket.settimeout(STEP)

    def accept(self) -> Peer:
        """The next connection."""
        connection, _ = self.socket.accept()
        return self._own(connection)

    def accept_pending(self) -> Peer | None:
        """The connection that waits in the queue, if there is one."""
        self.socket.settimeout(0)
        try:
            connection, _ = self.socket.accept()
        except BlockingIOError:
            return None
        finally:
            self.socket.settimeout(STEP)
        return self._own(connection)

    def is_contacted(self) -> bool:
        """Whether a connection waits in the queue; it is closed."""
        pending = self.accept_pending()
        if pending is not None:
            pending.close()
        return pending is not None

    def _own(self, connection: socket.socket) -> Peer:
        self._accepted.append(Peer(connection))
        return self._accepted[-1]

    def close(self) -> None:
        """Closes the socket and all that it accepted, and removes its path."""
        self.socket.close()
        for peer in self._accepted:
            peer.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "UnixListener":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Another path of the same file, which fits into ``sun_path`` (108 bytes, unix(7))."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class HostsDirectory:
    """A hosts directory that an unprivileged door can search."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        path.chmod(0o755)

    def folder(self, name: str) -> Path:
        """The folder of a host, made where it is missing."""
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        return folder

    def listen(self, name: str, *, backlog: int = 128, mode: int = 0o666) -> UnixListener:
        """A target for the host ``name``."""
        return UnixListener(self.folder(name) / "tls-socket", backlog=backlog, mode=mode)


def wait_for_socket(path: Path) -> None:
    """Until there is a socket at ``path``."""
    wait_until(
        lambda: path.exists() and stat.S_ISSOCK(path.stat().st_mode), what=f"a socket at {path}"
    )
