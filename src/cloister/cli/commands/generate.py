"""``cloister generate``: files for the programs that start Cloister or stand beside it."""

import importlib

import click

from cloister.model.errors import UsageError

KINDS = {
    "systemd": "Socket and service units, hardened, with drop-ins for each instance.",
    "inetd": "A line for inetd.conf.",
    "s6": "A service folder for s6-svscan.",
    "apparmor": "A profile that confines the door.",
    "nginx": "An upstream that is reached through a Unix socket.",
    "caddy": "A site of Caddy's before a Unix socket.",
    "haproxy": "A backend of HAProxy's before a Unix socket.",
    "nixos": "A NixOS module for the supervisor and the web server beside it.",
    "tmpfiles": "The folder of a socket, for tmpfiles.d.",
    "sysusers": "The accounts of a service and of those who may connect to it.",
    "prometheus": "A scrape job that finds every application's metrics.",
    "grafana": "A dashboard for them.",
    "man": "Manual pages for every command.",
    "completion": "What completes commands in bash, zsh and fish.",
    "selinux": "A module with a domain, booleans and a port type for the door.",
}
"""Every kind with its line in ``cloister generate --help``; each is a module of
``cloister.cli.generators`` with a ``command``."""


class _Kinds(click.Group):
    """Imports a kind's module when the kind is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(KINDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in KINDS:
            raise UsageError(
                f"there is no generator `{cmd_name}`",
                why="the kinds are " + ", ".join(KINDS),
                hint="see `cloister generate --help`",
            )
        module = importlib.import_module(f"cloister.cli.generators.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)  # noqa: S101 (the kinds are our own)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Kinds"):
            formatter.write_dl(list(KINDS.items()))


@click.command(
    cls=_Kinds, subcommand_metavar="KIND ...", context_settings={"max_content_width": 100}
)
def command() -> None:
    """Print, or write below a folder, files that start Cloister's programs.

    Nothing is started, and nothing outside the folder is touched. What to do next stands
    below the files, as comments.

    \b
    Examples:
      cloister generate systemd relay php tcp:php.backend.example.:9000 --socket-group www-data
      cloister generate systemd sni --hosts /srv/hosts --output /
      cloister generate nginx php --fastcgi
    """
