"""``cloister get``: what a running supervisor runs."""

import click

from cloister.cli import output
from cloister.cli.supervisor import client_of, config_option


@click.command()
@click.argument("path", required=False)
@config_option
@output.json_option
def command(path: str | None, config: str | None, as_json: bool) -> None:
    """Print the running configuration, or the part of it at PATH.

    The whole is printed as the text that it was given; with --json, and below a PATH, as JSON.
    PATH is names and indices with slashes between them; a slash in a name is %2F.

    \b
    Examples:
      cloister get
      cloister get apps/blog/hosts/0
      cloister get --json | jq '.listeners'
    """
    with client_of(config) as client:
        if path is None and not as_json:
            click.echo(client.configuration().text, nl=False)
        else:
            click.echo(client.value(path or ""), nl=False)
