"""The ways out of one command's cell: what ``run`` serves them with, and what it says of them."""

import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import click

from cloister.apps.egress import FAILED, Egress, Ways, received
from cloister.apps.logs import Level, LogEvent, Sink, harmless
from cloister.model.snapshot import DEFAULT_IDS, DoorOptions, Snapshot, default_paths

if TYPE_CHECKING:
    from cloister.cells.launch import CellProcess
    from cloister.model.app import App
    from cloister.model.isolation import HostIdentity

_HELD = 20
"""Lines that wait for a terminal: the newest."""


class Complaints(Sink):
    """Says on standard error what went wrong with a way out, and nothing else."""

    def __init__(self) -> None:
        """Has neither threads nor a stream of its own: what it says is short and rare."""
        self._held: deque[str] | None = None

    def emit(self, event: LogEvent) -> None:
        """Writes the event, if it is one. May block as standard error does."""
        if event.fields.get("outcome") in FAILED:
            why = event.fields.get("reason") or event.fields["outcome"]
            way = f"{event.fields['listener']} ({event.fields['target']})"
            text = f"nothing came of a connection to {way}: {why}"
        elif event.level in (Level.WARNING, Level.ERROR):
            text = event.message
        else:
            return
        line = f"cloister: {harmless(text)}"
        if self._held is None:
            click.echo(line, err=True)
        else:
            self._held.append(line)

    def hold(self) -> None:
        """Have lines wait while the terminal is the command's."""
        self._held = deque(maxlen=_HELD)

    def release(self) -> None:
        """Write those that wait, the newest, and let no other wait. Idempotent."""
        waiting, self._held = self._held or (), None
        for line in waiting:
            click.echo(line, err=True)


class CommandWays:
    """Serves the ways out of one cell; made by :func:`serving`."""

    def __init__(self, egress: Egress, ways: Ways) -> None:
        self._egress = egress
        self._ways = ways
        self.theirs = ways.theirs
        """Where the sockets come out of the cell."""

    async def begin(self, cell: "CellProcess") -> None:
        """Serve what listens in it. Raises :class:`CloisterError`; then it has ended."""
        self._egress.add(cell, await received(self._ways, cell))

    def end(self, cell: "CellProcess") -> None:
        """It has ended; nothing where it has not begun."""
        self._egress.remove(cell)


@contextlib.asynccontextmanager
async def serving(
    app: "App", identity: "HostIdentity | None", sink: Sink
) -> AsyncIterator[CommandWays | None]:
    """``None`` where the command has no way out. ``identity`` is whom their door becomes, and
    ``None`` leaves it the caller. At the end of the block no door is left."""
    if not app.egress:
        yield None
        return
    snapshot = Snapshot(
        source="",
        paths=default_paths(0, {}),
        ids=DEFAULT_IDS,
        door=DoorOptions(),
        listeners=(),
        apps=(),
    )
    egress = Egress(app, snapshot, identity, sink)
    with contextlib.closing(Ways(app)) as ways:
        try:
            yield CommandWays(egress, ways)
        finally:
            await egress.end()
