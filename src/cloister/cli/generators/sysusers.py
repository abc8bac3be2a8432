"""``cloister generate sysusers``."""

from pathlib import Path

import click

from cloister.cli import generated
from cloister.cli.generators.options import listener_plan
from cloister.generate.accounts import AccountsRequest, sysusers


@click.command()
@click.argument("name")
@click.option("--user", help="A user of the service's own, whose group this is.")
@click.option("--group", help="The socket's group.  [default: the listener's, else NAME]")
@click.option("--listener", metavar="NAME", help="Take the socket's group from this listener.")
@click.option(
    "--config", type=click.Path(), metavar="FILE", help="The configuration of --listener."
)
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="USER",
    help="Who may connect, such as www-data; as often as wanted.",
)
@generated.options
def command(
    *,
    name: str,
    user: str | None,
    group: str | None,
    listener: str | None,
    config: str | None,
    members: tuple[str, ...],
    output: Path | None,
    force: bool,
) -> None:
    """The accounts of a service and of those who may connect to it (sysusers.d(5)).

    \b
    Example:
      cloister generate sysusers web --user web --member www-data
    """
    if listener is not None and group is None:
        group = listener_plan(listener, config).options.group
    request = AccountsRequest(name, user, group or name, members)
    generated.emit(sysusers(request), output, force=force)
