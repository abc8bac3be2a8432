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
    from cloister.observe.routes import WayRow
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
@click.option(
    "--routes", is_flag=True, help="With --once: the door's routes instead of applications."
)
@output.json_option
def command(
    *,
    config: str | None,
    interval: float,
    order: str,
    once: bool,
    routes: bool,
    as_json: bool,
) -> None:
    """Show what the apps of the supervisor that runs CONFIG use: processors, memory, disks,
    processes, connections and bytes, and who is held back or short of memory.

    On a terminal it goes on until `q`; the keys stand at the bottom, `d` is for the door's
    listeners and routes, Enter for the ways out of the marked application. The door counts by
    listener and by application: the numbers of a route are those of its application, by
    whichever name it was reached.

    \b
    Examples:
      cloister top
      cloister top --once --sort memory
      cloister top --once --routes
      cloister top --once --json | jq '.rows[0]'
    """
    if as_json and not once:
        raise UsageError("--json goes with --once", hint="cloister top --once --json")
    if routes and not once:
        raise UsageError("--routes goes with --once", hint="cloister top --once --routes")
    if not once and not sys.stdout.isatty():
        raise UsageError("there is no terminal", hint="add --once")
    from cloister.cli.commands.status import control_socket
    from cloister.control.client import ControlClient
    from cloister.observe.usage import UsageReader

    reader = UsageReader()
    try:
        with ControlClient(control_socket(config)) as client:
            if once:
                view, known = _look_twice(client, reader, interval)
                _print(view, known, order, routes=routes, as_json=as_json)
            else:
                _watch(client, reader, interval, order)
    finally:
        reader.close()


def look_at(client: "ControlClient", reader: "UsageReader", observation: "Observation") -> "View":
    """One more moment of everything. Blocks. Raises as the client does."""
    brief = client.brief()
    return observation.add(brief, reader.read_all(brief.apps))


def _look_twice(
    client: "ControlClient", reader: "UsageReader", interval: float
) -> "tuple[View, tuple[WayRow, ...]]":
    from cloister.observe.rates import Observation
    from cloister.observe.routes import rows, ways

    observation = Observation()
    look_at(client, reader, observation)
    time.sleep(interval)
    view = look_at(client, reader, observation)
    known = ways(client.status())
    return view, rows(known, {row.name: row for row in view.rows}, view.listeners)


def _watch(client: "ControlClient", reader: "UsageReader", interval: float, order: str) -> None:
    from cloister.observe.top_screen import TopApp

    app = TopApp(
        lambda found: look_at(client, reader, found),
        status=client.status,
        app=client.app,
        interval=interval,
        order=order,
    )
    app.run()


def _print(
    view: "View", known: "tuple[WayRow, ...]", order: str, *, routes: bool, as_json: bool
) -> None:
    from cloister.observe.rates import ordered
    from cloister.observe.top_routes import HEADINGS, way_cells
    from cloister.observe.top_table import COLUMNS, cells

    rows = ordered(view.rows, order)
    if as_json:
        whole = dataclasses.asdict(dataclasses.replace(view, rows=tuple(rows)))
        output.print_json(whole | {"routes": [dataclasses.asdict(one) for one in known]})
        return
    if routes:
        output.print_table(HEADINGS, [way_cells(one) for one in known])
        return
    headings = ("APP", *(heading for _, heading, _ in COLUMNS))
    output.print_table(headings, [(row.name, *cells(row)) for row in rows])
