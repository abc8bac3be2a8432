"""Starts ``cloister-cell`` and watches it."""

import asyncio
import contextlib
import errno
import os
import signal
from asyncio.subprocess import Process

from cloister import wire
from cloister.adopted import AdoptedProcess
from cloister.cells import programs, spec
from cloister.cells.cgroups.app_group import CellGroup
from cloister.cells.plan import CellPlan
from cloister.model.errors import CellError
from cloister.processes import LINE_LIMIT, connect_reader, end, memory_file

_REMOVAL_PAUSES = 2.0
"""Seconds: the longest pause, and about how long all take. What cannot be killed (it waits for a
broken disk) keeps its group, which the next supervisor clears away."""
REPORT_LIMIT = 64 * 1024
"""Bytes of a failure report that are read."""


class CellProcess:
    """One running cell. Made by :meth:`start`."""

    def __init__(
        self,
        process: Process | AdoptedProcess,
        name: str,
        fences: tuple[spec.Fence, ...] = (),
        group: CellGroup | None = None,
    ) -> None:
        self._process = process
        self._group = group
        self.fences = fences
        """What is in force, as ``cloister-cell`` has said."""
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
        lifeline: int | None = None,
        start_timeout: float = 30.0,
    ) -> "CellProcess":
        """Builds the cell and returns when the application has been executed.

        ``stdin``, ``stdout`` and ``stderr`` are as for ``asyncio.create_subprocess_exec``;
        ``program`` is the path of ``cloister-cell``. ``lifeline`` is the reading end of a
        pipe: the cell ends when nobody has its writing end any more; without it, it ends with
        this process. The plan is closed in any case, and its
        control groups are removed at the end of the cell.
        Raises :class:`CellError` with the step that failed; nothing is left then, nor when
        the caller is cancelled.
        """
        group = plan.take_group()
        try:
            streams = (stdin, stdout, stderr)
            process, fences = await cls._start(plan, streams, program, lifeline, start_timeout)
            return cls(process, plan.spec.name, fences, group)
        except BaseException:
            await _remove(group)
            raise
        finally:
            plan.close()

    @classmethod
    async def _start(
        cls,
        plan: CellPlan,
        streams: tuple[int | None, int | None, int | None],
        program: str | None,
        lifeline: int | None,
        start_timeout: float,
    ) -> tuple[Process, tuple[spec.Fence, ...]]:
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
                *(("--die-with-parent",) if lifeline is None else ("--lifeline-fd", str(lifeline))),
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                pass_fds=(
                    spec_descriptor,
                    status_write,
                    *plan.descriptors,
                    *(() if lifeline is None else (lifeline,)),
                ),
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
                fences, failure = _understand(name, report)
                if failure is not None:
                    raise failure
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
        return process, fences

    @property
    def group(self) -> str | None:
        """The folder of its own control group."""
        return None if self._group is None else self._group.folder

    @property
    def returncode(self) -> int | None:
        """Its exit status once it has ended; negative for a signal."""
        return self._process.returncode

    def signal(self, signum: int) -> None:
        """Sends a signal, which ``cloister-cell`` forwards to the application.

        ``SIGKILL`` ends the whole cell. Does nothing when it has ended.
        """
        if signum == signal.SIGKILL and self._group is not None and self.returncode is None:
            # Also what is in no pid namespace that would end with the launcher.
            self._group.kill()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signum)

    async def wait(self) -> int:
        """Its exit status; negative for a signal, as in asyncio.subprocess. Nothing of the
        cell is left then."""
        status = await self._process.wait()
        group, self._group = self._group, None
        await _remove(group)
        return status


async def _remove(group: CellGroup | None) -> None:
    """Kill what is left of a cell, and remove its group. What ends takes a moment."""
    pause = 0.001
    while group is not None and not group.remove() and pause < _REMOVAL_PAUSES:
        group.kill()
        await asyncio.sleep(pause)
        pause *= 2


async def _read_report(reader: asyncio.StreamReader) -> bytes:
    """All that comes up to the end of the file, a message on each line."""
    report = b""
    while len(report) < REPORT_LIMIT and (chunk := await reader.read(REPORT_LIMIT)):
        report += chunk
    return report


def _understand(name: str, report: bytes) -> tuple[tuple[spec.Fence, ...], CellError | None]:
    """What is in force, and the error where there is a failure; also for a report that cannot
    be read, and for one that does not say what is in force."""
    fences: tuple[spec.Fence, ...] | None = None
    error = "it ended without a word on what fences it has put up"
    for line in report.splitlines():
        try:
            if fences is None and b'"fences"' in line:
                fences = spec.decode(spec.Effect, line).fences
            else:
                return fences or (), _failure(name, spec.decode(spec.Failure, line))
        except wire.WireError as problem:
            fences, error = None, problem.what
            break
    if fences is not None:
        return fences, None
    return (), CellError(
        f"the cell of {name} failed, and its report cannot be read",
        step="report",
        errno=0,
        why=error,
        hint="check that cloister and cloister-cell are of the same version",
    )


def _failure(name: str, failure: spec.Failure) -> CellError:
    """The error for a failure report."""
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
