"""``cloister run``: one command in a cell of its own, in the foreground."""

import asyncio
import errno
import signal
from typing import TYPE_CHECKING, Any

import click

from cloister.cli import cell_options, one_command, output
from cloister.cli.terminal import OwnTerminal, own_terminal, was_stopped
from cloister.model.errors import CellError

if TYPE_CHECKING:
    from cloister.cells.cgroups.app_group import AppGroup
    from cloister.cells.launch import CellProcess
    from cloister.cli.ways_out import CommandWays
    from cloister.model.isolation import HostIdentity

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
FORWARDED = (*ENDING, signal.SIGUSR1, signal.SIGUSR2)
"""What is meant for the command: the command has a session of its own, where the
terminal's keys do not reach it."""


@click.command(context_settings={"allow_interspersed_args": False})
@cell_options.options
@click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    help="Take the user id from the range of this configuration's supervisor."
    " Default: /etc/cloister/cloister.toml, where it is.",
)
@click.argument("command_line", nargs=-1, required=True, metavar="COMMAND [ARGUMENT]...")
def command(command_line: tuple[str, ...], config: str | None, **given: Any) -> int:
    """Run COMMAND in a default cell: no network, no files but the system's, no rights.

    Input and output stay as they are; on a terminal COMMAND has one of its own, with job
    control, so that it cannot type for the caller. Exits as COMMAND does, with 128 plus the
    signal's number where a signal ended it, 127 where there is no such program and 126 where
    it cannot be executed. Signals go to COMMAND.

    \b
    Examples:
      cloister run -- sh
      cloister run --directory . --bind ./out:/out:rw -- ./build --into /out
      cloister run --rootfs ./image --uid-map 0:600000:1000 --uid 0 -- /bin/sh
      cloister run --limit memory=256M --limit cpu-max=0.5 -- make
      cloister run --share network -- curl https://example.org
      cloister run --egress db.internal:5432 -- psql -h db.internal
    """
    from cloister.cells.cgroups.passing import passing_group

    wanted = one_command.OneCommand(command_line, cell_options.parse(given))
    bounds = wanted.cell.limits
    with (
        one_command.identity(config) as identity,
        one_command.door_identity(wanted, config) as door,
        passing_group(cell_options.NAME, bounds) as group,
    ):
        try:
            status = asyncio.run(_bounded(wanted, config, identity, group, door))
        except CellError as error:
            if error.step != "execute":
                raise
            # As a shell says it, and cloister-cell too.
            output.print_error(error)
            return 127 if error.errno == errno.ENOENT else 126
    return status if status >= 0 else 128 - status


async def _bounded(
    wanted: one_command.OneCommand,
    config: str | None,
    identity: "HostIdentity",
    group: "AppGroup",
    door: "HostIdentity | None",
) -> int:
    from cloister.model.disk import is_bounded

    if not is_bounded(wanted.app):
        return await _served(wanted, identity, group, door)
    from cloister.cells.quotas.passing import passing_bound

    async with passing_bound(wanted.app, one_command.projects(config)):
        return await _served(wanted, identity, group, door)


async def _served(
    wanted: one_command.OneCommand,
    identity: "HostIdentity",
    group: "AppGroup",
    door: "HostIdentity | None",
) -> int:
    """Runs the command with what serves its ways out; ``door`` is whom that becomes."""
    if not wanted.cell.egress:
        # Most commands have none, and what serves them takes a while to load.
        with own_terminal() as terminal:
            return await _run(wanted, identity, group, terminal, None)
    from cloister.cli.ways_out import Complaints, serving

    sink = Complaints()
    async with serving(wanted.app, door, sink) as ways:
        try:
            with own_terminal() as terminal:
                if terminal is not None:
                    sink.hold()
                return await _run(wanted, identity, group, terminal, ways)
        finally:
            sink.release()


async def _run(
    wanted: one_command.OneCommand,
    identity: "HostIdentity",
    group: "AppGroup",
    terminal: OwnTerminal | None,
    ways: "CommandWays | None",
) -> int:
    from cloister.cells.launch import CellProcess
    from cloister.cells.spec import Stdin

    loop = asyncio.get_running_loop()
    stdin = None if terminal is None else Stdin.TERMINAL
    egress = None if ways is None else ways.theirs
    plan = one_command.build(wanted, identity, stdin=stdin, groups=group, egress=egress)
    streams = [None if terminal is None else terminal.stream(number) for number in range(3)]
    starting = asyncio.ensure_future(
        CellProcess.start(plan, stdin=streams[0], stdout=streams[1], stderr=streams[2])
    )
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
    if terminal is None:
        loop.add_signal_handler(signal.SIGWINCH, take, signal.SIGWINCH)
    try:
        cell = await starting
    except asyncio.CancelledError:
        return -early[0]
    if ways is not None:
        await ways.begin(cell)
    if terminal is not None:
        _join(terminal, cell)
    for number in early:
        cell.signal(number)
    try:
        return await cell.wait()
    finally:
        if ways is not None:
            ways.end(cell)
        # The terminal is given back before the last connection has ended.
        for number in (signal.SIGWINCH, signal.SIGCONT, signal.SIGCHLD):
            loop.remove_signal_handler(number)


def _join(terminal: OwnTerminal, cell: "CellProcess") -> None:
    """Has size, stops and continuations pass between the caller's terminal and the command's."""
    loop = asyncio.get_running_loop()

    def child() -> None:
        if was_stopped(cell.pid):
            terminal.stop()
            cell.signal(signal.SIGCONT)

    terminal.started()
    loop.add_signal_handler(signal.SIGWINCH, terminal.resized)
    loop.add_signal_handler(signal.SIGCONT, terminal.continued)
    loop.add_signal_handler(signal.SIGCHLD, child)
    # It may have been stopped, and the terminal resized, before anybody looked.
    child()
    terminal.resized()
