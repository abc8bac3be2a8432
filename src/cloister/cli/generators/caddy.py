"""``cloister generate caddy``."""

from pathlib import Path
from typing import Any

import click

from cloister.cli import generated
from cloister.cli.generators import options
from cloister.generate.caddy import CaddyRequest, generate
from cloister.generate.upstream import Protocol, Upstream


@click.command()
@options.upstream
@click.option("--site", required=True, metavar="ADDRESS", help="For example `example.org`.")
@click.option("--fastcgi", is_flag=True, help="Speak FastCGI, for PHP, instead of HTTP.")
@click.option("--root", metavar="DIR", help="The folder of the scripts, for FastCGI.")
@click.option("--group", help="The socket's group.  [default: the listener's, else caddy]")
@generated.options
def command(
    *,
    site: str,
    fastcgi: bool,
    root: str | None,
    group: str | None,
    output: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """A site of Caddy's before the Unix socket of NAME.

    \b
    Examples:
      cloister generate caddy web --site example.org --socket /run/web/web.sock --group web
      cloister generate caddy php --site :8080 --fastcgi --root /srv/php
    """
    name, plan = options.upstream_plan(given, group, "caddy")
    protocol = Protocol.FASTCGI if fastcgi else Protocol.HTTP
    upstream = Upstream(name, plan, protocol)
    generated.emit(generate(CaddyRequest(upstream, site, root)), output, force=force)
