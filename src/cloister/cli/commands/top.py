"""``cloister top``: what the applications use, live."""

import dataclasses
import sys
import time
from typing import TYPE_CHECKING

import click

from cloister.cli import output
from cloister.model.errors import UsageError

if TYPE_CHECKING:
    from cloister.control.client import ControlClient
    from cloister.observe.rates import Observation, View
    from cloister.observe.usage import UsageReader

ORDERS = (
    *("cpu", "memory", "io", "tasks", "open", "connections"),
    *("bytes", "throttled", "oom", "restarts", "state", "name"),
)
"""As ``cloister.observe.rates`` has them; that module is not needed for ``--help``."""


@click.command()
@click.argument("config", required=False, type=click.Path())
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="The time between two looks; longer where a look takes longer than 2.5 % of it.",
)
@click.option("--sort", "order", type=click.Choice(ORDERS), default="cpu", show_default=True)
@click.option("--once", is_flag=True, help="Look twice, print one table, and exit.")
@output.json_option
def command(*, config: str | None, interval: float, order: str, once: bool, as_json: bool) -> None:
    """Show what the apps of the supervisor that runs CONFIG use: processors, memory, disks,
    processes, connections and bytes, and who is held back or short of memory.

    On a terminal it goes on until `q`; the keys stand at the bottom.

    \b
    Examples:
      cloister top
      cloister top --once --sort memory
      cloister top --once --json | jq '.rows[0]'
    """
    if as_json and not once:
        raise UsageError("--json goes with --once", hint="cloister top --once --json")
    if not once and not sys.stdout.isatty():
        raise UsageError("there is no terminal", hint="add --once")
    from cloister.cli.commands.status import control_socket
    from cloister.control.client import ControlClient
    from cloister.observe.usage import UsageReader

    reader = UsageReader()
    try:
        with ControlClient(control_socket(config)) as client:
            if once:
                _print(_look_twice(client, reader, interval), order, as_json=as_json)
            else:
                _watch(client, reader, interval, order)
    finally:
        reader.close()


def look_at(client: "ControlClient", reader: "UsageReader", observation: "Observation") -> "View":
    """One more moment of everything. Blocks. Raises as the client does."""
    brief = client.brief()
    return observation.add(brief, reader.read_all(brief.apps))


def _look_twice(client: "ControlClient", reader: "UsageReader", interval: float) -> "View":
    from cloister.observe.rates import Observation

    observation = Observation()
    look_at(client, reader, observation)
    time.sleep(interval)
    return look_at(client, reader, observation)


def _watch(client: "ControlClient", reader: "UsageReader", interval: float, order: str) -> None:
    from cloister.observe.top_screen import TopApp

    app = TopApp(lambda found: look_at(client, reader, found), interval=interval, order=order)
    app.run()


def _print(view: "View", order: str, *, as_json: bool) -> None:
    from cloister.observe.rates import ordered
    from cloister.observe.top_table import COLUMNS, cells

    rows = ordered(view.rows, order)
    if as_json:
        output.print_json(dataclasses.replace(view, rows=tuple(rows)))
        return
    headings = ("APP", *(heading for _, heading, _ in COLUMNS))
    output.print_table(headings, [(row.name, *cells(row)) for row in rows])
