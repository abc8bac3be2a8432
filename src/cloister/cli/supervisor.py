"""Which supervisor a command asks, and what the commands that change one have in common."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloister.model.errors import CloisterError

if TYPE_CHECKING:
    from cloister.control.client import ControlClient

config_option: Callable[[click.decorators.FC], click.decorators.FC] = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    help="The configuration whose supervisor is asked. Default: ./cloister.toml, else "
    "/etc/cloister/cloister.toml, else the supervisor of the default directory.",
)


def client_of(config: str | None) -> "ControlClient":
    """Of the supervisor that runs the configuration file ``config``; without one of what
    ``cloister up`` would run here, else of the default runtime directory."""
    from cloister.control.client import ControlClient

    return ControlClient(_control_socket(config))


def _control_socket(config: str | None) -> str:
    from cloister.config.load import LOCAL_FILE, load
    from cloister.model.snapshot import SYSTEM_FILE, default_paths

    if config is None:
        config = next((path for path in (LOCAL_FILE, SYSTEM_FILE) if Path(path).exists()), None)
    if config is None:
        return default_paths(os.geteuid(), os.environ).control_socket
    return load(config, check_files=False).paths.control_socket


def command_apps(verb: str, apps: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Ask for ``start``, ``stop`` or ``restart`` of each, and print how they are."""
    from cloister.cli import output

    with client_of(config) as client:
        known = {app.name for app in client.status().apps}
        unknown = [app for app in apps if app not in known]
        if unknown:
            raise CloisterError(
                f"there is no application {unknown[0]}",
                hint=f"the applications are: {', '.join(sorted(known))}" if known else None,
            )
        statuses = [client.command(app, verb) for app in apps]
    if as_json:
        output.print_json(statuses)
        return
    for status in statuses:
        click.echo(f"{status.name}: {status.state}")
