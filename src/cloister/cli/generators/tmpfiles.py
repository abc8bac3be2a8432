"""``cloister generate tmpfiles``."""

from pathlib import Path
from typing import Any

import click

from cloister.cli import generated
from cloister.cli.generators import options
from cloister.generate.accounts import FolderRequest, tmpfiles


@click.command()
@options.upstream
@click.option("--user", default="root", show_default=True, help="Who may make sockets there.")
@click.option("--group", help="Who may pass.  [default: the listener's, else root]")
@click.option(
    "--mode",
    type=options.OctalMode(),
    help="The folder's mode.  [default: the listener's `directory-mode`, else 0750]",
)
@generated.options
def command(
    *,
    user: str,
    group: str | None,
    mode: int | None,
    output: Path | None,
    force: bool,
    **given: Any,
) -> None:
    """The folder of NAME's socket, made at each start of the machine (tmpfiles.d(5)).

    \b
    Example:
      cloister generate tmpfiles web --socket /run/web/web.sock --user web --group www-data
    """
    name, plan = options.upstream_plan(given, group, "root", 0o750 if mode is None else mode)
    request = FolderRequest(name, plan, user, mode)
    generated.emit(tmpfiles(request), output, force=force)
