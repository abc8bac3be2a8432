"""``cloister generate completion``."""

from pathlib import Path

import click
from click.shell_completion import get_completion_class

from cloister.cli import generated
from cloister.generate.file import Generated, GeneratedFile
from cloister.model.errors import CloisterError

PLACES = {
    "bash": "/usr/share/bash-completion/completions/cloister",
    "zsh": "/usr/share/zsh/vendor-completions/_cloister",
    "fish": "/usr/share/fish/vendor_completions.d/cloister.fish",
}
"""Where each shell looks for what packages bring."""


@click.command()
@click.argument("shells", nargs=-1, type=click.Choice(list(PLACES)), metavar="[SHELL]...")
@generated.options
def command(*, shells: tuple[str, ...], output: Path | None, force: bool) -> None:
    """What completes `cloister` on the command line of bash, zsh and fish, or those named.

    \b
    Examples:
      cloister generate completion --output /
      cloister generate completion bash
    """
    root = click.get_current_context().find_root().command
    files = [GeneratedFile(PLACES[shell], _script(root, shell)) for shell in shells or PLACES]
    generated.emit(Generated(tuple(files), ("open a new shell",)), output, force=force)


def _script(root: click.Command, shell: str) -> str:
    kind = get_completion_class(shell)
    if kind is None:
        raise CloisterError(f"the installed click cannot complete in {shell}", hint="update click")
    completion = kind(root, {}, "cloister", "_CLOISTER_COMPLETE")
    return completion.source_template % completion.source_vars() + "\n"
