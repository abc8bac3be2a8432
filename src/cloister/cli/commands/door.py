"""``cloister door``: what can be done with the door of a running supervisor."""

import click

from cloister.cli import output


@click.group()
def command() -> None:
    """Care for the door of a running supervisor."""


@command.command()
@click.argument("config", required=False, type=click.Path())
@output.json_option
def replace(config: str | None, as_json: bool) -> None:
    """Have another door accept, started from the program as it is installed now.

    The one before it takes no more connections and ends with its last one, however long that
    takes; its counters go on counting. If the new one does not start, the old one goes on.
    SIGHUP to `cloister up` does the same.

    \b
    Example, after an upgrade:
      cloister door replace && cloister status
    """
    from cloister.config.load import find, load
    from cloister.control.client import ControlClient

    path = load(find(config), check_files=False).paths.control_socket
    with ControlClient(path) as client:
        door = client.replace_door()
    if as_json:
        output.print_json(door)
        return
    drain = "" if door.draining == 1 else "s"
    verb = "drains" if door.draining == 1 else "drain"
    click.echo(f"process {door.pid} accepts; {door.draining} old door{drain} {verb}")
