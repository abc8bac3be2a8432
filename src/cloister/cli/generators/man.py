"""``cloister generate man``."""

from pathlib import Path

import click

from cloister import __version__
from cloister.cli import generated, manual
from cloister.generate.file import Generated, GeneratedFile

FOLDER = "/usr/share/man/man1"


@click.command()
@generated.options
def command(*, output: Path | None, force: bool) -> None:
    """Manual pages for every command, made from the commands themselves.

    \b
    Example:
      cloister generate man --output /usr/local/share/cloister
    """
    root = click.get_current_context().find_root().command
    entries = manual.every(root, "cloister")
    files = [
        GeneratedFile(f"{FOLDER}/{entry.page}.1", manual.page(entry, __version__))
        for entry in entries
    ]
    generated.emit(Generated(tuple(files), ("man cloister",)), output, force=force)
