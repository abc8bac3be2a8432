"""``cloister generate nginx``."""

from pathlib import Path
from typing import Any

import click

from cloister.cli import generated
from cloister.cli.generators import options
from cloister.generate.nginx import NginxRequest, generate
from cloister.generate.upstream import Protocol


@click.command()
@options.upstream
@click.option("--fastcgi", is_flag=True, help="Speak FastCGI instead of HTTP.")
@click.option("--location", metavar="TEXT", help="For example `/app/` or `~ \\.php$`.")
@click.option("--keepalive", default=0, metavar="N", help="Idle connections kept by each worker.")
@click.option("--direct", is_flag=True, help="Name the socket in the location, without upstream.")
@click.option("--user", default="www-data", show_default=True, help="nginx's workers run as.")
@click.option("--group", help="The socket's group, where it is not that user's own.")
@generated.options
def command(
    *, fastcgi: bool, group: str | None, output: Path | None, force: bool, **given: Any
) -> None:
    """An upstream NAME that is reached through a Unix socket.

    Behind the socket is a listener of Cloister's or a relay, which follows the target's name
    wherever its address moves; nginx sees one socket.

    \b
    Examples:
      cloister generate nginx php --fastcgi
      cloister generate nginx web --listener web --config /etc/cloister/cloister.toml
    """
    name, plan = options.upstream_plan(given, group, given["user"])
    request = NginxRequest(
        name=name,
        plan=plan,
        protocol=Protocol.FASTCGI if fastcgi else Protocol.HTTP,
        **given,
    )
    generated.emit(generate(request), output, force=force)
