"""``cloister generate systemd``."""

from pathlib import Path
from typing import Any

import click

from cloister.cli import generated
from cloister.cli.generators import options
from cloister.generate.systemd import relay, sni, up


@click.group()
def command() -> None:
    """Units for relays, for the door by server name, and for `cloister up`.

    The door's units are hardened: `systemd-analyze security` gives them 1.5 or less.
    """


@command.command("relay")
@click.argument("instance", required=False)
@click.argument("target", required=False)
@options.listen
@options.access
@options.door
@options.oom_score_adjust
@click.option(
    "--environment-file",
    is_flag=True,
    help="Write the target to /etc/default/cloister-relay.INSTANCE instead of a drop-in.",
)
@options.program("cloister-door")
@generated.options
def relay_command(
    *,
    instance: str | None,
    target: str | None,
    listen: tuple[str, ...],
    environment_file: bool,
    program: str | None,
    oom_score_adjust: int | None,
    output: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """A socket-activated relay: /run/cloister-relay/INSTANCE.sock to TARGET.

    Without INSTANCE only the templates are made, and what is given here holds for all
    instances; each then needs its TARGET in /etc/default/cloister-relay.INSTANCE.

    \b
    Examples:
      cloister generate systemd relay php php.backend.example.:9000 --socket-group www-data
      cloister generate systemd relay db unix:/run/postgresql/.s.PGSQL.5432 --listen 5432
    """
    request = relay.RelayRequest(
        program=options.find_program(program, "cloister-door"),
        instance=instance,
        target=target,
        listen=listen,
        access=options.socket_access(given),
        options=options.door_options(given, oom_score_adjust=oom_score_adjust),
        environment_file=environment_file,
    )
    generated.emit(relay.generate(request), output, force=force)


@command.command("sni")
@click.option("--hosts", required=True, metavar="DIR", help="The hosts directory.")
@options.listen
@options.access
@options.door
@options.oom_score_adjust
@options.program("cloister-door")
@generated.options
def sni_command(
    *,
    hosts: str,
    listen: tuple[str, ...],
    program: str | None,
    oom_score_adjust: int | None,
    output: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """TLS by server name, on port 443 unless --listen says otherwise.

    The service sees the hosts directory, its program and its libraries, and nothing else of
    the host; it has no network but the connections that it accepts.

    \b
    Example:
      cloister generate systemd sni --hosts /srv/hosts --listen 0.0.0.0:443
    """
    request = sni.SniRequest(
        program=options.find_program(program, "cloister-door"),
        hosts=hosts,
        listen=listen or ("443",),
        access=options.socket_access(given),
        options=options.door_options(given, oom_score_adjust=oom_score_adjust),
    )
    generated.emit(sni.generate(request), output, force=force)


@command.command("up")
@click.argument("config", default="/etc/cloister/cloister.toml")
@options.oom_score_adjust
@options.program("cloister")
@generated.options
def up_command(
    *,
    config: str,
    program: str | None,
    oom_score_adjust: int | None,
    output: Path | None,
    force: bool,
) -> None:
    """The supervisor with everything that CONFIG names.

    \b
    Example:
      cloister generate systemd up /etc/cloister/cloister.toml
    """
    request = up.UpRequest(
        program=options.find_program(program, "cloister"),
        config=config,
        oom_score_adjust=oom_score_adjust,
    )
    generated.emit(up.generate(request), output, force=force)
