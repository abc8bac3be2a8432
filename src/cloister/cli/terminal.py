"""A terminal of a command's own, joined to the caller's.

The command gets the one side of a new pair of pseudo-terminals (pty(7)), and this process
copies between the other side and the caller's terminal. The command then has a controlling
terminal, and job control in it; what it pushes into that (ioctl_tty(2), TIOCSTI) it reads
itself, and nobody else.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import termios
import tty
from types import TracebackType
from typing import Self

_CHUNK = 65536
_INPUT_LIMIT = 65536
"""Bytes that wait for a command that does not read: then the caller's terminal waits."""


class OwnTerminal:
    """The pair of terminals, and the copying; a context that puts the caller's right again.

    Make it where standard input is a terminal, in a running loop, before the command.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._caller = 0
        self._display = next((fd for fd in (1, 2) if os.isatty(fd)), self._caller)
        self._saved = termios.tcgetattr(self._caller)
        self._ours, theirs = os.openpty()
        self._theirs: int | None = theirs
        termios.tcsetattr(theirs, termios.TCSANOW, self._saved)
        os.set_blocking(self._ours, False)
        self._waiting = bytearray()
        self._raw = False
        self.resized()

    def stream(self, number: int) -> int | None:
        """For a standard stream of the command: its terminal where the caller's is one too,
        else ``None``, which is the caller's own stream.
        """
        return self._theirs if os.isatty(number) else None

    def __enter__(self) -> Self:
        self._loop.add_reader(self._ours, self._show)
        self.continued()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._let_go()
        self._loop.remove_writer(self._ours)
        self._loop.remove_reader(self._ours)
        self.started()
        while self._show():
            pass
        os.close(self._ours)

    def started(self) -> None:
        """Leaves the command's side to the command, whose end is then seen. Idempotent."""
        if self._theirs is not None:
            os.close(self._theirs)
            self._theirs = None

    def resized(self) -> None:
        """Passes the size of the caller's terminal on; the command gets SIGWINCH."""
        size = fcntl.ioctl(self._caller, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def continued(self) -> None:
        """Takes the caller's terminal, where this process is in its foreground. Idempotent."""
        foreground = os.tcgetpgrp(self._caller) == os.getpgrp()
        if foreground and not self._raw:
            self._saved = termios.tcgetattr(self._caller)
            tty.setraw(self._caller, termios.TCSADRAIN)
            self._raw = True
            self.resized()
            self._loop.add_reader(self._caller, self._take)

    def stop(self) -> None:
        """Stops this job, as a key does that means it; returns when it is continued."""
        self._let_go()
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        self.continued()

    def _let_go(self) -> None:
        self._loop.remove_reader(self._caller)
        if self._raw:
            termios.tcsetattr(self._caller, termios.TCSADRAIN, self._saved)
            self._raw = False

    def _take(self) -> None:
        """What was typed."""
        with contextlib.suppress(BlockingIOError, InterruptedError):
            typed = os.read(self._caller, _CHUNK)
            self._waiting += typed
            self._pass_on()
            if not typed or len(self._waiting) >= _INPUT_LIMIT:
                self._loop.remove_reader(self._caller)

    def _pass_on(self) -> None:
        try:
            del self._waiting[: os.write(self._ours, self._waiting)]
        except BlockingIOError:
            pass
        except OSError as error:
            # EIO: nobody has the command's side any more.
            if error.errno != errno.EIO:
                raise
            self._waiting.clear()
        if self._waiting:
            self._loop.add_writer(self._ours, self._pass_on)
        else:
            self._loop.remove_writer(self._ours)
            if self._raw:
                self._loop.add_reader(self._caller, self._take)

    def _show(self) -> bool:
        """What the command wrote; whether there was anything."""
        try:
            written = os.read(self._ours, _CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._loop.remove_reader(self._ours)
            return False
        rest = memoryview(written)
        while rest:
            rest = rest[os.write(self._display, rest) :]
        return bool(written)


def own_terminal() -> contextlib.AbstractContextManager[OwnTerminal | None]:
    """One where standard input is a terminal."""
    return OwnTerminal() if os.isatty(0) else contextlib.nullcontext()


def was_stopped(pid: int) -> bool:
    """Whether the child ``pid`` has been stopped since this was asked last."""
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG) is not None
    except ChildProcessError:
        return False
