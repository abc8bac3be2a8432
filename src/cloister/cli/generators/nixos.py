"""``cloister generate nixos``."""

from pathlib import Path
from typing import Any

import click

from cloister.cli import generated
from cloister.cli.generators import options
from cloister.generate.nixos import NixosRequest, Site, generate
from cloister.generate.upstream import Upstream


@click.command()
@options.upstream
@click.option("--site", metavar="DOMAIN", help="Also a virtual host of nginx's before the socket.")
@click.option("--group", help="The socket's group.  [default: the listener's, else NAME]")
@generated.options
def command(
    *, site: str | None, group: str | None, output: Path | None, force: bool, **given: Any
) -> None:
    """A NixOS module for `cloister up`, and nginx's way to the socket of NAME.

    \b
    Example:
      cloister generate nixos web --site blog.example.org --socket /run/web/web.sock
    """
    name, plan = options.upstream_plan(given, group, given["name"])
    wished = None if site is None else Site(site, Upstream(name, plan))
    generated.emit(generate(NixosRequest(wished)), output, force=force)
