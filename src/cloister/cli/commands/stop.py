"""``cloister stop``: does that to applications of a running supervisor."""

import click

from cloister.cli import output
from cloister.cli.supervisor import command_apps, config_option


@click.command()
@click.argument("apps", metavar="APP...", nargs=-1, required=True)
@config_option
@output.json_option
def command(apps: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Stop applications: open requests are answered, and new connections wait.

    Returns at once; `cloister status --wait` waits.

    \b
    Example:
      cloister stop blog
    """
    command_apps("stop", apps, config, as_json)
