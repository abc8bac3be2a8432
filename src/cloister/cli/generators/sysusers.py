"""``cloister generate sysusers``."""

from pathlib import Path

import click

from cloister.cli import generated
from cloister.generate.accounts import AccountsRequest, sysusers


@click.command()
@click.argument("name")
@click.option("--user", help="A user of the service's own, whose group this is.")
@click.option("--group", help="The socket's group.  [default: NAME]")
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
    members: tuple[str, ...],
    output: Path | None,
    force: bool,
) -> None:
    """The accounts of a service and of those who may connect to it (sysusers.d(5)).

    \b
    Example:
      cloister generate sysusers web --user web --member www-data
    """
    request = AccountsRequest(name, user, group or name, members)
    generated.emit(sysusers(request), output, force=force)
