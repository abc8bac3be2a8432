"""``cloister hosts``: hosts directories for people."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloister.cli import output
from cloister.model.errors import CloisterError

if TYPE_CHECKING:
    from cloister.hosts.directory import Host, HostsDirectory

_directory: Callable[[click.decorators.FC], click.decorators.FC] = click.option(
    "--directory",
    "-d",
    type=click.Path(path_type=Path),
    default=Path("/srv/hosts"),
    show_default=True,
    help="The hosts directory.",
)
_hashed: Callable[[click.decorators.FC], click.decorators.FC] = click.option(
    "--hashed", is_flag=True, help="The folders are called by the hashes of the hostnames."
)
_door: Callable[[click.decorators.FC], click.decorators.FC] = click.option(
    "--door-user",
    default="nobody",
    show_default=True,
    metavar="USER",
    help="Whom the door has become; asked only where you are root.",
)


@click.group()
def command() -> None:
    """Manage a hosts directory: one folder for each hostname, with a socket in it."""


@command.command()
@click.argument("name")
@_directory
@_hashed
@click.option("--owner", metavar="USER", help="Give the folder to this user (as root).")
@click.option(
    "--mode", default="0755", show_default=True, metavar="MODE", help="The folder's mode, octal."
)
def add(name: str, directory: Path, hashed: bool, owner: str | None, mode: str) -> None:
    """Make the folder of NAME and print its path.

    NAME may be written in any form; the folder gets the canonical one. `*.parent` takes the
    names one label below `parent`, `_default` every other name: both count only where root or
    the owner of the directory makes them.

    \b
    Examples:
      cloister hosts add www.example.org
      sudo cloister hosts add --owner alice blog.example.org
      sudo cloister hosts add '*.shop.example.org'
    """
    from cloister.hosts.directory import HostsDirectory, find_user
    from cloister.hosts.lookup import SOCKET

    if not (mode.isdecimal() and set(mode) <= set("01234567") and int(mode, 8) <= 0o777):
        raise click.UsageError(f"--mode {mode} is no octal number up to 0777")
    user = find_user(owner) if owner is not None else None
    hosts = HostsDirectory(directory, hashed=hashed)
    path = hosts.add(name, owner=user, mode=int(mode, 8))
    click.echo(path)
    click.echo(
        f"next: listen on {path / SOCKET}; the door's user must be able to write to that socket\n"
        "      (mode 0666, or 0660 and a group of the door's)",
        err=True,
    )


@command.command("list")
@_directory
@_hashed
@_door
@output.json_option
def list_(directory: Path, hashed: bool, door_user: str, as_json: bool) -> None:
    """List every folder with its owner and what becomes of its clients.

    \b
    Examples:
      cloister hosts list
      cloister hosts list --directory /srv/hosts --json
    """
    hosts = list(_open(directory, hashed, door_user).hosts())
    if as_json:
        output.print_json(hosts)
        return
    rows = [
        (host.name or host.entry, host.owner, host.kind, host.send_proxy, host.state, host.problem)
        for host in hosts
    ]
    output.print_table(("NAME", "OWNER", "KIND", "PROXY", "STATE", "PROBLEM"), rows)


@command.command()
@click.argument("name", required=False)
@_directory
@_hashed
@_door
@click.option("--alpn", default="", metavar="ID", help="The protocol that the client prefers.")
@output.json_option
def check(  # noqa: PLR0917 - click passes them by name
    name: str | None, directory: Path, hashed: bool, door_user: str, alpn: str, as_json: bool
) -> None:
    """Explain where the door sends clients that ask for NAME, and why.

    Without a NAME: clients that send none. Nothing is connected to. Exits with 1 where the
    door would refuse.

    \b
    Examples:
      cloister hosts check www.example.org
      cloister hosts check --alpn acme-tls/1 --json www.example.org
    """
    host = _open(directory, hashed, door_user).check(name, alpn.encode())
    if as_json:
        output.print_json(host)
    else:
        _explain(host)
    if host.problem is not None:
        raise CloisterError(
            f"the door refuses {host.name or 'clients without a name'}",
            why=host.problem,
            hint="see docs/hosts-directory.md for the rules" if host.entry else _how(host),
        )


def _how(host: "Host") -> str:
    return f"cloister hosts add {host.name or '_default'}"


def _explain(host: "Host") -> None:
    for reason in host.passed_over:
        click.echo(f"passed over  {reason}")
    if host.entry is not None:
        click.echo(f"decides      {host.entry}, of {host.owner}")
    if host.socket is not None:
        click.echo(f"{host.kind or '':<12} {host.socket}")
        click.echo(f"header       PROXY {host.send_proxy}")


def _open(directory: Path, hashed: bool, door_user: str) -> "HostsDirectory":
    from cloister.hosts.directory import HostsDirectory, find_user

    return HostsDirectory(directory, hashed=hashed, door=find_user(door_user))
