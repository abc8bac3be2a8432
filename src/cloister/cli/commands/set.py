"""``cloister set``: changes one value of what a running supervisor runs."""

import sys

import click

from cloister.cli.supervisor import client_of, config_option
from cloister.model.errors import UsageError


@click.command()
@click.argument("path")
@click.argument("value", required=False)
@click.option("--delete", is_flag=True, help="Take the value away instead.")
@config_option
def command(path: str, value: str | None, delete: bool, config: str | None) -> None:
    """Set what stands at PATH of the running configuration to VALUE, which is JSON.

    "-" reads it from standard input. PATH is names and indices with slashes between them; a
    slash in a name is %2F. The configuration is in force with the change as a whole, or stays
    as it was. From then on it is kept as JSON; `cloister edit` keeps a TOML file's comments.

    \b
    Examples:
      cloister set apps/blog/stop-timeout '"30s"'
      cloister set apps/blog/processes 4
      cloister set apps/shop --delete
    """
    if delete is (value is not None):
        raise UsageError(
            "give either a VALUE or --delete",
            hint="for example: cloister set apps/blog/processes 4",
        )
    with client_of(config) as client:
        if delete:
            client.delete_value(path)
        else:
            client.set_value(path, sys.stdin.read() if value == "-" else value or "")
    click.echo("done")
