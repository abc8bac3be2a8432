"""Has ``cloister-cell disk`` obey an order: trees may be large, and the kernel is asked there."""

import asyncio
import errno
import os
from collections.abc import Sequence

from cloister import wire
from cloister.cells import programs
from cloister.cells.quotas.messages import Action, Answer, DiskOrder, Failed
from cloister.model.errors import CloisterError
from cloister.processes import end, memory_file

PATIENCE = 1800.0
"""Seconds: a disk reads some thousand folders in each."""


async def ask(actions: Sequence[Action], *, program: str | None = None) -> tuple[Answer, ...]:
    """An answer for each action, in their order. Where the caller is cancelled the program
    ends, and what it has done stays.

    ``program`` is the path of ``cloister-cell``. Raises :class:`CloisterError` where an action
    fails.
    """
    if not actions:
        return ()
    descriptor = memory_file("disk-order", wire.encode(DiskOrder(tuple(actions))))
    try:
        process = await asyncio.create_subprocess_exec(
            program or programs.find("cloister-cell"),
            *("disk", "--order-fd", str(descriptor)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            process_group=0,
        )
    finally:
        os.close(descriptor)
    try:
        async with asyncio.timeout(PATIENCE):
            output, complaint = await process.communicate()
    except TimeoutError as error:
        raise CloisterError(
            f"the disks are not looked through after {PATIENCE:g} s",
            why="a tree is too large, or its disk does not answer",
            hint="give the application a smaller folder to write to",
        ) from error
    finally:
        await end(process)
    return _understand(actions, output, complaint)


def _understand(actions: Sequence[Action], output: bytes, complaint: bytes) -> tuple[Answer, ...]:
    try:
        answers = tuple(wire.decode(Answer, line) for line in output.splitlines())
    except wire.WireError as error:
        raise _unreadable(error.what) from error
    if answers and isinstance(answers[-1], Failed):
        raise _failure(answers[-1])
    if len(answers) != len(actions):
        raise _unreadable(complaint.decode(errors="replace").strip() or "it ended early")
    return answers


def _unreadable(why: str) -> CloisterError:
    return CloisterError(
        "nothing is known of the quotas of disks",
        why=why,
        hint="check that cloister and cloister-cell are of the same version",
    )


def _failure(failed: Failed) -> CloisterError:
    if failed.foreign is not None:
        return CloisterError(
            f"{failed.path} belongs to project {failed.foreign} already",
            why="somebody else bounds by it what may be there (/etc/projects)",
            hint=f"take it away, for example by `chattr -R -P -p 0 {failed.path}`, or give the "
            "application another folder",
        )
    hints = {
        errno.EMFILE: "folders lie in each other too deep: remove the innermost ones",
        errno.EPERM: "that takes root's rights over the host (CAP_SYS_ADMIN), not only over a "
        "container",
    }
    return CloisterError(
        f"it does not work to {failed.description}",
        why=f"{failed.path}: {os.strerror(failed.errno)}",
        hint=hints.get(failed.errno),
    )
