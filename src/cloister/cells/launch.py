"""Starts ``cloister-cell`` and watches it."""

import asyncio
import contextlib
import errno
import os
from asyncio.subprocess import Process

from cloister import wire
from cloister.cells import programs, spec
from cloister.cells.plan import CellPlan
from cloister.model.errors import CellError
from cloister.processes import LINE_LIMIT, connect_reader, end, memory_file

REPORT_LIMIT = 64 * 1024
"""Bytes of a failure report that are read."""


class CellProcess:
    """One running cell. Made by :meth:`start`."""

    def __init__(self, process: Process, name: str) -> None:
        self._process = process
        self.name = name
        self.pid = process.pid
        """The process id of ``cloister-cell`` on the host; the application is below it."""
        self.stdout = process.stdout
        """The application's output, where ``PIPE`` was asked for; read it, or it blocks."""
        self.stderr = process.stderr

    @classmethod
    async def start(
        cls,
        plan: CellPlan,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        program: str | None = None,
        start_timeout: float = 30.0,
    ) -> "CellProcess":
        """Builds the cell and returns when the application has been executed.

        ``stdin``, ``stdout`` and ``stderr`` are as for ``asyncio.create_subprocess_exec``;
        ``program`` is the path of ``cloister-cell``. The plan is closed in any case.
        Raises :class:`CellError` with the step that failed; nothing is left then, nor when
        the caller is cancelled.
        """
        try:
            streams = (stdin, stdout, stderr)
            return await cls._start(plan, streams, program, start_timeout)
        finally:
            plan.close()

    @classmethod
    async def _start(
        cls,
        plan: CellPlan,
        streams: tuple[int | None, int | None, int | None],
        program: str | None,
        start_timeout: float,
    ) -> "CellProcess":
        name = plan.spec.name
        with contextlib.ExitStack() as stack:
            spec_descriptor = memory_file("cell-spec", spec.encode(plan.spec))
            stack.callback(os.close, spec_descriptor)
            status_read, status_write = os.pipe2(os.O_CLOEXEC)
            # The transport owns the read end once it is connected; until then this does.
            unread = stack.enter_context(contextlib.ExitStack())
            unread.callback(os.close, status_read)
            unwritten = stack.enter_context(contextlib.ExitStack())
            unwritten.callback(os.close, status_write)
            process = await asyncio.create_subprocess_exec(
                program or programs.find("cloister-cell"),
                "run",
                "--spec-fd",
                str(spec_descriptor),
                "--status-fd",
                str(status_write),
                "--die-with-parent",
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                pass_fds=(spec_descriptor, status_write, *plan.descriptors),
                limit=LINE_LIMIT,
                # A Ctrl-C on the terminal is for the supervisor, which knows what to do.
                process_group=0,
            )
            try:
                unwritten.close()
                reader = asyncio.StreamReader()
                unread.pop_all()
                transport = await connect_reader(reader, status_read)
                try:
                    async with asyncio.timeout(start_timeout):
                        report = await _read_report(reader)
                finally:
                    transport.close()
                if report:
                    raise _failure(name, report)
            except TimeoutError as error:
                await end(process)
                raise CellError(
                    f"the cell of {name} is not ready after {start_timeout:g} s",
                    step="start",
                    errno=errno.ETIMEDOUT,
                    why="cloister-cell neither executed the application nor reported why not",
                    hint="look at the load of the machine, then try again",
                ) from error
            except BaseException:
                await end(process)
                raise
        return cls(process, name)

    @property
    def returncode(self) -> int | None:
        """Its exit status once it has ended; negative for a signal."""
        return self._process.returncode

    def signal(self, signum: int) -> None:
        """Sends a signal, which ``cloister-cell`` forwards to the application.

        ``SIGKILL`` ends the whole cell. Does nothing when it has ended.
        """
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signum)

    async def wait(self) -> int:
        """Its exit status; negative for a signal, as in asyncio.subprocess."""
        return await self._process.wait()


async def _read_report(reader: asyncio.StreamReader) -> bytes:
    """All that comes up to the end of the file: empty once the application is executed."""
    report = b""
    while len(report) < REPORT_LIMIT and (chunk := await reader.read(REPORT_LIMIT)):
        report += chunk
    return report


def _failure(name: str, report: bytes) -> CellError:
    """The error for a failure report; for one that cannot be read too."""
    try:
        failure = spec.decode(spec.Failure, report)
    except wire.WireError as error:
        return CellError(
            f"the cell of {name} failed, and its report cannot be read",
            step="report",
            errno=0,
            why=error.what,
            hint="check that cloister and cloister-cell are of the same version",
        )
    symbol = errno.errorcode.get(failure.errno, str(failure.errno))
    reason = f"{os.strerror(failure.errno)} ({symbol})"
    return CellError(
        f"the cell of {name} could not be made: {failure.description}",
        step=failure.step,
        errno=failure.errno,
        path=failure.path,
        why=reason if failure.path is None else f"{failure.path}: {reason}",
        hint=failure.hint,
    )
