"""``cloister generate s6``."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cloister.cli import generated
from cloister.cli.generators import options
from cloister.generate.s6 import S6Request, generate
from cloister.sockets.plan import RELAY_SOCKET, plan_relay


@click.group()
def command() -> None:
    """A service folder for s6-svscan, with its logger."""


def _folders(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--log-user", default="nobody", show_default=True, help="Writes the log."),
        click.option("--log-folder", default="/var/log", show_default=True, help="For NAME/."),
        click.option("--folder", default="/etc/s6", show_default=True, help="For NAME/."),
        click.option(
            "--socket-group", default="root", show_default=True, help="The Unix socket's group."
        ),
    ):
        function = option(function)
    return function


@command.command("relay")
@click.argument("name")
@click.argument("target")
@click.option("--listen", metavar="ADDRESS", help="[default: /run/cloister-relay/NAME.sock]")
@_folders
@options.door
@options.program("cloister-door")
@generated.options
def relay_command(
    *,
    name: str,
    target: str,
    listen: str | None,
    program: str | None,
    output: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """A relay called NAME to TARGET.

    \b
    Example:
      cloister generate s6 relay php php.backend.example.:9000 --user nobody \\
        --socket-group www-data
    """
    door = options.door_options(given, None)
    request = S6Request(
        name=name,
        program=options.find_program(program, "cloister-door"),
        listen=listen or plan_relay(name).path,
        access=replace(RELAY_SOCKET, group=given.pop("socket_group")),
        target=target,
        options=door,
        **given,
    )
    generated.emit(generate(request), output, force=force)


@command.command("sni")
@click.argument("name", default="cloister-sni")
@click.option("--hosts", required=True, metavar="DIR", help="The hosts directory.")
@click.option("--listen", metavar="ADDRESS", default="[::]:443", show_default=True)
@_folders
@options.door
@options.program("cloister-door")
@generated.options
def sni_command(
    *,
    name: str,
    hosts: str,
    listen: str,
    program: str | None,
    output: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """TLS by server name; one folder serves one address.

    \b
    Example:
      cloister generate s6 sni --listen 0.0.0.0:443 --hosts /srv/hosts --user sniproxy
    """
    door = options.door_options(given, None)
    request = S6Request(
        name=name,
        program=options.find_program(program, "cloister-door"),
        listen=listen,
        access=replace(RELAY_SOCKET, group=given.pop("socket_group")),
        hosts=hosts,
        options=door,
        **given,
    )
    generated.emit(generate(request), output, force=force)
