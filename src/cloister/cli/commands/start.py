"""``cloister start``: does that to applications of a running supervisor."""

import click

from cloister.cli import output
from cloister.cli.supervisor import command_apps, config_option


@click.command()
@click.argument("apps", metavar="APP...", nargs=-1, required=True)
@config_option
@output.json_option
def command(apps: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Start applications that were stopped, or that failed too often.

    Returns at once; `cloister status --wait` waits.

    \b
    Example:
      cloister start blog --json
    """
    command_apps("start", apps, config, as_json)
