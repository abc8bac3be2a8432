"""``cloister generate inetd``."""

from pathlib import Path
from typing import Any

import click

from cloister.cli import generated
from cloister.cli.generators import options
from cloister.generate.inetd import InetdRequest, generate


@click.group()
def command() -> None:
    """A line for inetd.conf: the door starts with the first connection."""


@command.command("relay")
@click.argument("listen")
@click.argument("target")
@options.door
@options.program("cloister-door")
@generated.options
def relay_command(
    *,
    listen: str,
    target: str,
    program: str | None,
    output: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """From LISTEN, a service, a port or a Unix socket's path, to TARGET.

    \b
    Example:
      cloister generate inetd relay 127.0.0.1:9000 php.backend.example.:9000 --user www-data
    """
    request = InetdRequest(
        program=options.find_program(program, "cloister-door"),
        listen=listen,
        target=target,
        options=options.door_options(given, None),
    )
    generated.emit(generate(request), output, force=force)


@command.command("sni")
@click.argument("listen", default="https")
@click.option("--hosts", required=True, metavar="DIR", help="The hosts directory.")
@options.door
@options.program("cloister-door")
@generated.options
def sni_command(
    *,
    listen: str,
    hosts: str,
    program: str | None,
    output: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """TLS by server name, from LISTEN: https unless said otherwise.

    \b
    Example:
      cloister generate inetd sni --hosts /srv/hosts --user sniproxy
    """
    request = InetdRequest(
        program=options.find_program(program, "cloister-door"),
        listen=listen,
        hosts=hosts,
        options=options.door_options(given, None),
    )
    generated.emit(generate(request), output, force=force)
