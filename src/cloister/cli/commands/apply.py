"""``cloister apply``: has a running supervisor run another configuration."""

from typing import TYPE_CHECKING

import click

from cloister.cli import output
from cloister.cli.supervisor import client_of, config_option

if TYPE_CHECKING:
    from cloister.control.messages import ConfigurationText


@click.command()
@click.argument("file", type=click.Path(allow_dash=True))
@config_option
@output.json_option
def command(file: str, config: str | None, as_json: bool) -> None:
    """Run the configuration in FILE from now on; "-" reads it from standard input.

    TOML or JSON, Cloister's own or NGINX Unit's. It is in force as a whole or, where anything
    in it is wrong, not at all; what it leaves as it was goes on undisturbed. Relative paths in
    it begin where those of the running configuration do. The supervisor asked is the one whose
    places FILE names, unless --config says otherwise.

    \b
    Examples:
      cloister apply cloister.toml
      cloister apply - < unit.json
    """
    from cloister.config.load import read, read_standard_input

    if file == "-":
        wanted = read_standard_input()
    else:
        wanted = read(file)
        config = config or file
    with client_of(config) as client:
        accepted = client.replace_configuration(wanted.text, wanted.dialect)
    report(accepted, as_json)


def report(accepted: "ConfigurationText", as_json: bool) -> None:
    """Says what runs now."""
    if as_json:
        shown = {"version": accepted.version, "source": accepted.source}
        output.print_json(shown | {"dialect": accepted.dialect})
    else:
        click.echo(f"version {accepted.version} of the configuration runs")
