"""``cloister restart``: does that to applications of a running supervisor."""

import click

from cloister.cli import output
from cloister.cli.supervisor import command_apps, config_option


@click.command()
@click.argument("apps", metavar="APP...", nargs=-1, required=True)
@config_option
@output.json_option
def command(apps: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Restart applications: new connections wait until the next process is ready, or go to the one
    before it, as `restart` of the application says.

    Returns at once; `cloister status --wait` waits.

    \b
    Example:
      cloister restart blog shop
    """
    command_apps("restart", apps, config, as_json)
