"""``cloister run``: one command in a default cell, in the foreground."""

import asyncio
import errno
import signal
from typing import TYPE_CHECKING

import click

from cloister.cli import one_command, output
from cloister.model.errors import CellError

if TYPE_CHECKING:
    from cloister.model.isolation import HostIdentity

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
FORWARDED = (*ENDING, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
"""What is meant for the command: the command has a session of its own, where the
terminal's keys do not reach it."""


@click.command(context_settings={"allow_interspersed_args": False})
@one_command.options
@click.argument("command_line", nargs=-1, required=True, metavar="COMMAND [ARGUMENT]...")
def command(
    binds: tuple[str, ...],
    environment: tuple[str, ...],
    directory: str | None,
    command_line: tuple[str, ...],
) -> int:
    """Run COMMAND in a default cell: no network, no files but the system's, no rights.

    Input and output stay as they are. Exits as COMMAND does, with 128 plus the signal's
    number where a signal ended it, 127 where there is no such program and 126 where it
    cannot be executed. Signals, Ctrl-C too, go to COMMAND.

    \b
    Examples:
      cloister run -- sh
      cloister run --directory . --bind ./out:/out:rw -- ./build --into /out
    """
    wanted = one_command.parse(command_line, binds, environment, directory)
    with one_command.identity() as identity:
        try:
            status = asyncio.run(_run(wanted, identity))
        except CellError as error:
            if error.step != "execute":
                raise
            # As a shell says it, and cloister-cell too.
            output.print_error(error)
            return 127 if error.errno == errno.ENOENT else 126
    return status if status >= 0 else 128 - status


async def _run(wanted: one_command.OneCommand, identity: "HostIdentity") -> int:
    from cloister.cells.launch import CellProcess

    loop = asyncio.get_running_loop()
    starting = asyncio.ensure_future(CellProcess.start(one_command.build(wanted, identity)))
    early: list[int] = []
    cell: CellProcess | None = None

    # One handler for both times: the loop runs a handler that it has chosen already even
    # where another one takes its place meanwhile.
    def take(signum: int) -> None:
        if cell is not None:
            cell.signal(signum)
            return
        # The command may run already, unknown to us: what came meanwhile is for it. Whoever
        # insists wants no command at all.
        early.append(signum)
        if len([signum for signum in early if signum in ENDING]) > 1:
            starting.cancel()

    for signum in FORWARDED:
        loop.add_signal_handler(signum, take, signum)
    try:
        cell = await starting
    except asyncio.CancelledError:
        return -early[0]
    for number in early:
        cell.signal(number)
    return await cell.wait()
