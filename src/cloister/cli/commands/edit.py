"""``cloister edit``: the running configuration in an editor."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloister.cli import output
from cloister.cli.supervisor import client_of, config_option
from cloister.model.errors import CloisterError, DaemonUnreachableError

if TYPE_CHECKING:
    from cloister.control.client import ControlClient


@click.command()
@click.argument("path", required=False)
@config_option
def command(path: str | None, config: str | None) -> None:
    """Edit the running configuration, or the part of it at PATH as JSON, with $EDITOR.

    It is applied when the editor ends. Where it is refused, the reasons are shown and the same
    text is edited again, or kept in a file whose name is printed: nothing written is lost.

    \b
    Examples:
      cloister edit
      EDITOR=nano cloister edit apps/blog
    """
    with client_of(config) as client:
        text, suffix, apply = _whole(client) if path is None else _part(client, path)
        descriptor, name = tempfile.mkstemp(prefix="cloister-edit-", suffix=suffix)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        _edit_until_accepted(Path(name), text, apply)


def _whole(client: "ControlClient") -> tuple[str, str, Callable[[str], None]]:
    from cloister.config.json_text import dialect_of

    running = client.configuration()

    def apply(text: str) -> None:
        client.replace_configuration(text, dialect_of(text), expected=running.version)

    return running.text, f".{running.dialect}", apply


def _part(client: "ControlClient", path: str) -> tuple[str, str, Callable[[str], None]]:
    return client.value(path), ".json", lambda text: client.set_value(path, text)


def _edit_until_accepted(file: Path, before: str, apply: Callable[[str], None]) -> None:
    """Removes ``file`` once its text is in force, or was not changed at all."""
    while True:
        _run_editor(file)
        text = file.read_text(encoding="utf-8")
        if text == before:
            file.unlink()
            click.echo("nothing was changed")
            return
        try:
            apply(text)
        except CloisterError as error:
            output.print_error(error)
            if isinstance(error, DaemonUnreachableError) or not _again():
                raise CloisterError(
                    "the configuration was not changed",
                    hint=f"what you wrote is in {file}; `cloister apply {file}` tries it again",
                ) from error
        else:
            file.unlink()
            click.echo("done")
            return


def _again() -> bool:
    return sys.stdin.isatty() and click.confirm("Edit it again?", default=True, err=True)


def _run_editor(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
    except (OSError, ValueError) as error:
        reason = (
            os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        )
        raise CloisterError(
            f"the editor {editor!r} cannot be run",
            why=reason,
            hint=f"set EDITOR to one that is installed; the text is in {file}",
        ) from error
    if code != 0:
        raise CloisterError(
            f"the editor ended with exit status {code}", hint=f"the text is in {file}"
        )
